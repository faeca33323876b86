"""The routes under ``/patchbay/``, for the panel, the editor and the preset menu."""

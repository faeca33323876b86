"""The project's own commands: set up a private ComfyUI, run the demo, run the tests.

Standard library only, and never imported by the pack itself.
"""

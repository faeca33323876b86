"""Which ComfyUI this is."""

from __future__ import annotations


def comfyui_version() -> str:
    """The version of the ComfyUI that runs; empty where it does not say."""
    try:
        import comfyui_version as installed
    except ImportError:
        return ""
    return str(getattr(installed, "__version__", ""))

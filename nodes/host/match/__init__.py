"""Patches for a loaded model: ComfyUI's own wherever they are right, ours where they are not."""

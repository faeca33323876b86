"""The pack's nodes. Importing this package loads nothing of ComfyUI."""

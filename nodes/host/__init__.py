"""The only code that knows ComfyUI: model keys, patching, folders, events."""

"""What the pack reads of ComfyUI: a model's keys, its folders, its server."""

"""Says what a loaded model is, what is patched on it, and whether a LoRA fits it."""

"""Writes LoRA files: strengths baked in, resized, converted."""

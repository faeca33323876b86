"""Saves a LoRA with its strengths baked in, for any loader."""

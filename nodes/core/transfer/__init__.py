"""Whether a LoRA does on another model what it did on its own, and strengths that make it so."""

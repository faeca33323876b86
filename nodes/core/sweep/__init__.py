"""Which blocks of a LoRA matter: leave units out, look at the picture, and find the fewest that make it."""

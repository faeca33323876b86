"""LoRAs beside the weights: terms, hooks and the arithmetic of a forward pass."""

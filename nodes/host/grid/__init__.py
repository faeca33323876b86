"""Makes the pictures of a grid: the LoRA is staged once for the cells that share it, and nothing is made twice."""

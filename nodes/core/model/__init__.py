"""What a model is: its blocks, its architecture, and which slices of fused weights have a meaning of their own."""

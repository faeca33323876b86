"""Compares what two models compute, and fits a LoRA of one to the other."""

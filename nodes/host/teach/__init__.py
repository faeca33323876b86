"""Teaches a LoRA to another model without a data set: the teacher is the LoRA's own model."""

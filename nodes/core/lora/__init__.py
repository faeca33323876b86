"""What a LoRA file is: how its keys are spelled, its layers, and where their scales come from."""

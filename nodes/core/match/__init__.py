"""Which tensor of a LoRA goes to which weight of a model, and why not."""

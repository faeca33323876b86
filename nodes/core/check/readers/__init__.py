"""Which program reads a LoRA file as it was meant: a file of rules a program."""

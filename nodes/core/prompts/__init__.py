"""What stands before a node in the prompt that ComfyUI executes, and prompts kept as files."""

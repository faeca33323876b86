"""The command line ``lora-patchbay``: a file a command."""

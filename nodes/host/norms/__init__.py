"""How strong a patch is against the weight it changes."""

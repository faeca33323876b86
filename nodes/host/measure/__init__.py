"""Records time and memory of samplings."""

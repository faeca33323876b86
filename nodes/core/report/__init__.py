"""What the pack says about a run: one tree of frozen dataclasses, one JSON, one readable text."""

"""Applies LoRAs to a model, one, several or over the steps, and says what became of every tensor."""

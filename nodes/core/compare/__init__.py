"""What two LoRAs, two models, or a model and the LoRAs in it have in common."""

"""What a measurement of time and memory is made of, and what it says."""

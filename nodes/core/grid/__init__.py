"""A grid of pictures: one for every combination of the values on its axes, and how far each is from a chosen one."""

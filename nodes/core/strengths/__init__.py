"""Strength by block: the text form, presets, schedules, and the formats of other programs."""

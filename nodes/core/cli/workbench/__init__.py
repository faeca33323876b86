"""Commands that measure what files have in common, and make one of their difference."""

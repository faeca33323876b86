"""The one exception that the commands turn into a sentence for the user."""


class ToolError(Exception):
    """Something the user can act on: what thing, what was expected, what came, what to do."""

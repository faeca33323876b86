"""Exceptions whose text is meant for the person at the screen.

Every message says what thing is concerned, what was expected, what came and what to do.
"""

from __future__ import annotations


class PatchbayError(ValueError):
    """Base of all errors that the user can mend. Nodes let it through, so that its text stands on the node."""


class HeaderError(PatchbayError):
    """A file is not what its name says, is cut off, or its header cannot be believed."""


class AdapterFormatError(PatchbayError):
    """The tensors of one layer contradict each other or their format."""


class BlockStrengthError(PatchbayError):
    """The text form of block strengths does not parse, or names something that the model does not have."""


class IncompatibleModelError(PatchbayError):
    """A file does not belong to the model it is used with."""


class BlockMapError(PatchbayError):
    """A block map does not parse, does not belong to the file, or cannot be known."""


class RemoteError(PatchbayError):
    """A file elsewhere cannot be reached, is refused, or comes in a way that cannot be read in part."""

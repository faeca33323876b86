"""What a list of LoRAs shows of each file, from its header alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..files.header import read_header
from ..files.metadata import read_training
from ..lora.file import read_lora
from ..lora.file_kinds import made_for
from ..match.readings import as_loaded

MOST_WORDS = 12


@dataclass(frozen=True)
class LoraFacts:
    """One line of a list."""

    trigger_words: tuple[str, ...]
    ranks: tuple[int, ...]
    architecture: str
    """What the file is made for; empty where its header does not tell."""
    title: str
    size_bytes: int


def lora_facts(path: str | os.PathLike[str]) -> LoraFacts:
    """Read a LoRA's header. Some milliseconds; no tensor is read.

    Raises:
        HeaderError: the file cannot be read as one with a header.
        OSError: the file cannot be opened.
    """
    file = read_lora(as_loaded(read_header(path)))
    training = read_training(file.header.metadata)
    _, match = made_for(file)
    return LoraFacts(
        tuple(word[:80] for word in training.trigger_words[:MOST_WORDS]),
        file.ranks,
        match.name if match.id else "",
        training.title[:120],
        file.header.size_bytes,
    )

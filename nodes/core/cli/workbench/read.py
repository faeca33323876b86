"""The LoRAs of a command line with their strengths."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from ...errors import PatchbayError
from ...files.elsewhere.address import RemoteFile
from ...files.elsewhere.place import is_address
from ..bake import read_lora_header
from ..exits import describe
from ..places import here, say_traffic
from ..sources import TypedSource, parse_source, split_address

if TYPE_CHECKING:
    from ...bake.merge_plan import MergeSource


def read_sources(texts: Sequence[str]) -> list[MergeSource]:
    """LoRAs of this machine.

    Raises:
        PatchbayError: a file cannot be read or is not a LoRA; the text names it as it was typed.
    """
    return [_read(parse_source(text)) for text in texts]


def fetch_sources(texts: Sequence[str], opened: ExitStack, err: TextIO) -> list[MergeSource]:
    """The same, of which some may be addresses: all tensors of a LoRA are needed, so it is fetched.

    Args:
        opened: Holds what was fetched for as long as it is needed.

    Raises:
        PatchbayError: a file cannot be fetched or read, or is not a LoRA.
    """
    return [_read(_fetched(text, opened, err) if is_address(text) else parse_source(text)) for text in texts]


def _read(typed: TypedSource) -> MergeSource:
    from ...bake.merge_plan import MergeSource

    try:
        header = read_lora_header(typed.path)
    except (PatchbayError, OSError) as error:
        raise PatchbayError(describe(error, typed.path)) from error
    return MergeSource(header, typed.strength_model, typed.strength_clip, typed.blocks)


def _fetched(text: str, opened: ExitStack, err: TextIO) -> TypedSource:
    address, strengths = split_address(text)
    file = RemoteFile(address)
    path = opened.enter_context(here(file, err))
    say_traffic(file, err)
    return replace(strengths, path=path)

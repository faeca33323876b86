"""The community's ``LORA_STACK``: a list of ``(lora name, strength_model, strength_clip)``.

Our own entries are such tuples too, so that every pack can read them; block strengths ride along as an attribute, which
other packs do not see.
"""

from __future__ import annotations

import math
import ntpath
from collections.abc import Iterable, Sequence
from typing import Any, cast

from ..errors import PatchbayError


class LoraStackError(PatchbayError):
    """A stack holds something that is not an entry, or names a file that is not there."""


class StackEntry(tuple[str, float, float]):
    """``(name, strength_model, strength_clip)`` with block strengths."""

    blocks: str

    def __new__(cls, name: str, strength_model: float, strength_clip: float, blocks: str = "") -> StackEntry:
        entry = super().__new__(cls, (name, strength_model, strength_clip))
        entry.blocks = blocks
        return entry

    def __getnewargs__(self) -> tuple[str, float, float, str]:
        return (self[0], self[1], self[2], self.blocks)


def read_stack(stack: Any) -> tuple[StackEntry, ...]:
    """The entries of a stack that mean a LoRA; entries without one (``None``) are left out.

    Raises:
        LoraStackError: something in it is not ``(name, strength_model, strength_clip)``.
    """
    if stack is None:
        return ()
    if not isinstance(stack, (list, tuple)):
        raise LoraStackError(f"lora_stack: expected a list of LoRAs, got {type(stack).__name__}.")
    entries = (_read_entry(item, number) for number, item in enumerate(cast("Sequence[Any]", stack), 1))
    return tuple(entry for entry in entries if entry is not None)


def _read_entry(item: Any, number: int) -> StackEntry | None:
    if isinstance(item, StackEntry):
        return item
    fields = list(cast("Sequence[Any]", item)) if isinstance(item, (list, tuple)) else []
    if len(fields) < 3:
        raise LoraStackError(
            f"lora_stack, entry {number}: expected (name, strength for the model, strength for the CLIP), "
            f"got {str(item)[:60]!r}."
        )
    name, *numbers = fields[:3]
    if name in (None, "", "None"):
        return None
    if not isinstance(name, str) or not all(_is_number(x) for x in numbers):
        raise LoraStackError(f"lora_stack, entry {number}: expected a name and two numbers, got {str(item)[:60]!r}.")
    if len(fields) > 3 and fields[3] not in (None, "", (), []):
        raise LoraStackError(
            f"lora_stack, entry {number} ({name[:60]}): it carries {str(fields[3])[:40]!r} as a fourth value, whose "
            "meaning is not known here. Give its block weights to a LoRA to Stack node instead."
        )
    return StackEntry(name, float(numbers[0]), float(numbers[1]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def find_name(name: str, known: Iterable[str]) -> str:
    """The name of a LoRA as ComfyUI lists it: as it stands, with other slashes, or by a file name that is unique.

    Raises:
        LoraStackError: no file has it, or several do.
    """
    names = list(known)
    if name in names:
        return name
    plain = _slashes(name)
    same = [candidate for candidate in names if _slashes(candidate) == plain]
    if not same:
        same = [c for c in names if ntpath.basename(c) == ntpath.basename(name)]
    if not same:
        stem = ntpath.basename(name)
        same = [c for c in names if ntpath.splitext(ntpath.basename(c))[0] == stem]
    if len(same) == 1:
        return same[0]
    if not same:
        raise LoraStackError(f'lora_stack: there is no LoRA "{name[:80]}" in your loras folders.')
    found = ", ".join(same[:4])
    raise LoraStackError(
        f'lora_stack: "{name[:80]}" may mean {len(same)} files: {found}. Use the name with its folder.'
    )


def _slashes(name: str) -> str:
    return name.replace("\\", "/")

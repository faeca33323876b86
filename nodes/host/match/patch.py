"""One patch of a file for one weight of a model, and what was found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from ...core.lora.file import LoraLayer
from ...core.match.name_table import Target, target_function, target_key, target_offset
from .roles import Parts, PatchValue, read_parts, with_parts
from .shapes import is_dead, misfit

Offset = tuple[int, int, int]

PENDING = "worked out when the report is opened, while ComfyUI still has the file"
WAITING: tuple[float | None, str] = (None, PENDING)
"""In the place of a norm that was left for later (:mod:`..norms.later`)."""


@dataclass
class Found:
    """What was found out about a patch by those who had to know; it is kept as long as the patch."""

    norm: tuple[float | None, str] | None = None
    """Frobenius norm of what it adds at strength 1, or why there is none."""
    beside: Any = None
    """The patch as a term beside its weight (bypass), or why it cannot be one."""
    survival: dict[Any, Any] = field(default_factory=dict)
    """What arrives of it in a quantised weight: by the patches that are merged with it, and about their strengths."""
    pieces: dict[Offset, MatchedPatch] = field(default_factory=dict)
    """Shares that were cut out for a slice, so that the same share is the same object next time."""
    problem: str | None = None
    """Why it does not fit its weight; empty where it does."""


@dataclass(frozen=True, eq=False)
class MatchedPatch:
    """One patch that is made of the file for this model. Compared by identity: it is made once, in matching."""

    lora_key: str
    """Prefix of the tensors, after ComfyUI's conversion."""
    target: Target
    """Key for ``add_patches``: the model key, with offset and function where there are any."""
    value: PatchValue
    file_keys: tuple[str, ...]
    """The tensors that it is made of."""
    difference: str = ""
    """How ComfyUI's own loader differs, empty where it does the same."""
    remark: str = ""
    """What had to be assumed."""
    source: LoraLayer | None = None
    """The layer of the file; ``None`` where only ComfyUI's loader knows of the patch."""
    roles: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    """The file's tensors by role, those rows of them that go here."""
    misfit: str = ""
    """Why the shapes of the file and of the model do not go together; empty where they do."""
    cut: bool = False
    """Whether it is made of some rows of the file's tensors, or of all in another order."""
    found: Found = field(default_factory=Found, init=False, repr=False)

    def comment(self, strength: float) -> str:
        """What the report says about the patch at this strength; empty where it is as ComfyUI's own."""
        at_other_strengths = getattr(self.value, "AT_OTHER_STRENGTHS", "")
        parts = (self.difference, self.remark, "" if strength == 1 else at_other_strengths)
        return "; ".join(part for part in parts if part)

    @cached_property
    def model_key(self) -> str:
        """The full model key."""
        return target_key(self.target)

    @cached_property
    def offset(self) -> Offset | None:
        """``(dim, start, length)`` of a fused weight, or ``None``."""
        return target_offset(self.target)

    @property
    def function(self) -> Any:
        """How ComfyUI turns the change before it is added; ``None`` where it does not."""
        return target_function(self.target)

    @cached_property
    def parts(self) -> Parts:
        """Kind, tensors by role and scale of the patch itself."""
        return read_parts(self.value)

    @cached_property
    def dead(self) -> bool:
        """Whether it changes nothing at any strength. What is known to have a size is not searched for it."""
        known = self.found.norm
        return not (known is not None and known[0]) and is_dead(self.parts)

    def problem(self, shape: tuple[int, ...]) -> str:
        """Why it cannot change its weight, which is of ``shape``; empty if it can."""
        if self.found.problem is None:
            self.found.problem = self.misfit or misfit(self.parts, shape, self.offset)
        return self.found.problem

    def entry(self, strength: float) -> tuple[Any, ...]:
        """The patch as ComfyUI keeps it in a patcher's list."""
        return (strength, self.value, 1.0, self.offset, self.function)

    def piece(self, offset: Offset) -> MatchedPatch | None:
        """The share of a plain LoRA in a slice of its weight: rows of ``up`` or columns of ``down``.

        ``None`` where the patch cannot be cut.
        """
        if offset not in self.found.pieces:
            if not self.parts.is_plain_lora or self.function is not None:
                return None
            role, axis = ("up", 0) if offset[0] == 0 else ("down", 1)
            start = offset[1] - (self.offset[1] if self.offset is not None else 0)
            share = self.parts.tensors[role].narrow(axis, start, offset[2])
            value = with_parts(self.value, **{role: share})
            piece = self.found.pieces[offset] = replace(self, target=(self.model_key, offset), value=value)
            if self.found.norm is WAITING:
                piece.found.norm = WAITING
        return self.found.pieces[offset]

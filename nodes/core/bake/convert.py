"""A LoRA as another program reads it: what it changes of which weight, and under which names that is said there.

The change stays exactly what it is. Factors keep their numbers where a name is all that differs; where a program wants
no alpha the scale goes into ``up``, in float32. Rows of a weight that the file keeps apart become one LoRA of the
sum of their ranks, block by block; rows that the program keeps apart become one LoRA each, with the same ``down``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..check.model_file import ModelFile
from ..errors import PatchbayError
from ..files.tensors import Header
from ..lora.adapters.rows import take
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..match.matches import match_layers
from ..match.readings import understand
from ..model.blocks import MODEL_PREFIX
from .plan import read_tensors
from .resize import factors

if TYPE_CHECKING:
    from torch import Tensor

COMFY, DIFFUSERS, KOHYA, PEFT = "comfy", "diffusers", "kohya", "peft"
TARGETS = (COMFY, DIFFUSERS, KOHYA, PEFT)
_WEIGHT = ".weight"


@dataclass(frozen=True)
class Piece:
    """What one layer of the file changes of one weight."""

    source: LoraLayer
    tensors: Mapping[str, Tensor]
    """By role, without alpha; only the rows that belong here."""
    offset: tuple[int, int, int] | None
    """``(dim, start, length)`` of the weight; ``None``: all of it."""

    def factors(self) -> tuple[Tensor, Tensor, float] | None:
        """Exact ``up`` [rows, rank], ``down`` [rank, columns] and the scale of their product; ``None`` where the change
        has no such form."""
        layer = self.source
        kind = layer.adapter.name if layer.adapter is not None else ""
        if layer.dora or layer.parameter != "weight" or "reshape" in self.tensors:
            return None
        if kind == "lora" and "mid" not in self.tensors:
            return self.tensors["up"].flatten(1), self.tensors["down"].flatten(1), layer.scale
        made = factors(kind, self.tensors, layer.scale)
        return None if made is None else (*made, 1.0)


@dataclass(frozen=True)
class Changed:
    """One weight of the model with all that the file changes of it."""

    name: str
    """The model's own name of the layer, without prefix and parameter."""
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    def low_rank(self) -> list[tuple[Piece, Tensor, Tensor, float]]:
        """The factors of every piece.

        Raises:
            PatchbayError: one has none that are exact.
        """
        found: list[tuple[Piece, Tensor, Tensor, float]] = []
        for piece in self.pieces:
            made = piece.factors()
            if made is None:
                raise PatchbayError(
                    f"{piece.source.name}: {describe_kind(piece.source)} of {self.name} has no exact form as a LoRA, "
                    "and that is all that can be said there. Save LoRA converts it at a rank of your choice."
                )
            found.append((piece, *made))
        return found


@dataclass(frozen=True)
class Conversion:
    """What of a file can be converted."""

    weights: tuple[Changed, ...]
    left_out: tuple[str, ...]
    """``name: reason`` of what cannot."""


def describe_kind(layer: LoraLayer) -> str:
    """A format in words: ``lokr``, ``lora with DoRA``."""
    return f"{layer.format} with DoRA" if layer.dora else layer.format or "what is not understood"


def plan_conversion(header: Header, model: ModelFile) -> Conversion:
    """Find out what each layer of a file changes of a model; reads its tensors.

    Raises:
        HeaderError: the file holds no tensors that can be read.
        PatchbayError: nothing of it lands on the model.
    """
    file: LoraFile = read_lora(header)
    tensors = read_tensors(header)
    found: dict[str, list[Piece]] = {}
    left_out: list[str] = []
    for match in match_layers(file, understand(file), model.names, model.shapes, False).layers:
        layer = match.layer
        if not match.patches:
            left_out.append(f"{layer.name}: {match.reason or match.state.value}")
        held = {role: tensors[key] for role, key in layer.roles.items() if role != "alpha"}
        for patch in match.patches:
            if patch.misfit:
                left_out.append(f"{layer.name}: {patch.misfit}")
                continue
            taken = {role: take(x, *patch.takes[role]) if role in patch.takes else x for role, x in held.items()}
            found.setdefault(patch.model_key, []).append(Piece(layer, taken, patch.offset))
    if not found:
        why = left_out[0] if left_out else "it holds no layer"
        raise PatchbayError(f"{header.name}: nothing of it lands on {model.name}: {why}.")
    weights = (Changed(_name(key), tuple(model.shapes[key]), tuple(pieces)) for key, pieces in found.items())
    return Conversion(tuple(weights), tuple(left_out))


def _name(key: str) -> str:
    return key.removeprefix(MODEL_PREFIX).removesuffix(_WEIGHT)


def stacked_factors(parts: Sequence[tuple[Tensor, Tensor, float, int]], rows: int) -> tuple[Tensor, Tensor, float]:
    """One LoRA of several, each on rows of its own.

    Args:
        parts: ``up``, ``down``, scale and first row.
        rows: Of the whole.

    Returns:
        ``up`` [rows, sum of ranks], ``down`` and the scale that they have in common (1 where they differ, each then in
        its ``up``).
    """
    import torch

    alike = len({scale for _, _, scale, _ in parts}) == 1
    if len(parts) == 1 and parts[0][0].shape[0] == rows:
        return parts[0][0], parts[0][1], parts[0][2]
    dtype = parts[0][0].dtype if alike and len({up.dtype for up, _, _, _ in parts}) == 1 else torch.float32
    ranks = [down.shape[0] for _, down, _, _ in parts]
    up = torch.zeros(rows, sum(ranks), dtype=dtype)
    column = 0
    for (factor, _, scale, first), rank in zip(parts, ranks, strict=True):
        factor = factor.to(dtype) if alike else factor.float() * scale
        up[first : first + factor.shape[0], column : column + rank] = factor
        column += rank
    return up, torch.cat([down.to(dtype) for _, down, _, _ in parts]), parts[0][2] if alike else 1.0

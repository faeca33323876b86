"""OFT and BOFT: block-diagonal rotations of the weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ...errors import AdapterFormatError
from .base import (
    Adapter,
    Described,
    Ranges,
    RowCut,
    Shape,
    Tensors,
    all_zero,
    as_float,
    in_units,
    mismatch,
    require_weight,
    whole_cut,
)  # fmt: skip

if TYPE_CHECKING:
    from torch import Tensor

NEUMANN_TERMS = 5
"""Terms of the Cayley-Neumann series that PEFT and OneTrainer use by default; the file does not say."""


_MARKERS = (
    "oft_block_size_metadata", "oft_block_share_metadata", "oft_coft_metadata", "coft_eps_metadata", "initial_norm",
)  # fmt: skip
"""What musubi-tuner writes beside ``oft_R``: settings that the shapes tell too, and the norms that its DoRA divides by,
which a rotation of the columns does not change."""


class OftAdapter(Adapter):
    """``delta = R W - W`` with a block-diagonal rotation ``R`` of the output rows (LyCORIS diag-OFT).

    ``oft_blocks`` [blocks, size, size] gives ``Q = B - B^T``, alpha bounds its norm, and
    ``R = (I + Q) (I - Q)^-1`` is applied transposed, as LyCORIS ``modules/diag_oft.py`` and ComfyUI do. LyCORIS 2.0
    stored ``R`` itself, the factors of the rows multiplied in, as ``oft_diag``.
    """

    name = "oft"
    suffixes: ClassVar[Mapping[str, str]] = {
        "oft_blocks": "oft_blocks",
        "rescale": "rescale",
        "oft_diag": "oft_diag",
    }
    roles = frozenset(suffixes.values())
    needs_weight = True
    scaled_by_alpha = False

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return len(shapes.get("oft_blocks", ())) == 3 or ("oft_diag" in shapes and "oft_blocks" not in shapes)

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        role = "oft_blocks" if "oft_blocks" in shapes else "oft_diag"
        if len(shapes[role]) != 3 or shapes[role][1] != shapes[role][2]:
            raise mismatch(role, "[blocks, size, size]", list(shapes[role]))
        count, size, _ = shapes[role]
        return Described("oft", size, count * size)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        import torch

        matrix = require_weight(weight, "OFT")
        if "oft_blocks" in tensors:
            rotation = cayley(as_float(tensors["oft_blocks"]), _constraint(tensors))
        else:
            rotation = as_float(tensors["oft_diag"])
        count, size, _ = rotation.shape
        if count * size != matrix.shape[0]:
            raise mismatch("rows of the weight", count * size, matrix.shape[0])
        rows = matrix.reshape(count, size, -1)
        rotated = torch.bmm(rotation.transpose(1, 2), rows).reshape(matrix.shape)
        if "rescale" in tensors:
            rotated = rotated * as_float(tensors["rescale"]).reshape(-1, *[1] * (matrix.dim() - 1))
        return rotated - matrix

    def is_dead(self, tensors: Tensors) -> bool:
        if "oft_diag" in tensors and "oft_blocks" not in tensors:
            rotation = as_float(tensors["oft_diag"])
            return bool((rotation == eye_like(rotation)).all())
        return "rescale" not in tensors and all_zero(tensors["oft_blocks"])

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        role = "oft_blocks" if "oft_blocks" in shapes else "oft_diag"
        return _block_cuts(shapes, ranges, role, 0, shapes[role][1], 1)


class BoftAdapter(Adapter):
    """``delta = B_m ... B_1 W - W``: butterfly stages of block-diagonal rotations of the output rows.

    ``oft_blocks`` [stages, blocks, size, size]; stage ``i`` mixes rows that lie ``2^i size / 2`` apart.
    Source: 2311.06243 as LyCORIS ``modules/boft.py``.
    """

    name = "boft"
    suffixes: ClassVar[Mapping[str, str]] = {}
    roles = frozenset({"oft_blocks", "rescale"})
    needs_weight = True
    scaled_by_alpha = False

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return len(shapes.get("oft_blocks", ())) == 4

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        _, count, size, other = shapes["oft_blocks"]
        if size != other or size % 2:
            raise mismatch("oft_blocks", "[stages, blocks, even size, size]", list(shapes["oft_blocks"]))
        return Described("boft", size, count * size)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        import torch

        matrix = require_weight(weight, "BOFT")
        rotation = cayley(as_float(tensors["oft_blocks"]), _constraint(tensors))
        stages, count, size, _ = rotation.shape
        if count * size != matrix.shape[0]:
            raise mismatch("rows of the weight", count * size, matrix.shape[0])
        rows = matrix.reshape(matrix.shape[0], -1)
        for stage in range(stages):
            reach = 2**stage * size // 2
            if rows.shape[0] % (2 * reach):
                raise mismatch("rows of the weight", f"a multiple of {2 * reach}", rows.shape[0])
            mixed = rows.reshape(-1, 2, reach, rows.shape[1]).transpose(1, 2).reshape(count, size, -1)
            mixed = torch.bmm(rotation[stage], mixed).reshape(-1, reach, 2, rows.shape[1])
            rows = mixed.transpose(1, 2).reshape(matrix.shape[0], -1)
        rotated = rows.reshape(matrix.shape)
        if "rescale" in tensors:
            rotated = rotated * as_float(tensors["rescale"]).reshape(-1, *[1] * (matrix.dim() - 1))
        return rotated - matrix

    def is_dead(self, tensors: Tensors) -> bool:
        return "rescale" not in tensors and all_zero(tensors["oft_blocks"])

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        stages, _, size, _ = shapes["oft_blocks"]
        return _block_cuts(shapes, ranges, "oft_blocks", 1, size, 2 ** (stages - 1))


class Oft2Adapter(Adapter):
    """``delta = W R^T - W``: PEFT's OFT, which rotates the input columns; OneTrainer calls it OFT 2.

    ``oft_R`` [blocks, size (size - 1) / 2] holds the upper triangles of skew matrices ``Q``;
    ``R = I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4`` (Cayley-Neumann with five terms). A marker beside it, whatever its dtype,
    says Scaled OFT (see :func:`oft_generators`).
    Source: PEFT ``tuners/oft/layer.py``; OneTrainer ``modules/module/oft_utils.py``.
    """

    name = "oft_2"
    suffixes: ClassVar[Mapping[str, str]] = {
        "oft_R.weight": "oft_R",
        "oft_R": "oft_R",
        "oft_R.default.weight": "oft_R",
        "oft_R.scaled_oft": "scaled_oft",
        "oft_R.default.scaled_oft": "scaled_oft",
        "scaled_oft_metadata": "scaled_oft",
        **{marker: marker for marker in _MARKERS},
    }
    roles = frozenset({"oft_R", "scaled_oft", *_MARKERS})
    needs_weight = True
    scaled_by_alpha = False

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return "oft_R" in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        shape = shapes["oft_R"]
        size = _triangle_size(shape[1]) if len(shape) == 2 else 0
        if not size:
            raise mismatch("oft_R", "[blocks, size (size - 1) / 2]", list(shape))
        if shape[0] == 1:
            return Described("oft_2", size, note="one block is shared by all columns, or is as wide as they are")
        return Described("oft_2", size, None, shape[0] * size)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        import torch

        matrix = require_weight(weight, "OFT")
        packed = oft_generators(tensors)
        size = _triangle_size(packed.shape[1])
        skew = torch.zeros(packed.shape[0], size, size)
        rows, columns = torch.triu_indices(size, size, 1)
        skew[:, rows, columns] = packed
        skew = skew - skew.transpose(1, 2)
        flat = matrix.flatten(1)
        if flat.shape[1] % size or packed.shape[0] not in (1, flat.shape[1] // size):
            raise mismatch("columns of the weight", packed.shape[0] * size, flat.shape[1])
        change = _cayley_neumann(skew) - torch.eye(size)
        blocks = flat.reshape(flat.shape[0], -1, size)
        return torch.einsum("obi,bji->obj", blocks, change.expand(blocks.shape[1], -1, -1)).reshape(matrix.shape)

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(tensors["oft_R"])

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        return whole_cut(ranges, {})  # it turns the columns, of each row alike


class PeftBoftAdapter(Adapter):
    """``delta = s (W B^T) - W``: PEFT's BOFT, which rotates the input columns and scales the rows.

    ``boft_R`` [stages, blocks, size, size] holds the generators of the rotations, ``boft_s`` [out, 1] the factors.
    """

    name = "boft (PEFT)"
    suffixes: ClassVar[Mapping[str, str]] = {"boft_R": "boft_R", "boft_s": "boft_s"}
    roles = frozenset(suffixes.values())
    needs_weight = True
    scaled_by_alpha = False

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        return "boft_R" in shapes

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        shape = shapes["boft_R"]
        if len(shape) != 4 or shape[2] != shape[3]:
            raise mismatch("boft_R", "[stages, blocks, size, size]", list(shape))
        rows = shapes.get("boft_s", (0,))[0] or None
        return Described("boft", shape[2], rows, shape[1] * shape[2], note="written by PEFT; ComfyUI cannot load it")

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        matrix = require_weight(weight, "BOFT")
        stages, factor = tensors["boft_R"], tensors.get("boft_s")
        columns = math.prod(matrix.shape[1:])
        if stages.shape[1] * stages.shape[2] != columns:
            raise mismatch("columns of the weight", stages.shape[1] * stages.shape[2], columns)
        if factor is not None and factor.numel() != matrix.shape[0]:
            raise mismatch("rows of the weight", factor.numel(), matrix.shape[0])
        return peft_boft(stages, factor, matrix)

    def is_dead(self, tensors: Tensors) -> bool:
        return False  # its factors are near one, so that whether it changes anything depends on rounding

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        return whole_cut(ranges, {"boft_s": (0, ranges)} if "boft_s" in shapes else {})


def _block_cuts(
    shapes: Mapping[str, Shape], ranges: Ranges, role: str, dim: int, size: int, group: int
) -> tuple[RowCut, ...]:
    """Whole blocks of a rotation of the rows; ``group`` blocks are mixed with each other by a butterfly."""
    groups = in_units(ranges, size * group)
    if groups is None:
        raise AdapterFormatError(
            f"it turns rows in blocks of {size * group}, and a part of the weight begins or ends inside a block"
        )
    takes: dict[str, tuple[int, Ranges]] = {role: (dim, tuple((first * group, n * group) for first, n in groups))}
    if "rescale" in shapes:
        takes["rescale"] = (0, ranges)
    return whole_cut(ranges, takes)


def peft_boft(stages: Tensor, factor: Tensor | None, weight: Tensor) -> Tensor:
    """``s (W B^T) - W``: butterfly stages of block-diagonal rotations of the input columns, rows scaled by ``s``.

    Source: PEFT ``tuners/boft/layer.py``.
    """
    import torch

    stages = stages.float()
    count, blocks, size, _ = stages.shape
    skew = 0.5 * (stages - stages.transpose(-1, -2))
    eye = torch.eye(size)
    rotations = torch.linalg.solve(eye + skew, eye - skew, left=False)
    flat = weight.float().flatten(1)
    turned = flat.T
    for stage in range(count):
        order = butterfly_order(flat.shape[1], blocks, size, stage) if count > 1 else None
        rows = turned if order is None else turned[torch.argsort(order)]
        rows = torch.bmm(rotations[stage], rows.reshape(blocks, size, -1)).reshape(turned.shape)
        turned = rows if order is None else rows[order]
    result = turned.T
    if factor is not None:
        result = result * factor.float().reshape(-1, 1)
    return (result - flat).reshape(weight.shape)


def butterfly_order(width: int, blocks: int, size: int, stage: int) -> Tensor:
    """The permutation of one stage of PEFT's butterfly: inside each group, even half-blocks before odd ones."""
    import torch

    half = size // 2
    group = width // (blocks // 2**stage)
    halves = torch.arange(width).reshape(-1, group // half, half)
    return torch.cat([halves[:, 0::2], halves[:, 1::2]], 1).reshape(-1)


def oft_generators(tensors: Tensors) -> Tensor:
    """``oft_R`` as it enters the series, float32: Scaled OFT divides it by ``2 sqrt(size - 1)`` first.

    The marker of Scaled OFT is a true value of any dtype: OneTrainer casts it with the rest of the file.
    """
    packed = as_float(tensors["oft_R"])
    marker = tensors.get("scaled_oft")
    if marker is None or (marker.numel() and not bool(as_float(marker).any())):
        return packed
    return packed / (2 * math.sqrt(_triangle_size(packed.shape[1]) - 1))


def eye_like(blocks: Tensor) -> Tensor:
    """An identity matrix of the size and on the device of a stack of blocks."""
    import torch

    return torch.eye(blocks.shape[-1], device=blocks.device)


def cayley(blocks: Tensor, constraint: float) -> Tensor:
    """``(I + Q) (I - Q)^-1`` of ``Q = B - B^T`` of stacks of blocks; a ``constraint`` > 0 bounds ``|Q|``."""
    import torch

    skew = blocks - blocks.transpose(-1, -2)
    norm = torch.linalg.vector_norm(skew).item() + 1e-8
    if 0 < constraint < norm:
        skew = skew * (constraint / norm)
    eye = torch.eye(blocks.shape[-1])
    return torch.linalg.solve(eye - skew, eye + skew, left=False)


def _cayley_neumann(skew: Tensor) -> Tensor:
    import torch

    result = torch.eye(skew.shape[-1]) + 2 * skew
    power = skew
    for term in range(2, NEUMANN_TERMS):
        power = torch.bmm(power, skew)
        result = result + (1 if term == NEUMANN_TERMS - 1 else 2) * power
    return result


def _constraint(tensors: Tensors) -> float:
    alpha = tensors.get("alpha")
    value = 0.0 if alpha is None or alpha.numel() != 1 else float(as_float(alpha))
    return value if math.isfinite(value) else 0.0


def _triangle_size(count: int) -> int:
    """``n`` with ``n (n - 1) / 2 == count``, or 0."""
    size = (1 + math.isqrt(1 + 8 * count)) // 2
    return size if count > 0 and size * (size - 1) // 2 == count else 0

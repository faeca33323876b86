"""LoKr: a Kronecker product, either factor itself low-rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ...errors import AdapterFormatError
from .base import (
    Adapter,
    Described,
    Ranges,
    RowCut,
    Shape,
    Strength,
    Tensors,
    all_zero,
    as_float,
    dense_strength,
    in_units,
    mismatch,
    whole_cut,
)  # fmt: skip
from .lowrank import column_gram, gram_norm, gram_strength, row_gram, tucker_gram

if TYPE_CHECKING:
    from torch import Tensor


MOST_CUTS = 48
"""Kronecker products into which one is divided at most; rows that lie in turns would need more."""


class LokrAdapter(Adapter):
    """``delta = scale * kron(w1, w2)``; ``w1`` and ``w2`` are whole or ``w_a @ w_b``, ``w2`` may have a core ``t2``.

    ``|kron(w1, w2)|_F = |w1|_F |w2|_F`` and the largest singular values multiply likewise. Where both factors are
    whole, alpha does not count (LyCORIS sets it to the rank, ComfyUI ignores it).
    Source: LyCORIS ``functional/lokr.py``.
    """

    name = "lokr"
    suffixes: ClassVar[Mapping[str, str]] = {
        name: name
        for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
    }
    roles = frozenset(suffixes.values())

    def recognise(self, shapes: Mapping[str, Shape]) -> bool:
        first = "lokr_w1" in shapes or ("lokr_w1_a" in shapes and "lokr_w1_b" in shapes)
        return first and ("lokr_w2" in shapes or ("lokr_w2_a" in shapes and "lokr_w2_b" in shapes))

    def describe(self, shapes: Mapping[str, Shape]) -> Described:
        out1, in1, _ = _factor_shape(shapes, 1)
        out2, in2, kernel = _factor_shape(shapes, 2)
        rank = None
        if "lokr_w2" not in shapes:
            rank = shapes["lokr_w2_b"][0]
        elif "lokr_w1" not in shapes:
            rank = shapes["lokr_w1_b"][0]
        return Described("lokr", rank, out1 * out2, in1 * in2, kernel)

    def delta(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Tensor:
        import torch

        first, second = _factor(tensors, 1), _factor(tensors, 2)
        first = first.reshape(*first.shape, *[1] * (second.dim() - first.dim()))
        delta = torch.kron(first, second.contiguous()) * scale
        return delta.reshape(weight.shape) if weight is not None else delta

    def strength(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> Strength:
        first, second = _factor_strength(tensors, 1), _factor_strength(tensors, 2)
        spectral = None
        if first.spectral_norm is not None and second.spectral_norm is not None:
            spectral = abs(scale) * first.spectral_norm * second.spectral_norm
        return Strength(abs(scale) * first.delta_norm * second.delta_norm, spectral)

    def norm(self, tensors: Tensors, scale: float, weight: Tensor | None = None) -> float:
        return abs(scale) * _factor_norm(tensors, 1) * _factor_norm(tensors, 2)

    def is_dead(self, tensors: Tensors) -> bool:
        return all_zero(*tensors.values())

    def row_cuts(self, shapes: Mapping[str, Shape], ranges: Ranges) -> tuple[RowCut, ...]:
        """Row ``i`` of ``kron(w1, w2)`` belongs to row ``i // rows(w2)`` of ``w1`` and row ``i % rows(w2)`` of ``w2``.

        Rows of ``w1`` where ``w2`` divides the ranges; otherwise each range is the end of one row of ``w1``, whole
        rows, and the beginning of another: up to three products.
        """
        inner = _factor_shape(shapes, 2)[0]
        first = "lokr_w1" if "lokr_w1" in shapes else "lokr_w1_a"
        second = ("lokr_w2", 0) if "lokr_w2" in shapes else ("lokr_w2_a", 1 if "lokr_t2" in shapes else 0)
        blocks = in_units(ranges, inner)
        if blocks is not None:
            return whole_cut(ranges, {first: (0, blocks)})
        cuts: list[RowCut] = []
        made = 0
        for start, count in ranges:
            for row, rows, inside, size in _kronecker_pieces(start, count, inner):
                takes: dict[str, tuple[int, Ranges]] = {first: (0, ((row, rows),))}
                if size != inner:
                    takes[second[0]] = (second[1], ((inside, size),))
                cuts.append(RowCut(made, rows * size, takes))
                made += rows * size
        if len(cuts) > MOST_CUTS:
            raise AdapterFormatError("its rows lie in turns, which a Kronecker product cannot follow")
        return tuple(cuts)


def _kronecker_pieces(start: int, count: int, inner: int) -> list[tuple[int, int, int, int]]:
    """Rows ``start`` to ``start + count`` as ``(row of w1, rows of w1, row of w2, rows of w2)``, in order."""
    pieces: list[tuple[int, int, int, int]] = []
    end = start + count
    while start < end:
        row, inside = divmod(start, inner)
        if inside or end - start < inner:
            size = min(inner - inside, end - start)
            pieces.append((row, 1, inside, size))
        else:
            rows = (end - start) // inner
            size = rows * inner
            pieces.append((row, rows, 0, inner))
        start += size
    return pieces


def _factor_shape(shapes: Mapping[str, Shape], number: int) -> tuple[int, int, Shape]:
    """Rows, columns and kernel of ``w1`` or ``w2``."""
    whole = shapes.get(f"lokr_w{number}")
    if whole is not None:
        if len(whole) < 2:
            raise mismatch(f"lokr_w{number}", "a matrix", list(whole))
        return whole[0], whole[1], whole[2:]
    w_a, w_b = shapes.get(f"lokr_w{number}_a", ()), shapes.get(f"lokr_w{number}_b", ())
    core = shapes.get("lokr_t2") if number == 2 else None
    if len(w_a) != 2 or len(w_b) < 2:
        raise mismatch(f"lokr_w{number}_a and _b", "matrices", f"{list(w_a)} and {list(w_b)}")
    if core is not None:
        if len(core) < 2 or core[:2] != (w_a[0], w_b[0]):
            raise mismatch("lokr_t2", f"[{w_a[0]}, {w_b[0]}, kernel]", list(core))
        return w_a[1], w_b[1], core[2:]
    if w_a[1] != w_b[0]:
        raise mismatch(f"rank of lokr_w{number}", w_a[1], w_b[0])
    return w_a[0], w_b[1], w_b[2:]


def _factor(tensors: Tensors, number: int) -> Tensor:
    import torch

    whole = tensors.get(f"lokr_w{number}")
    if whole is not None:
        return as_float(whole)
    w_a, w_b = as_float(tensors[f"lokr_w{number}_a"]), as_float(tensors[f"lokr_w{number}_b"])
    if number == 2 and "lokr_t2" in tensors:
        return torch.einsum("ij...,io,jn->on...", as_float(tensors["lokr_t2"]), w_a, w_b)
    return (w_a @ w_b.flatten(1)).reshape(w_a.shape[0], *w_b.shape[1:])


def _factor_strength(tensors: Tensors, number: int) -> Strength:
    whole = tensors.get(f"lokr_w{number}")
    return dense_strength(as_float(whole)) if whole is not None else gram_strength(*_factor_grams(tensors, number), 1.0)


def _factor_norm(tensors: Tensors, number: int) -> float:
    whole = tensors.get(f"lokr_w{number}")
    if whole is not None:
        return dense_strength(as_float(whole), spectral=False).delta_norm
    return gram_norm(*_factor_grams(tensors, number), 1.0)


def _factor_grams(tensors: Tensors, number: int) -> tuple[Tensor, Tensor]:
    """Gram matrices of the two factors of ``w1`` or ``w2``, a core counted with the second."""
    w_a, w_b = tensors[f"lokr_w{number}_a"], tensors[f"lokr_w{number}_b"]
    if number == 2 and "lokr_t2" in tensors:
        # Here w_a is [rank, out]: its rows are the rank.
        return row_gram(w_a), tucker_gram(tensors["lokr_t2"], None, row_gram(w_b))
    return column_gram(w_a), row_gram(w_b.flatten(1))

"""Norms of a LoRA's layers without torch: read with numpy, a few megabytes at a time.

The figures are those of the adapters' own ``strength`` (a test compares them); formats that depend on the model's
weight are left to ComfyUI, where the weight is at hand.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..files.numbers import Array, NumberReader, UnreadableNumbers
from ..files.tensors import Header
from ..report.report import LayerReport, LayerState
from .adapters.diff import WholeAdapter
from .dead import DEAD, FACTORS
from .file import LoraLayer

_CHUNK = 1 << 19
"""Elements that are turned into float64 at a time (4 MiB)."""

def measure_layers(header: Header, fates: Sequence[tuple[LayerReport, LoraLayer]]) -> list[LayerReport]:
    """The reports with ``delta_norm``, or ``not_measured`` with the reason; a layer that is all zero becomes dead."""
    path = header.path or os.devnull
    with open(path, "rb", buffering=0) as file:
        reader = _Reader(header, file)
        return [_measure(reader, report, layer) for report, layer in fates]


def _measure(reader: _Reader, report: LayerReport, layer: LoraLayer) -> LayerReport:
    try:
        if report.state is LayerState.APPLIED and _is_dead(reader, layer):
            return replace(report, state=LayerState.DEAD, reason=DEAD, delta_norm=0.0)
        norm, why = _norm(reader, layer)
    except UnreadableNumbers as error:
        return replace(report, not_measured=str(error))
    if norm is not None and not math.isfinite(norm):
        norm, why = None, "its tensors contain infinite values or values that are no numbers"
    return replace(report, delta_norm=norm, not_measured=why)


def _is_dead(reader: _Reader, layer: LoraLayer) -> bool:
    kind = layer.adapter.name if layer.adapter is not None else ""
    if layer.dora or "reshape" in layer.roles or (kind in ("oft", "boft") and "rescale" in layer.roles):
        return False
    factors = [layer.roles[role] for role in FACTORS.get(kind, ()) if role in layer.roles]
    return any(not any(part.any() for part in reader.parts(key)) for key in factors)


def _norm(reader: _Reader, layer: LoraLayer) -> tuple[float | None, str]:
    """Frobenius norm of the layer's delta at strength 1, or why there is none."""
    if layer.adapter is None:
        return None, layer.note or "the format is not known"
    if layer.scale_source.startswith("not known"):
        return None, f"the scale is {layer.scale_source}"
    kind, roles = layer.adapter.name, layer.roles
    if layer.needs_weight:
        what = "DoRA" if layer.dora else layer.format
        return None, f"{what} depends on the model's own weight, which only Check LoRA in ComfyUI reads"
    if kind == "lora":
        down = reader.row_gram(roles["down"])
        if "mid" in roles:
            down = _tucker(reader.whole(roles["mid"]), down)
        return abs(layer.scale) * _root(reader.column_gram(roles["up"]), down), ""
    if kind == "loha":
        if "hada_t1" in roles:
            return None, "a LoHa with Tucker cores is measured in ComfyUI only"
        return abs(layer.scale) * _loha(reader, roles), ""
    if kind == "lokr":
        return abs(layer.scale) * _lokr_factor(reader, roles, 1) * _lokr_factor(reader, roles, 2), ""
    if isinstance(layer.adapter, WholeAdapter):
        return reader.norm(roles[layer.adapter.role]), ""
    return None, f"{layer.format} is measured in ComfyUI only"


def _root(first: Array, second: Array) -> float:
    """Norm of a product from the Gram matrices of its factors."""
    return math.sqrt(max(float((first * second).sum()), 0.0))


def _tucker(core: Array, down: Array) -> Array:
    core = core.reshape(*core.shape[:2], -1)
    return np.einsum("mnk,np,pqk->mq", core, down, core.transpose(1, 0, 2), optimize=True)


def _loha(reader: _Reader, roles: Mapping[str, str]) -> float:
    inner = [reader.whole(roles[role]) for role in ("hada_w1_b", "hada_w2_b")]
    step = max(1, _CHUNK // inner[0].shape[1])
    squared = 0.0
    outer = [reader.rows(roles[role], step) for role in ("hada_w1_a", "hada_w2_a")]
    for first, second in zip(*outer, strict=True):
        squared += float((((first @ inner[0]) * (second @ inner[1])) ** 2).sum())
    return math.sqrt(squared)


def _lokr_factor(reader: _Reader, roles: Mapping[str, str], number: int) -> float:
    whole = roles.get(f"lokr_w{number}")
    if whole is not None:
        return reader.norm(whole)
    first, second = roles[f"lokr_w{number}_a"], roles[f"lokr_w{number}_b"]
    if number == 2 and "lokr_t2" in roles:
        # Here the rows of the first factor are the rank.
        return _root(reader.row_gram(first), _tucker(reader.whole(roles["lokr_t2"]), reader.row_gram(second)))
    return _root(reader.column_gram(first), reader.row_gram(second))


class _Reader(NumberReader):
    """Tensors of one file as float64, in pieces."""

    def norm(self, key: str) -> float:
        """Frobenius norm of a tensor."""
        return math.sqrt(math.fsum(float((part * part).sum()) for part in self.parts(key)))

    def parts(self, key: str) -> Iterator[Array]:
        """All elements, a piece at a time."""
        info = self.info(key)
        for start in range(0, info.count, _CHUNK):
            yield self.read(info, start, min(_CHUNK, info.count - start))

    def whole(self, key: str) -> Array:
        """A tensor in its own shape. For small ones."""
        info = self.info(key)
        return self.read(info, 0, info.count).reshape(info.shape)

    def rows(self, key: str, step: int) -> Iterator[Array]:
        """``step`` rows at a time, [rows, everything else]."""
        info = self.info(key)
        width = max(1, math.prod(info.shape[1:]))
        for start in range(0, info.shape[0], step):
            count = min(step, info.shape[0] - start)
            yield self.read(info, start * width, count * width).reshape(count, width)

    def column_gram(self, key: str) -> Array:
        """``M^T M`` of a tall matrix."""
        info = self.info(key)
        width = max(1, math.prod(info.shape[1:]))
        gram = np.zeros((width, width))
        for rows in self.rows(key, max(1, _CHUNK // width)):
            gram += rows.T @ rows
        return gram

    def row_gram(self, key: str) -> Array:
        """``M M^T`` of a wide matrix."""
        info = self.info(key)
        count, width = info.shape[0], max(1, math.prod(info.shape[1:]))
        step = max(1, _CHUNK // max(1, count))
        if step >= width:
            matrix = self.read(info, 0, info.count).reshape(count, width)
            return matrix @ matrix.T
        gram = np.zeros((count, count))
        for start in range(0, width, step):
            length = min(step, width - start)
            part = np.stack([self.read(info, row * width + start, length) for row in range(count)])
            gram += part @ part.T
        return gram

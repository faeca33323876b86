"""Sizes of a report that are worked out when somebody looks at it: they need every number of the file, applying few.

A report whose sizes were left out carries a token; the page asks ``/patchbay/sizes`` with it when the report is opened.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any

from ...core.report.report import LayerReport, LayerState, Level, Report
from ..match.patch import PENDING, WAITING, MatchedPatch
from .exact import exact_norm, exact_work
from .patches import NOT_FINITE, finite_norm, product_deltas

QUICK_NUMBERS = 1 << 20
"""Files with up to this many numbers have their sizes in every report at once: about a millisecond on one core."""
KRONECKER_NUMBERS = 1 << 14
"""As long as a Kronecker product takes beside its numbers: it is measured by itself, not all at once."""
REPORTS_KEPT = 64
GONE = "The file that these sizes belong to is no longer in memory: run the node again, or use Show Patches."

Place = tuple[str, str, str, tuple[int, int, int] | None]
"""What tells a layer of a report from all others: file, layer of the file, weight, slice."""


def _measurable(patches: Iterable[MatchedPatch]) -> list[MatchedPatch]:
    """Those patches, not measured so far, of which the factors alone tell the size: plain LoRAs, and LoKr."""
    return [
        patch
        for patch in patches
        if (patch.found.norm is None or patch.found.norm is WAITING) and patch.value is not None
        and (patch.parts.is_product or (patch.parts.kind == "lokr" and exact_work(patch.parts) == 0))
    ]  # fmt: skip


def measure_products(patches: Iterable[MatchedPatch]) -> None:
    """Measure what its factors alone tell of the size of, so far as that was not done before: LoRAs in one go."""
    unknown = _measurable(patches)
    products = [patch for patch in unknown if patch.parts.is_product]
    for patch, norm in zip(products, product_deltas([patch.parts for patch in products]), strict=True):
        patch.found.norm = finite_norm(norm)
    for patch in unknown:
        if not patch.parts.is_product:
            norm = exact_norm(patch.parts, lambda: None)
            patch.found.norm = None if norm is None else finite_norm(norm)


def leave_for_later(patches: Sequence[MatchedPatch]) -> bool:
    """Whether there are so many numbers that applying should not wait for the sizes; the patches then say so.

    Files whose training broke down are found at once all the same: there, hardly any number is finite.
    """
    if any(patch.found.norm is WAITING for patch in patches):
        return True
    waiting = _measurable(patches)
    numbers = sum(tensor.numel() for patch in waiting for tensor in patch.parts.tensors.values())
    numbers += KRONECKER_NUMBERS * sum(patch.parts.kind == "lokr" for patch in waiting)
    if numbers <= QUICK_NUMBERS:
        return False
    for patch in waiting:
        firsts = (tensor[(0,) * tensor.dim()] for tensor in patch.parts.tensors.values() if tensor.numel())
        finite = all(math.isfinite(first.item()) for first in firsts)
        patch.found.norm = WAITING if finite else (None, NOT_FINITE)
    return True


class LateSizes:
    """Reports that wait for their sizes. The patches are held weakly: a file that nobody uses is let go of."""

    def __init__(self) -> None:
        self._patches: OrderedDict[str, Mapping[Place, weakref.ref[MatchedPatch]]] = OrderedDict()
        self._reports: OrderedDict[str, Report] = OrderedDict()
        self._lock = Lock()

    def keep_patches(self, layers: Iterable[tuple[LayerReport, MatchedPatch | None]]) -> str:
        """A token for the layers whose size was left for later; empty where none was."""
        waiting = {
            _place(layer): weakref.ref(patch)
            for layer, patch in layers
            if patch is not None and layer.not_measured == PENDING
        }
        if not waiting:
            return ""
        token = secrets.token_hex(8)
        with self._lock:
            self._patches[token] = waiting
            _shrink(self._patches)
        return token

    def keep_report(self, report: Report) -> Report:
        """The same report, kept so that :meth:`complete` knows what to complete."""
        if report.sizes:
            with self._lock:
                self._reports[report.sizes] = report
                _shrink(self._reports)
        return report

    def complete(self, sizes: str) -> Report | None:
        """The report with its sizes; ``None`` where it or its file is no longer in memory."""
        with self._lock:
            report = self._reports.get(sizes)
            found = {place: each for token in sizes.split(",") for place, each in self._patches.get(token, {}).items()}
        patches = {place: patch for place, reference in found.items() if (patch := reference()) is not None}
        if report is None or not patches:
            return None
        measure_products(patches.values())
        return _completed(report, patches)


LATE_SIZES = LateSizes()
"""Shared by all nodes and the route."""


def _completed(report: Report, patches: Mapping[Place, MatchedPatch]) -> Report:
    layers: list[LayerReport] = []
    for layer in report.layers:
        patch = patches.get(_place(layer)) if layer.not_measured == PENDING else None
        if patch is not None and patch.found.norm is not None:
            norm, why = patch.found.norm
            weighed = layer.weight_norm is not None
            layer = layer.changed(delta_norm=norm, not_measured=why or ("" if weighed else LATER_WEIGHT))
        layers.append(layer)
    level, notes = report.level, report.notes
    measured = (layer for layer, before in zip(layers, report.layers, strict=True) if layer is not before)
    broken = broken_layers(measured)
    if broken:
        level = Level.WARNING if level is Level.OK else level
        notes = (broken_note(broken), *notes)
    return dataclasses.replace(report, layers=tuple(layers), level=level, notes=notes, sizes="")


LATER_WEIGHT = "measured by Show Patches for a model of this size"
"""Why there is no norm of a weight, or of a change that only the weight tells."""


def broken_layers(layers: Iterable[LayerReport]) -> set[str]:
    """Layers that were applied and turn their weight into NaN."""
    return {x.lora_key for x in layers if x.state is LayerState.APPLIED and x.not_measured == NOT_FINITE}


def broken_note(broken: set[str]) -> str:
    """One sentence about them."""
    return f"{len(broken)} layers are broken, for example {min(broken)}: {NOT_FINITE}."


def _place(layer: LayerReport) -> Place:
    return (layer.owner, layer.lora_key, layer.model_key, layer.slice)


def _shrink(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > REPORTS_KEPT:
        kept.popitem(last=False)

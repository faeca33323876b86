"""Models that runs had, as what LoRA files can be checked against before the next run.

Which file a model comes from cannot always be read off the canvas: another pack's loader names it in its own way, or
there is none. What came out of it in the last run is known all the same, by what led to it in the workflow.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

from ...core.check.model_file import ModelFile, model_of_weights
from ...core.check.report import CheckedModel
from ...core.check.verdict import identify_weights
from ...core.model.blocks import BlockLayout
from ...core.report.report import ModelSummary
from ..apply.plan import MATCHES

MODELS_KEPT = 6
"""Names and shapes of so many models are kept; a model of 3,000 weights takes about half a megabyte."""


class RanModels:
    """Shapes of models by the fingerprint of what led to them. No weight and no patcher is held."""

    def __init__(self, limit: int = MODELS_KEPT) -> None:
        self._limit = limit
        self._shapes: OrderedDict[str, tuple[dict[str, tuple[int, ...]], ModelSummary]] = OrderedDict()
        self._models: dict[str, ModelFile] = {}
        self._lock = Lock()

    def keep(self, source: str, model: Any) -> None:
        """Remember the ``ModelPatcher`` that a node was given, if its keys were read: that alone would take time.

        Args:
            source: Fingerprint of what led to it, :attr:`~..core.report.inputs.RunInputs.model`.
        """
        keys = MATCHES.known_keys(model) if source else None
        if keys is None:
            return
        with self._lock:
            self._shapes.pop(source, None)
            self._models.pop(source, None)
            self._shapes[source] = keys.own_shapes, keys.summary
            while len(self._shapes) > self._limit:
                self._models.pop(self._shapes.popitem(last=False)[0], None)

    def get(self, source: str) -> ModelFile | None:
        """The model of that fingerprint; ``None`` where no run had it, or too many others since."""
        with self._lock:
            known = self._shapes.get(source)
            model = self._models.get(source)
        if known is None or model is not None:
            return model
        shapes, summary = known
        checked = CheckedModel(summary, identify_weights(shapes), BlockLayout(shapes), shapes)
        model = model_of_weights(summary.architecture, checked)
        with self._lock:
            if self._shapes.get(source) is known:
                self._models[source] = model
        return model


RAN_MODELS = RanModels()
"""Filled by nodes that report on a model, asked by the page."""

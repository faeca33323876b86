"""The recorder: wrappers under our own key on a clone of a model, and what they saw.

``OUTER_SAMPLE`` begins and ends a run, ``PREPARE_SAMPLING`` is loading, ``SAMPLER_SAMPLE`` gives the step callback,
``PREDICT_NOISE`` is one evaluation, ``APPLY_MODEL`` one call of the model. Between runs only these wrappers exist, on
our clone; hooks, timed adapters and the polling thread live inside one run. Neither the recorder nor its channels hold
a model.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
from comfy.patcher_extension import WrappersMP

from ...core.measure.runs import RunRecord
from ..comfyui.private import injections, lies_loaded, list_of_patches, wrappers
from .run import MeasuredRun, RecorderOptions

KEY = "lora_patchbay.measure"
KEPT_RUNS = 64
"""Older runs of a condition are forgotten."""

_NUMBERS = itertools.count(1)
_LAST = threading.local()


@dataclass(eq=False)
class Channel:
    """One condition and its runs."""

    condition: str
    options: RecorderOptions = RecorderOptions()
    runs: deque[RunRecord] = field(default_factory=lambda: deque(maxlen=KEPT_RUNS))
    active: list[MeasuredRun] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=dict)
    """Hashes and names, read when the channel was attached."""


@dataclass(frozen=True)
class Recorder:
    """The channels of one or several measured models, in the order of the table."""

    channels: tuple[Channel, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Conditions in order."""
        return tuple(channel.condition for channel in self.channels)

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first."""
        return tuple(sorted((run for channel in self.channels for run in channel.runs), key=lambda run: run.number))


def attach(
    model: Any, condition: str, options: RecorderOptions | None = None, recorder: Recorder | None = None
) -> tuple[Any, Recorder]:
    """A measured clone of ``model``, and a recorder with its channel behind those of ``recorder``."""
    taken = () if recorder is None else recorder.channels
    channel = Channel(_free_name(condition, {other.condition for other in taken}), options or RecorderOptions())
    clone = model.clone()
    for kind, wrapper in _wrappers_of(channel).items():
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    return clone, Recorder((*taken, channel))


def is_attached(model: Any) -> bool:
    """Whether a model carries wrappers of a recorder."""
    return any(KEY in by_key for by_key in wrappers(model).values())


def _free_name(wanted: str, taken: set[str]) -> str:
    name = wanted.strip() or "model"
    numbers = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(candidate for candidate in numbers if candidate not in taken)


def _wrappers_of(channel: Channel) -> dict[str, Any]:
    """Each passes everything on as it came; outside a run of this channel none does anything else."""

    def outer(executor: Any, *args: Any, **kwargs: Any) -> Any:
        return _measure(channel, executor, args, kwargs)

    def prepare(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if not channel.active:
            return executor(*args, **kwargs)
        return channel.active[-1].prepare(lambda: executor(*args, **kwargs))

    def sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if not channel.active:
            return executor(*args, **kwargs)
        guider, sigmas, extra, callback, noise, *rest = args
        marked = channel.active[-1].sampling(guider, executor.class_obj, noise, callback)
        return executor(guider, sigmas, extra, marked, noise, *rest, **kwargs)

    def predict(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if not channel.active:
            return executor(*args, **kwargs)
        return channel.active[-1].evaluate(lambda: executor(*args, **kwargs))

    def apply(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if channel.active:
            options = kwargs.get("transformer_options") or (args[5] if len(args) > 5 else None) or {}
            channel.active[-1].forward(len(options.get("cond_or_uncond") or (0,)))
        return executor(*args, **kwargs)

    return {
        WrappersMP.OUTER_SAMPLE: outer,
        WrappersMP.PREPARE_SAMPLING: prepare,
        WrappersMP.SAMPLER_SAMPLE: sample,
        WrappersMP.PREDICT_NOISE: predict,
        WrappersMP.APPLY_MODEL: apply,
    }


def _measure(channel: Channel, executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    patcher = executor.class_obj.model_patcher
    begun = _begin(patcher, channel)
    if begun is None:
        return executor(*args, **kwargs)
    run, state, after_switch = begun
    outcome = "error"
    try:
        channel.active.append(run)
        result = executor(*args, **kwargs)
        outcome = "success"
        return result
    except comfy.model_management.InterruptProcessingException:
        outcome = "interrupted"
        raise
    finally:
        ended = outcome
        if run in channel.active:
            channel.active.remove(run)
        _keep(channel, lambda: channel.runs.append(run.record(channel.condition, next(_NUMBERS), ended, after_switch)))
        _keep(channel, run.close)
        _LAST.state = state if outcome == "success" else None


def _begin(patcher: Any, channel: Channel) -> tuple[MeasuredRun, Any, bool] | None:
    """A run that has begun, what it is a run of, and whether that is another than before; ``None`` if it failed."""
    try:
        state = (id(patcher.model), str(list_of_patches(patcher)), _injected(patcher))
        after_switch = getattr(_LAST, "state", None) != state or not lies_loaded(patcher)
        run = MeasuredRun(patcher, channel.options)
        run.open()
    except Exception:
        logging.exception("LoRA Patchbay: %s is sampled without being measured", channel.condition)
        return None
    return run, state, after_switch


def _keep(channel: Channel, work: Callable[[], None]) -> None:
    """Do ``work`` after a run, whose picture is worth more than its figures."""
    try:
        work()
    except Exception:
        logging.exception("LoRA Patchbay: %s could not be measured", channel.condition)


def _injected(patcher: Any) -> tuple[int, ...]:
    """Which injections (bypassed LoRAs) belong to a patcher: they change the model without changing its patches."""
    return tuple(sorted(id(item) for items in injections(patcher).values() for item in items))

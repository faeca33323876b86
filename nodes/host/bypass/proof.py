"""Proof that what was applied ran, and what is done where it did not.

A newer ComfyUI, or another pack, may compute a layer without calling it: its forward pass fused into another, its
weight joined with its neighbours', its kernels replayed from a CUDA graph. Hooks beside such a layer have no effect,
and nothing says so. So the first evaluation of a model with patches that are not proved yet is looked at: every layer
of :class:`.hooks.BypassStack` and every weight that is patched when it is used (:mod:`.weight_functions`) reports.
What did not is named; layers beside their weights are merged instead, and the run begins again. Once proved, nothing is
looked at any more.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import comfy.model_patcher
from comfy.patcher_extension import WrappersMP

from ..comfyui.events import tell_page
from ..comfyui.private import list_of_patches, wrappers
from .hooks import BypassStack, add_bypass, bypass_stack, take_off
from .weight_functions import WatchedFunctions, watched_functions

KEY = "lora_patchbay.proof"
NOT_USED = "applied, but ComfyUI did not use it"
"""How the log, the page and the reports begin to say it."""

_UNUSED: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
"""By loaded model: layers whose hooks were not called in an evaluation."""
_PROVED: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""By loaded model: the list of patches whose weight functions were last seen to run."""
_RUNS = threading.local()


class NotUsed(BaseException):
    """Ends the first evaluation's run, so that it begins again merged; no error, so that nobody else catches it.

    Only raised within :func:`_sample`, which catches it.
    """


@dataclass
class _Run:
    """The run whose first evaluation is looked at."""

    patcher: Any
    stack: BypassStack | None
    evaluated: bool = field(default=False)
    watching: ExitStack = field(default_factory=ExitStack)
    """Ends the watch over :attr:`functions`."""
    functions: WatchedFunctions | None = field(default=None)


def attach_proof(patcher: Any) -> None:
    """Have this clone look whether what it carries runs; once is enough."""
    if KEY in wrappers(patcher, WrappersMP.OUTER_SAMPLE):
        return
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _sample)
    patcher.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, _loaded)
    patcher.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, _evaluate)


def unused_layers(model: Any) -> set[str]:
    """Layers of a loaded model beside which nothing runs, as far as an evaluation has shown it."""
    return _UNUSED.get(model, set())


def _sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """The run: looked at where it is not proved yet, and begun again where something was not used."""
    guider: Any = getattr(executor, "class_obj", None)
    patcher = getattr(guider, "model_patcher", None)
    stack = bypass_stack(patcher) if patcher is not None else None
    if patcher is None or (_functions_proved(patcher) and (stack is None or stack.proved)):
        return executor(*args, **kwargs)
    if stack is not None and stack.instead is not None:
        return _with(guider, stack.instead, executor, *args, **kwargs)
    before, _RUNS.now = getattr(_RUNS, "now", None), _Run(patcher, stack)
    conds, options = _copies(guider)
    try:
        return executor(*args, **kwargs)
    except NotUsed:
        assert stack is not None  # nobody else raises it
    finally:
        _RUNS.now = before
    stack.instead = merged_instead(patcher, stack, unused_layers(patcher.model))
    guider.conds, guider.model_options = conds, options  # as they were: the first load has added to both
    return _with(guider, stack.instead, executor, *args, **kwargs)


def _with(guider: Any, patcher: Any, executor: Any, *args: Any, **kwargs: Any) -> Any:
    """The run with another patcher of the same model."""
    own, guider.model_patcher = guider.model_patcher, patcher
    try:
        return executor(*args, **kwargs)
    finally:
        guider.model_patcher = own


def _copies(guider: Any) -> tuple[Any, Any]:
    conds = {name: [cond.copy() for cond in entries] for name, entries in guider.conds.items()}
    return conds, comfy.model_patcher.create_model_options_clone(guider.model_options)


def _loaded(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """The steps of a run, once the model is loaded: the watch begins here, so that the first step does not wait."""
    run: _Run | None = getattr(_RUNS, "now", None)
    if run is None or run.evaluated:
        return executor(*args, **kwargs)
    with run.watching:
        run.functions = run.watching.enter_context(watched_functions(run.patcher))
        return executor(*args, **kwargs)


def _evaluate(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """An evaluation, all its conditionings together; only the first of a run that is looked at does anything here."""
    run: _Run | None = getattr(_RUNS, "now", None)
    if run is None or run.evaluated:
        return executor(*args, **kwargs)
    run.evaluated = True
    with run.watching:
        if run.functions is None:  # a sampler of another pack's that calls the model in its own way
            run.functions = run.watching.enter_context(watched_functions(run.patcher))
        result = executor(*args, **kwargs)
    missed = run.functions.missed()
    if missed:
        _say(missed, "These weights are patched whenever they are used; load the model wholly (more free memory).")
    _PROVED[run.patcher.model] = list_of_patches(run.patcher)
    stack = run.stack
    if stack is None:
        return result
    unused = stack.not_reached()
    stack.proved = not unused
    if not unused:
        return result
    _UNUSED.setdefault(run.patcher.model, set()).update(unused)
    _say(unused, "It is merged into these weights instead, and the run begins again.")
    raise NotUsed


def _say(names: Sequence[str], then: str) -> None:
    text = f"{NOT_USED}: {len(names)} layers (for example {names[0]}). {then}"
    logging.warning("LoRA Patchbay: %s", text)
    tell_page(f"LoRA Patchbay: {text}")


def _functions_proved(patcher: Any) -> bool:
    return not patcher.patches or _PROVED.get(patcher.model) == list_of_patches(patcher)


def merged_instead(patcher: Any, stack: BypassStack, unused: set[str]) -> Any:
    """A clone of ``patcher`` whose terms beside ``unused`` layers are merged into their weights."""
    clone = patcher.clone()
    take_off(clone)
    stay = [term for term in stack.terms if term.beside.module not in unused]
    if stay:
        add_bypass(clone, stay)
    for term in stack.terms:
        if term.beside.module in unused:
            clone.add_patches({term.target: term.value}, term.strength)
    return clone

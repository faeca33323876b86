"""LoRAs beside the weights: which terms a model carries, where their factors lie, and the hooks while it is loaded.

A patcher carries one :class:`BypassStack`, the terms of all our nodes before it. The factors are a model of their own
(``additional_models``), so that ComfyUI loads, counts and unloads them with the model; a changed strength keeps them.
ComfyUI injects the stack of the patcher that is loaded, and ejects it when another clone takes its place.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import comfy.model_patcher
import comfy.utils
import torch
from comfy.patcher_extension import PatcherInjection

from ...core.match.name_table import Target
from ..comfyui.private import injections, say_not_injected
from ..match.roles import PatchValue
from .calls import LayerFactors
from .layer_hooks import GloraHook, LayerHook, make_hook
from .terms import Beside, layer_kind

BYPASS = "lora_patchbay.bypass"
"""Our attachment, and the start of our keys of injections, callbacks and additional models."""

KEPT_STACKS = 4
"""Factors of this many combinations of LoRAs are kept for a model, so that switching between them moves nothing."""

_COUNTER = itertools.count()
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class BypassTerm:
    """One patch that runs beside its weight."""

    beside: Beside
    strength: float
    value: PatchValue
    """The patch that it stands for, as ``add_patches`` would take it."""
    model_key: str
    shape: tuple[int, ...]
    """Of the whole weight."""
    owner: str
    """Which LoRA it is of."""
    target: Target = ""
    """Where ``add_patches`` would put it: the key, with offset and function where there are any."""


class BypassFactors(torch.nn.Module):
    """The factors of one combination of LoRAs, layer by layer. Strengths are no part of it."""

    def __init__(self, layers: Mapping[str, LayerFactors]) -> None:
        super().__init__()
        self.paths = tuple(layers)
        self.layers = torch.nn.ModuleList(layers.values())

    @property
    def size_bytes(self) -> int:
        """Bytes that the factors take."""
        return sum(p.numel() * p.element_size() for p in self.parameters())


class _FactorCache:
    """The factors that were last used with each model, ready for the next strength."""

    def __init__(self) -> None:
        self._by_model: weakref.WeakKeyDictionary[Any, OrderedDict[tuple[Beside, ...], Any]]
        self._by_model = weakref.WeakKeyDictionary()

    def get(self, patcher: Any, terms: Sequence[BypassTerm]) -> Any:
        """A patcher that holds the factors of ``terms``; the same one for the same terms at any strength."""
        known = self._by_model.setdefault(patcher.model, OrderedDict())
        parts = tuple(term.beside for term in terms)
        if parts not in known:
            factors = BypassFactors(_layers(patcher, terms))
            root = comfy.model_patcher.ModelPatcher(
                factors, load_device=patcher.load_device, offload_device=patcher.offload_device
            )
            known[parts] = root
        known.move_to_end(parts)
        while len(known) > KEPT_STACKS:
            known.popitem(last=False)
        return known[parts]


FACTORS = _FactorCache()
"""Shared by all nodes."""


def _layers(patcher: Any, terms: Sequence[BypassTerm]) -> dict[str, LayerFactors]:
    dtype = compute_dtype(patcher)
    return {
        path: LayerFactors([term.beside for term in of_layer], _kind(patcher, path), _weight_shape(of_layer), dtype)
        for path, of_layer in _by_layer(terms).items()
    }


def _kind(patcher: Any, path: str) -> Any:
    return layer_kind(comfy.utils.get_attr(patcher.model, path))


def _weight_shape(terms: Sequence[BypassTerm]) -> tuple[int, ...]:
    return next((term.shape for term in terms if not term.beside.bias), terms[0].shape)


def _by_layer(terms: Sequence[BypassTerm]) -> dict[str, list[BypassTerm]]:
    layers: dict[str, list[BypassTerm]] = {}
    for term in terms:
        layers.setdefault(term.beside.module, []).append(term)
    return layers


def compute_dtype(patcher: Any) -> torch.dtype:
    """What the model's layers compute in, as far as it says so; the first call corrects it."""
    model = patcher.model
    wanted = getattr(model, "manual_cast_dtype", None)
    if wanted is None and hasattr(model, "get_dtype"):
        wanted = model.get_dtype()
    return wanted if wanted in _FLOATS else torch.bfloat16 if hasattr(model, "get_dtype") else torch.float32


class BypassStack:
    """The terms of all our nodes on one patcher, hooked into the model while that patcher is the loaded one."""

    def __init__(self, terms: Sequence[BypassTerm], patcher: Any) -> None:
        """
        Args:
            terms: In the order of the nodes.
            patcher: The patcher that will carry the stack.
        """
        self.terms = tuple(terms)
        self.proved = False
        """Whether an evaluation has called every layer (:mod:`.proof`)."""
        self.instead: Any = None
        """The patcher that is run in place of this one, where an evaluation has not called every layer."""
        self.root = FACTORS.get(patcher, self.terms)
        factors: BypassFactors = self.root.model
        by_layer = _by_layer(self.terms)
        self.hooks: dict[str, LayerHook | GloraHook] = {
            path: make_hook(
                cast("LayerFactors", layer).calls([term.strength for term in by_layer[path]]),
                comfy.utils.get_attr(patcher.model, path),
            )
            for path, layer in zip(factors.paths, factors.layers, strict=True)
        }

    def injection(self) -> PatcherInjection:
        """What ComfyUI calls when the patcher is loaded, and when it is not any more."""
        return PatcherInjection(inject=self.inject, eject=self.eject)

    def inject(self, patcher: Any) -> None:
        """Hook into the patcher's model, in place of any other stack of ours."""
        active = _ACTIVE.get(patcher.model)
        if active is not None and active.stack is self and active.owner() is not None:
            return
        _deactivate(patcher.model)
        active = _Active(self, weakref.ref(patcher), [])
        _ACTIVE[patcher.model] = active
        try:
            for path, hook in self.hooks.items():
                active.handles.extend(hook.register(comfy.utils.get_attr(patcher.model, path)))
        except Exception:
            _deactivate(patcher.model)
            raise

    def eject(self, patcher: Any) -> None:
        """Take the hooks out, unless another clone that carries the same stack put them in."""
        active = _ACTIVE.get(patcher.model)
        if active is not None and active.stack is self and active.owner() in (patcher, None):
            _deactivate(patcher.model)

    def not_reached(self) -> list[str]:
        """Layers that the model did not call: their terms had no effect."""
        return [path for path, hook in self.hooks.items() if not hook.reached]


@dataclass
class _Active:
    """The stack that is hooked into a model right now."""

    stack: BypassStack
    owner: Any
    """Weak reference to the patcher that put it in."""
    handles: list[Any]


_ACTIVE: weakref.WeakKeyDictionary[Any, _Active] = weakref.WeakKeyDictionary()


def _deactivate(model: Any) -> None:
    active = _ACTIVE.pop(model, None)
    for handle in active.handles if active is not None else ():
        handle.remove()


def bypass_stack(patcher: Any) -> BypassStack | None:
    """The stack that a patcher carries."""
    return patcher.get_attachment(BYPASS)


def add_bypass(patcher: Any, terms: Sequence[BypassTerm]) -> None:
    """Let ``terms`` run beside the weights of ``patcher``, a fresh clone, together with those it carries already."""
    before = bypass_stack(patcher)
    stack = BypassStack((*(before.terms if before is not None else ()), *terms), patcher)
    take_off(patcher)
    patcher.set_attachments(BYPASS, stack)
    patcher.set_injections(f"{BYPASS}.{next(_COUNTER)}", [stack.injection()])
    patcher.set_additional_models(BYPASS, [stack.root.clone()])


def take_off(patcher: Any) -> None:
    """Take the stack off ``patcher``, a fresh clone."""
    for key in [key for key in injections(patcher) if key.startswith(BYPASS)]:
        patcher.remove_injections(key)
    say_not_injected(patcher)
    patcher.remove_attachments(BYPASS)
    patcher.remove_additional_models(BYPASS)

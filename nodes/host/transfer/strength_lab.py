"""Evaluates a model with a LoRA at any strength by group, on given probes: the laboratory of Fit Strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...core.errors import PatchbayError
from ...core.strengths.groups import BLOCK, BLOCK_AND_STREAM, KIND, selector_rank, selectors_of
from ...core.transfer.guidance import Guidance, guided, measure_guidance
from ...core.transfer.profile import ProbeId
from ..apply.lora_cache import LoadedLora
from ..apply.plan import MATCHES, apply_plan, plan_patches
from .probes import Conditioning, Probes, outputs

GROUPINGS = (BLOCK_AND_STREAM, BLOCK, KIND)

Outputs = dict[ProbeId, Tensor]


@dataclass(frozen=True)
class Group:
    """Layers that share one strength."""

    selector: str
    """As in the text form: ``double_blocks.0.img``, ``single_blocks.*``, ``other``."""
    keys: tuple[str, ...]
    """Keys of the weights that the LoRA changes."""


def find_groups(lora: LoadedLora, model: Any, grouping: str) -> tuple[Group, ...]:
    """The groups of the LoRA's layers in this model, in the model's order.

    Raises:
        PatchbayError: no layer of the file lands in this model.
    """
    keys = MATCHES.model_keys(model, None)
    plan = plan_patches(lora, keys, 1.0, 0.0, "")
    members: dict[str, list[str]] = {}
    for patch in plan.patches:
        key = patch.patch.model_key
        for selector in selectors_of(keys.layout.place(key), grouping):
            members.setdefault(selector, []).append(key)
    if not members:
        raise PatchbayError(
            f"{lora.name}: no layer of this LoRA fits this model, so there is nothing to fit. "
            "Check LoRA (Patchbay) says why."
        )
    ordered = sorted(members, key=lambda selector: selector_rank(selector, keys.layout.kinds))
    return tuple(Group(name, tuple(dict.fromkeys(members[name]))) for name in ordered)


def strengths_text(strengths: Mapping[str, float], digits: int = 3) -> str:
    """The text form, in the order given: a block stands before its streams, which then win."""
    return ", ".join(f"{selector}={round(value, digits):g}" for selector, value in strengths.items())


class StrengthLab:
    """One target model with one LoRA on fixed probes."""

    def __init__(
        self,
        model: Any,
        lora: LoadedLora,
        groups: Sequence[Group],
        step_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._lora, self._step_done = model, lora, step_done
        self.groups = tuple(groups)

    def patched(self, strengths: Mapping[str, float] | None = None) -> Any:
        """A clone of the model with the LoRA; strength 1 without ``strengths``."""
        return patch_model(self._model, self._lora, "" if strengths is None else strengths_text(strengths, 6))

    def plain(self, probes: Probes) -> Outputs:
        """The outputs without the LoRA."""
        return outputs(self._model, probes, self._step_done)

    def at(self, probes: Probes, strengths: Mapping[str, float] | None = None) -> Outputs:
        """The outputs with the LoRA at these strengths by selector; 1 everywhere without."""
        return outputs(self.patched(strengths), probes, self._step_done)

    def uniform(self, value: float) -> dict[str, float]:
        """The same strength for every group."""
        return {group.selector: value for group in self.groups}


def patch_model(model: Any, lora: LoadedLora, blocks: str) -> Any:
    """A clone of ``model`` with the LoRA at these block strengths."""
    keys = MATCHES.model_keys(model, None)
    return apply_plan(plan_patches(lora, keys, 1.0, 0.0, blocks), model, None, lora.name)[0]


@dataclass(frozen=True)
class Reference:
    """What the LoRA's own model returns without and with it, for each prompt and for the negative one."""

    plain: Outputs
    patched: Outputs
    plain_negative: Outputs | None = None
    patched_negative: Outputs | None = None

    def guidance(self, target: Outputs, given: float | None) -> Guidance | None:
        """The guidance to compare at; ``None`` where there is no negative prompt to guide away from."""
        if self.plain_negative is None:
            return None
        return measure_guidance(target, self.plain, self.plain_negative, given)

    def change(self, guidance: Guidance | None) -> Outputs:
        """What the LoRA adds to the guided output."""
        after = guided(self.patched, self.patched_negative, guidance)
        return difference(after, guided(self.plain, self.plain_negative, guidance))


def run_reference(
    model: Any,
    lora: LoadedLora,
    probes: Probes,
    negative: Conditioning | None = None,
    step_done: Callable[[], None] = lambda: None,
) -> Reference:
    """Evaluate the LoRA's own model on the probes, without it and at strength 1."""
    plain, patched = (
        (outputs(each, probes, step_done), None if negative is None else outputs(each, probes, step_done, negative))
        for each in (model, patch_model(model, lora, ""))
    )
    return Reference(plain[0], patched[0], plain[1], patched[1])


def difference(a: Outputs, b: Outputs) -> Outputs:
    """``a - b`` probe by probe."""
    return {probe: a[probe] - b[probe] for probe in b if probe in a}


def scenes_of(probes: Iterable[ProbeId]) -> dict[tuple[int, int], list[ProbeId]]:
    """Probes gathered by (prompt, seed)."""
    found: dict[tuple[int, int], list[ProbeId]] = {}
    for probe in sorted(probes):
        found.setdefault(probe[:2], []).append(probe)
    return found

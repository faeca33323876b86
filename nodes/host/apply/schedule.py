"""A LoRA over the steps: its patches as ComfyUI's own weight hooks, one hook for each distinct course of strength.

ComfyUI changes the weights between steps where a keyframe of a hook begins, and puts them back afterwards. The patches
are the planned ones of Apply LoRA, so that names, scales and formats are those of the file's writer.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.hooks

from ...core.check.verdict import find_stranger
from ...core.errors import PatchbayError
from ...core.match.name_table import Target
from ...core.report.report import LayerReport, LayerState, Level, Report
from ...core.report.text import count_text
from ...core.strengths.schedule import STEP, Curve, Schedule, check_window, describe_curve, parse_schedule
from ..comfyui.model_keys import ModelKeys
from ..comfyui.private import is_dynamic, keyframe_level, set_keyframe
from ..match.patch import MatchedPatch
from ..norms.patches import parameter
from .apply import summarise_lora
from .layer_norms import measure_plan
from .lora_cache import LORA_CACHE
from .plan import MATCHES, PatchPlan, plan_patches


@dataclass(frozen=True)
class Scheduled:
    """The hooks, and what became of the file."""

    hooks: Any
    """A ``comfy.hooks.HookGroup``."""
    report: Report


@dataclass
class _Piece:
    """One patch, with its strength at each moment."""

    patch: MatchedPatch
    text_encoder: bool
    strengths: list[float]
    curve: Curve = ()


class PercentKeyframes(comfy.hooks.HookKeyframeGroup):
    """ComfyUI's keyframes, reset so that a second run begins like the first, even with a single step."""

    def reset(self) -> None:
        super().reset()
        set_keyframe(self, -1.0)

    def clone(self) -> Any:
        copy = type(self)()
        copy.keyframes = [keyframe.clone() for keyframe in self.keyframes]
        copy.reset()
        return copy


class StepKeyframe(comfy.hooks.HookKeyframe):
    """A keyframe that begins with a step instead of a noise level."""

    def __init__(self, strength: float, step: int) -> None:
        super().__init__(strength, 0.0, 0)
        self.step = step

    def clone(self) -> Any:
        return StepKeyframe(self.strength, self.step)


class StepKeyframes(PercentKeyframes):
    """Keyframes by step: the step is the last whose noise level is not below the current one."""

    def initialize_timesteps(self, model: Any) -> None:
        """Steps need no noise levels."""

    def prepare_current_keyframe(self, curr_t: Any, transformer_options: dict[str, Any]) -> bool:
        level = float(curr_t)
        if level == keyframe_level(self):
            return False
        sigmas = [float(sigma) for sigma in transformer_options["sample_sigmas"][:-1]]
        step = max((i for i, sigma in enumerate(sigmas) if sigma >= level * (1 - 1e-6)), default=0)
        before = self.strength
        set_keyframe(self, level, [k for k in self.keyframes if k.step <= step][-1])
        return self.strength != before


def schedule_lora(
    path: str,
    name: str,
    model: Any,
    clip: Any,
    strengths: tuple[float, float],
    blocks: str,
    schedule: str,
    window: tuple[float, float] = (0.0, 1.0),
    linear: bool = False,
) -> Scheduled:
    """Hooks that apply the LoRA at ``path`` with the strengths of each moment.

    Args:
        strengths: Of the model and of the text encoder, multiplied with those of the blocks.
        blocks: Block strengths of every moment; a moment's own items win.
        window: ``start_percent`` and ``end_percent``.
        linear: Change evenly between moments instead of jumping.

    Raises:
        HeaderError: the file is not a LoRA that can be read.
        BlockStrengthError: ``blocks`` or ``schedule`` does not parse or does not fit this model.
        PatchbayError: what was asked for cannot be done with hooks.
    """
    parsed = parse_schedule(schedule)
    check_window(parsed, *window)
    lora = LORA_CACHE.load(path, name)
    keys = MATCHES.model_keys(model, clip)
    plans = [plan_patches(lora, keys, *strengths, text) for text in parsed.texts(blocks)]
    pieces = _pieces(plans)
    for piece in pieces:
        piece.curve = parsed.curve(piece.strengths, linear, *window)
        _refuse(piece, parsed, model, clip)
    hooks = _hooks(pieces, parsed.unit)
    layers = _layers(plans, pieces, parsed, keys, model, clip)
    level, summary, notes = _judge(layers, pieces, hooks, name)
    stranger = find_stranger(lora.file, keys.own_shapes, keys.architecture)
    if stranger is not None:
        level, notes = Level.WARNING if level is Level.OK else level, [stranger.warning, *notes]
    if is_dynamic(model):
        notes.append(
            "ComfyUI samples conditioning with hooks without dynamic VRAM: it loads this model a second time, in the "
            "older way, for such runs."
        )
    report = Report(
        kind="schedule",
        title=f"{os.path.basename(name)} over the steps on {keys.summary.architecture}",
        summary=summary,
        level=level,
        model=keys.summary,
        lora=summarise_lora(lora),
        strength_model=strengths[0],
        strength_clip=strengths[1] if clip is not None else None,
        blocks=blocks.strip(),
        layers=layers,
        notes=tuple(notes),
    )
    return Scheduled(hooks, report)


def attach(hooks: Any, conditionings: Sequence[Any]) -> list[Any]:
    """The conditionings with the hooks added; ``None`` stays ``None``."""
    cache: dict[Any, Any] = {}
    return [
        None if cond is None else comfy.hooks.set_hooks_for_conditioning(cond, hooks, append_hooks=True, cache=cache)
        for cond in conditionings
    ]


def _pieces(plans: list[PatchPlan]) -> list[_Piece]:
    """Every patch of any moment, with its strength at each; a moment that does not have it gives 0."""
    found: dict[MatchedPatch, _Piece] = {}
    for index, plan in enumerate(plans):
        for planned in plan.patches:
            if planned.patch not in found:
                found[planned.patch] = _Piece(planned.patch, planned.text_encoder, [0.0] * len(plans))
            found[planned.patch].strengths[index] = planned.strength
    return list(found.values())


def _refuse(piece: _Piece, schedule: Schedule, model: Any, clip: Any) -> None:
    constant = len(piece.curve) == 1
    key, parts = piece.patch.model_key, piece.patch.parts
    patcher = clip.patcher if piece.text_encoder and clip is not None else model
    if hasattr(parameter(patcher, key), "tensor_shape"):
        raise PatchbayError(
            f"{key} is stored as GGUF, which ComfyUI's hooks cannot change between steps. Use Apply LoRA, or a model "
            "in another format."
        )
    replaces, reshapes = parts.kind == "set", parts.new_shape is not None
    if (replaces or reshapes) and not constant:
        what = "replaces the weight" if replaces else "enlarges the weight"
        raise PatchbayError(f"{key}: the file {what}, and that cannot change between steps. Use Apply LoRA for it.")
    if piece.text_encoder and not constant and schedule.unit == STEP:
        raise PatchbayError(
            "schedule: a text encoder runs before the steps; its strength can change by percent only. Add te=0 to the "
            "blocks, leave the CLIP unconnected, or write percents."
        )


def _hooks(pieces: list[_Piece], unit: str) -> Any:
    """One weight hook for each distinct course. The peak is the hook's strength, the keyframes are relative to it."""
    groups: dict[tuple[Curve, int], list[_Piece]] = {}
    met: Counter[tuple[Curve, Target]] = Counter()
    for piece in pieces:
        if any(value for _, value in piece.curve):
            key = (piece.curve, piece.patch.target)
            groups.setdefault((piece.curve, met[key]), []).append(piece)  # a hook holds one patch for each slice
            met[key] += 1
    hooks = comfy.hooks.HookGroup()
    for (curve, _), members in groups.items():
        peak = max((value for _, value in curve), key=abs)
        hook = comfy.hooks.WeightHook(strength_model=peak, strength_clip=peak)
        hook.need_weight_init = False
        hook.weights = {piece.patch.target: piece.patch.value for piece in members if not piece.text_encoder}
        hook.weights_clip = {piece.patch.target: piece.patch.value for piece in members if piece.text_encoder}
        hook.hook_keyframe = _keyframes(curve, peak, unit)
        hooks.add(hook)
    return hooks


def _keyframes(curve: Curve, peak: float, unit: str) -> Any:
    steps = unit == STEP and len(curve) > 1
    group: Any = StepKeyframes() if steps else PercentKeyframes()
    for position, value in curve:
        strength = value / peak
        frame = StepKeyframe(strength, int(position)) if steps else comfy.hooks.HookKeyframe(strength, position, 0)
        group.add(frame)
    return group


# --- the report ---------------------------------------------------------------------------------------


def _layers(
    plans: list[PatchPlan], pieces: list[_Piece], schedule: Schedule, keys: ModelKeys, model: Any, clip: Any
) -> tuple[LayerReport, ...]:
    """Every layer once: as applied where any moment applies it, with its course as the reason."""
    curves = {piece.patch: piece.curve for piece in pieces}
    chosen: dict[Any, LayerReport] = {}
    for plan in plans:
        for planned, measured in zip(plan.layers, measure_plan(plan, keys, model, clip, quick=True), strict=True):
            key = (measured.lora_key, measured.model_key, measured.slice)
            known = chosen.get(key)
            if known is not None and (known.state is LayerState.APPLIED or measured.state is not LayerState.APPLIED):
                continue
            curve = curves.get(planned.patch, ()) if planned.patch is not None else ()
            if measured.state is LayerState.APPLIED and not any(value for _, value in curve):
                measured = replace(
                    measured, state=LayerState.SKIPPED, strength=0.0, reason="its strength is 0 all the time"
                )
            elif measured.state is LayerState.APPLIED:
                peak = max((value for _, value in curve), key=abs)
                course = "" if len(curve) == 1 else describe_curve(curve, schedule.unit)
                reason = "; ".join(part for part in (course, measured.reason) if part)
                measured = replace(measured, strength=peak, reason=reason)
            chosen[key] = measured
    return tuple(chosen.values())


def _judge(
    layers: tuple[LayerReport, ...], pieces: list[_Piece], hooks: Any, name: str
) -> tuple[Level, str, list[str]]:
    applied = {layer.lora_key for layer in layers if layer.state is LayerState.APPLIED}
    total = {layer.lora_key for layer in layers}
    lost = [x for x in layers if x.state not in (LayerState.APPLIED, LayerState.SKIPPED, LayerState.DEAD)]
    changing = sum(len(piece.curve) > 1 for piece in pieces)
    notes = [f"For example {layer.lora_key}: {layer.reason}." for layer in lost[:1]]
    if not total:
        return Level.ERROR, f"{name} contains no layer that this pack knows: the hooks change nothing.", notes
    if not applied and lost:
        return Level.ERROR, f"No layer of {name} fits this model: the hooks change nothing.", notes
    summary = f"{len(applied)} of {len(total)} layers in {count_text(len(hooks), 'hook')}; " + (
        f"{changing} change their strength while sampling." if changing else "their strength stays the same."
    )
    if lost:
        states = Counter(layer.state.value for layer in lost)
        summary += f" {len(lost)} do not fit ({', '.join(f'{count} {state}' for state, count in states.items())})."
        logging.warning("LoRA Patchbay: %s: %s", name, summary)
    return (Level.WARNING if lost else Level.OK), summary, notes

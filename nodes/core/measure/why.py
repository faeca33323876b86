"""Why is it slow? One sentence for each cause that the figures show, with what to try.

Texts are templates; the page has the same ones in other languages under ``why.<id>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .runs import Comparison, ConditionSummary, Sentence
from .stats import WARN_IQR

WORTH_A_WORD = 0.05
"""A share of a step below this is not worth a sentence."""

TEMPLATES = {
    "first_is_patching": "The first evaluation after a change takes {first} instead of {steady}: {lora} of the extra "
    "{extra} is LoRA arithmetic on {calls} weights. It is paid once after each change of LoRA or strength; a run "
    "without a change starts at full speed. Try bypass while searching for a strength.",
    "first_is_staging": "The first evaluation after a change takes {first} instead of {steady}: most of the extra "
    "{extra} is copying weights to the device (LoRA arithmetic: {lora}). ComfyUI's own loaders copy the whole "
    "model after any change of patches, Apply LoRA (Patchbay) what changed. It is paid once; change strengths less "
    "often, or several at once.",
    "first_is_warm_up": "The first evaluation takes {first} instead of {steady} although no weight is patched: "
    "weights are copied and kernels are chosen. It is paid once after loading.",
    "first_is_compiling": "The first evaluation takes {first} instead of {steady}: torch.compile builds the model for "
    "this shape. Keep the resolution and the patches unchanged to reuse it.",
    "loading": "Loading before the first evaluation takes {prepare} after a change ({calls} weights were patched, "
    "{lora}). A run without a change skips it.",
    "streaming": "{streamed} of weights are copied to the device in every evaluation, because {resident} of {total} "
    "stay there. Try a smaller format of the model (fp8, GGUF), a smaller picture, or closing other programs on the "
    "device.",
    "patching_every_step": "LoRA arithmetic runs again in every evaluation ({later} in one run), because patched "
    "weights do not stay on the device. Try a smaller format of the model, or bypass.",
    "streaming_unknown": "{streamed} of weights are copied to the device in every evaluation, of {total} in all. Try a "
    "smaller format of the model (fp8, GGUF), a smaller picture, or closing other programs on the device.",
    "bypass": "The LoRA is computed alongside the weights of {layers} layers (bypass), which costs time in every "
    "evaluation. Merging costs nothing in a steady evaluation.",
    "bypass_against": "The LoRA is computed alongside the weights of {layers} layers (bypass), which costs {share} in "
    "every evaluation compared with {against}. Merging costs nothing in a steady evaluation.",
    "quantised_off": "{slow} of {layers} quantised layers cannot use their fast product, because the LoRA is applied "
    "to their weights in every evaluation. Try bypass, or dynamic VRAM.",
    "between": "{gap} passes between two evaluations, {share} of a step: the sampler's own arithmetic, or waiting.",
    "between_previews": "{gap} passes between two evaluations, {share} of a step: previews ({preview}) are decoded "
    "there. Turn them off to compare.",
    "cfg": "Each evaluation computes {each} predictions, because CFG is {cfg}. At CFG 1 it would be one, but only a "
    "distilled model is made for that.",
    "cfg_unknown": "Each evaluation computes {each} predictions. A distilled model at CFG 1 needs one.",
    "sampler": "{sampler} evaluates the model {evaluations} times in {steps} steps.",
    "noisy": "Evaluations spread by {iqr} of their median: something else uses the device, or it is throttled. Take "
    "the times as rough.",
    "nothing": "Nothing here is slow for a reason that these figures show: the steady evaluation is the model's own.",
}


def explain(conditions: Sequence[ConditionSummary], comparisons: Sequence[Comparison] = ()) -> tuple[Sentence, ...]:
    """The sentences for all conditions, those of each in the order of :data:`TEMPLATES`."""
    by_label = {comparison.b: comparison for comparison in comparisons}
    found: list[Sentence] = []
    for condition in conditions:
        own = [sentence for rule in _RULES for sentence in rule(condition, by_label.get(condition.label))]
        found += own or [_say("nothing", condition)]
    return tuple(found)


def _say(name: str, condition: ConditionSummary, **values: str) -> Sentence:
    return Sentence(name, condition.label, TEMPLATES[name].format(**values), values)


def _first(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    steady, first, extra = condition.steady_ms, condition.first_ms.value, condition.extra_ms.value
    if (
        steady is None
        or first is None
        or extra is None
        or extra < max(0.5 * steady.median, 3 * (steady.q3 - steady.q1))
    ):
        return
    lora = condition.lora
    values = {"first": duration(first), "steady": duration(steady.median), "extra": duration(extra)}
    if condition.facts.compiled:
        yield _say("first_is_compiling", condition, first=values["first"], steady=values["steady"])
    elif not condition.facts.patches:
        yield _say("first_is_warm_up", condition, first=values["first"], steady=values["steady"])
    elif lora.first_ms > 0.5 * extra:
        yield _say("first_is_patching", condition, **values, lora=duration(lora.first_ms), calls=str(lora.first_calls))
    else:
        yield _say("first_is_staging", condition, **values, lora=duration(lora.first_ms))


def _loading(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    steady, prepare = condition.steady_ms, condition.prepare_s.value
    if steady is None or prepare is None or prepare * 1000 < steady.median:
        return
    lora = condition.lora
    yield _say(
        "loading",
        condition,
        prepare=duration(prepare * 1000),
        calls=str(lora.prepare_calls),
        lora=duration(lora.prepare_ms),
    )


def _streaming(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    streamed, memory = condition.streamed_bytes.value, condition.memory
    if not streamed or memory.weights_total.value is None:
        return
    resident = memory.weights_resident.value
    values = {"streamed": amount(streamed), "total": amount(memory.weights_total.value)}
    if resident is None:
        yield _say("streaming_unknown", condition, **values)
    else:
        yield _say("streaming", condition, **values, resident=amount(resident))


def _patching(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    if condition.lora.later_calls:
        yield _say("patching_every_step", condition, later=duration(condition.lora.later_ms))


def _bypass(condition: ConditionSummary, comparison: Comparison | None) -> Iterator[Sentence]:
    if not condition.facts.bypass_layers:
        return
    layers = str(condition.facts.bypass_layers)
    ratio = comparison.steady.value if comparison is not None else None
    if comparison is not None and ratio is not None and ratio > 1:
        share = f"{(ratio - 1) * 100:.0f} %"
        yield _say("bypass_against", condition, layers=layers, share=share, against=comparison.a)
    else:
        yield _say("bypass", condition, layers=layers)


def _quantised(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    facts = condition.facts
    if facts.slowed_quantised_layers:
        yield _say(
            "quantised_off", condition, slow=str(facts.slowed_quantised_layers), layers=str(facts.quantised_layers)
        )


def _between(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    gap, steady = condition.gap_ms.value, condition.steady_ms
    if gap is None or steady is None or gap < WORTH_A_WORD * (steady.median + gap):
        return
    values = {"gap": duration(gap), "share": f"{gap / (steady.median + gap):.0%}"}
    if condition.facts.preview:
        yield _say("between_previews", condition, **values, preview=condition.facts.preview)
    else:
        yield _say("between", condition, **values)


def _cfg(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    if condition.evaluations and condition.predictions > condition.evaluations:
        each = condition.predictions / condition.evaluations
        cfg = condition.facts.cfg
        if cfg is None:
            yield _say("cfg_unknown", condition, each=f"{each:.3g}")
        else:
            yield _say("cfg", condition, each=f"{each:.3g}", cfg=f"{cfg:g}")


def _sampler(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    if condition.evaluations > condition.steps > 0:
        yield _say(
            "sampler",
            condition,
            sampler=condition.facts.sampler or "sampler",
            evaluations=str(condition.evaluations),
            steps=str(condition.steps),
        )


def _noisy(condition: ConditionSummary, _: Comparison | None) -> Iterator[Sentence]:
    if condition.steady_ms is not None and condition.steady_ms.relative_iqr > WARN_IQR:
        yield _say("noisy", condition, iqr=f"{condition.steady_ms.relative_iqr:.0%}")


_Rule = Callable[[ConditionSummary, "Comparison | None"], Iterator[Sentence]]
_RULES: tuple[_Rule, ...] = (
    _first,
    _loading,
    _streaming,
    _patching,
    _bypass,
    _quantised,
    _between,
    _cfg,
    _sampler,
    _noisy,
)


def duration(milliseconds: float) -> str:
    """``0.42 ms``, ``87.1 ms``, ``7.96 s``."""
    if abs(milliseconds) < 1000:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.3g} s" if abs(milliseconds) < 100_000 else f"{milliseconds / 1000:.0f} s"


def amount(size_bytes: float) -> str:
    """``512 MiB``, ``7.75 GiB``; binary units, as ComfyUI and the drivers count memory."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"

"""Merge or bypass: which of the two costs less for this model, this way of loading and this number of steps.

Both costs grow with bytes of weights, so that their ratio is a number of steps: with fewer, running beside the weights
is cheaper than staging them again, with more the merge pays off. What has to be staged depends on what is loaded: only
weights whose patches differ from the loaded ones, and a merged LoRA has to leave the weights before it can run beside
them.
"""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("auto", "merge", "bypass", "cheapest")
"""As the nodes offer them, the default first. ``auto`` is right first, ``cheapest`` compares costs (below)."""

STAGE_MS_PER_GB = {"legacy": 155.0, "dynamic": 15.4}
"""What a GB of weights with another merge adds to the next run. Measured on one H200 with FLUX.2 Klein 4B and 9B shapes
in bf16, rank 32 (``tests/gpu/results/lora_table.json``, which a test compares them with): strength 1 to 0.5 less the
warm run, 18.8 and 12.8 ms/GB with dynamic VRAM, 165 and 145 with legacy loading."""

BYPASS_MS_PER_GB = 0.56
"""What running beside a GB of weights adds to one step at 1024 x 1024 pixels, from the same table: 0.85 and 0.37 ms."""

ASSUMED_STEPS = 20
"""Where the workflow does not say: the default of ComfyUI's sampler nodes."""

MOST_NOISE = 1.0
"""Rounding noise, as a share of the change, above which a merge into quantised weights is advised against."""
LEAST_KEPT = 0.8
"""Share of the change that has to arrive in quantised weights."""


@dataclass(frozen=True)
class Situation:
    """What the choice depends on."""

    mode: str
    """``legacy``, ``dynamic`` or ``cpu``."""
    steps: int | None
    """Sampling steps as far as the workflow says."""
    patched_bytes: int
    """Of the weights that the LoRA changes."""
    beside: int
    """Patches that can run beside their weight."""
    merged: int
    """Patches that cannot."""
    whole_bytes: int = 0
    """What whole deltas would take beside the weights."""
    patched_each_time: bool = False
    """The weights are of a kind (GGUF) that is patched anew whenever it is used."""
    kept: float | None = None
    """Share of the change that arrives in quantised weights; ``None`` where nothing is quantised or was measured."""
    noise: float | None = None
    """Rounding noise of quantising again, as a share of the change."""
    stage_bytes: int | None = None
    """Of the weights that a merge would have to stage anew; ``None``: not known, all that the LoRA changes."""
    unstage_bytes: int = 0
    """Of the weights in which another merge is loaded that would have to go before the LoRA can run beside them."""


@dataclass(frozen=True)
class MethodChoice:
    """The method and, in a sentence, why."""

    method: str
    reason: str


def lossy(kept: float | None, noise: float | None) -> bool:
    """Whether a merge into quantised weights loses what matters of the change."""
    return (noise is not None and noise > MOST_NOISE) or (kept is not None and kept < LEAST_KEPT)


def choose_method(situation: Situation) -> MethodChoice:
    """The cheaper method that does not lose the change."""
    if not situation.beside:
        return MethodChoice("merge", "nothing in this file can run beside its weight")
    if lossy(situation.kept, situation.noise):
        return MethodChoice("bypass", "the model is quantised, and merging would round much of the change away")
    if situation.patched_each_time:
        return MethodChoice(
            "bypass", "these weights are patched again each time they are used, which costs every step more"
        )
    if situation.merged > situation.beside:
        return MethodChoice("merge", f"{situation.merged} of its layers cannot run beside their weights anyway")
    if situation.whole_bytes * 4 > situation.patched_bytes:
        size = situation.whole_bytes / 2**20
        return MethodChoice(
            "merge", f"its changes have no small factors and would take {size:.0f} MiB beside the model"
        )
    if situation.mode == "cpu":  # tests/bench/method_bench.py: equal at one step, from two on a merge is cheaper
        return MethodChoice("merge", "on the CPU a merge costs less than what every step beside the weights would")
    return _cheaper(situation)


def _cheaper(situation: Situation) -> MethodChoice:
    """The method of which a run after a change costs less."""
    steps = ASSUMED_STEPS if situation.steps is None else situation.steps
    told = f"{steps} steps" if situation.steps is not None else f"{steps} steps (assumed, the workflow does not say)"
    size = (situation.patched_bytes if situation.stage_bytes is None else situation.stage_bytes) / 1e9
    per_gb = STAGE_MS_PER_GB[situation.mode]
    stage, unstage = per_gb * size, per_gb * situation.unstage_bytes / 1e9
    beside = BYPASS_MS_PER_GB * situation.patched_bytes / 1e9 * steps
    if not stage:
        return MethodChoice("merge", "these weights are loaded as they are")
    where = {"legacy": "ComfyUI's legacy loading", "dynamic": "dynamic VRAM"}[situation.mode]
    before = f" (taking out the merge that is loaded first: {_milliseconds(unstage)})" if unstage else ""
    costs = (
        f"after a change {told} beside the weights cost {_milliseconds(beside)} more{before}, and staging {size:.1f} "
        f"GB of weights again with {where} {_milliseconds(stage)} (as on an H200 at 1024 x 1024)"
    )
    return MethodChoice("bypass" if beside + unstage < stage else "merge", costs)


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 1 else "under 1 ms"

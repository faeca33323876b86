"""Verdicts: is B slower than A, and is its result any different from running A twice?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .runs import OutputDifference, Ratio, Spread
from .stats import REFUSE_IQR

TIMES_FLOOR = 3.0
"""A difference counts only above this many times the difference of two equal runs."""


SETTLED = 0.05
"""An interval that includes "no difference" settles something only if it excludes differences above this share."""


def speed_verdict(
    ratio: Ratio, a: Spread | None, b: Spread | None, label_b: str, floor: float | None = None
) -> tuple[str, str]:
    """The verdict on the steady pace of B against A, as a word and as a sentence.

    Args:
        floor: How far the pace of two runs of *one* condition is apart, as a share; a difference of two conditions
            below it is none, however narrow its interval is.
    """
    if a is None or b is None or ratio.value is None:
        return "unknown", "No verdict on speed: a steady evaluation needs at least two evaluations in a run."
    noisy = max(a.relative_iqr, b.relative_iqr)
    if noisy > REFUSE_IQR:
        return "noisy", f"No verdict on speed: evaluations of one condition spread by {noisy:.0%} of their median."
    change = change_text(ratio.value)
    if ratio.low is None or ratio.high is None:
        return "one_pair", f"A steady evaluation takes {change}; one pair of runs gives no interval."
    bounds = f"95 % interval {percent(ratio.low)} to {percent(ratio.high)}"
    if ratio.low <= 1.0 <= ratio.high:
        most = max(abs(1 - ratio.low), abs(ratio.high - 1))
        if most > SETTLED:
            return (
                "unsettled",
                f'Not settled: a steady evaluation with "{label_b}" takes {change} ({bounds}). Run longer.',
            )
        found = f'No difference in the steady pace of "{label_b}" was found'
        return "same", f"{found}; one of more than {most:.1%} is unlikely."
    if floor is not None and abs(ratio.value - 1) <= floor:
        found = f'No difference in the steady pace of "{label_b}" was found: {percent(ratio.value)} is no more than two'
        return "same", f"{found} runs of one model differ here ({floor:.1%})."
    word = "slower" if ratio.value > 1 else "faster"
    return word, f'A steady evaluation with "{label_b}" takes {change} ({bounds}).'


def change_text(ratio: float) -> str:
    """``12.3 % longer``, ``4.0 % less time``."""
    return f"{(ratio - 1) * 100:.1f} % longer" if ratio >= 1 else f"{(1 - ratio) * 100:.1f} % less time"


def percent(ratio: float) -> str:
    """``+12.3 %``."""
    return f"{(ratio - 1) * 100:+.1f} %"


def mean_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean absolute difference in float64 of two tensors of one shape."""
    return float((a.double() - b.double()).abs().mean())


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """``|a - b| / |a|`` (Frobenius), 0 for two zeros."""
    norm = float(a.double().norm())
    distance = float((a.double() - b.double()).norm())
    return distance / norm if norm else distance


def noise_floor(*groups: Sequence[torch.Tensor]) -> float | None:
    """Largest mean absolute difference between two tensors of one group; ``None`` where no group has two."""
    found = [mean_difference(group[i], group[j]) for group in groups for i in range(len(group)) for j in range(i)]
    return max(found) if found else None


def compare_outputs(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], what: str = "latents") -> OutputDifference:
    """The verdict on two lists of results, one tensor a run.

    The difference is the mean over all pairs of one run of A and one of B; the floor is the largest difference between
    two runs of one condition.
    """
    if not a or not b or a[0].shape != b[0].shape:
        return OutputDifference("unknown", f"The {what} of the two conditions do not have the same shape.")
    pairs = [(x, y) for x in a for y in b]
    mae = sum(mean_difference(x, y) for x, y in pairs) / len(pairs)
    floor = noise_floor(a, b)
    return judge_difference(mae, floor, relative_difference(a[-1], b[-1]), what)


def judge_difference(mae: float, floor: float | None, relative: float, what: str = "latents") -> OutputDifference:
    """The verdict on a difference and the floor that it is held against."""
    if mae != mae or relative != relative:
        return OutputDifference("unknown", f"The {what} hold values that are not numbers.")
    if mae == 0 and not floor:
        return OutputDifference("identical", f"The {what} are bit for bit the same.", mae, floor, relative)
    if floor is None:
        text = f"The {what} differ (relative {relative:.2g}), but nothing was run twice: there is no floor."
        return OutputDifference("unknown", text, mae, None, relative)
    if mae <= TIMES_FLOOR * floor:
        text = f"The {what} are not distinguishable from run-to-run noise (difference {mae:.2g}, floor {floor:.2g})."
        return OutputDifference("noise", text, mae, floor, relative)
    against = f"{mae / floor:.0f} times the run-to-run floor" if floor else "equal runs repeat bit for bit"
    text = f"The {what} differ by {relative:.1%} of their size; {against}."
    return OutputDifference("different", text, mae, floor, relative)

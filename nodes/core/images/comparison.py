"""Two batches of pictures compared pair by pair, as a report and as text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import PatchbayError
from ..prompts.used_loras import UsedLora, used_text
from ..report.report import Level
from .metrics import SSIM_WINDOW, PictureMetrics, compare_pictures, refuse_non_finite


@dataclass(frozen=True)
class ComparePair:
    """One pair of a comparison."""

    index_a: int
    """0-based position in the first batch."""
    index_b: int
    width: int
    height: int
    metrics: PictureMetrics


@dataclass(frozen=True)
class CompareReport:
    """The result of comparing two batches; :func:`.report.to_json` turns it into JSON like any other
    report."""

    kind: str
    """Always ``compare``."""
    title: str
    summary: str
    label_a: str
    label_b: str
    gain: float
    """What differences are multiplied with in the difference picture."""
    pairs: tuple[ComparePair, ...]
    level: Level = Level.OK
    notes: tuple[str, ...] = ()
    loras_a: tuple[UsedLora, ...] = ()
    """The LoRAs on the way to the first batch; empty also where nothing is known of it."""
    loras_b: tuple[UsedLora, ...] = ()


def pair_batches(image_a: torch.Tensor, image_b: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """Which picture of one batch is compared with which of the other.

    Args:
        image_a: [batch, height, width, channels] in 0..1.
        image_b: The same size; the same batch length, or one of the two has length 1.

    Raises:
        PatchbayError: sizes, channels or lengths do not go together. Nothing is ever rescaled.
    """
    for name, image in (("image_a", image_a), ("image_b", image_b)):
        if image.ndim != 4 or min(image.shape) < 1:
            raise PatchbayError(f"{name}: expected pictures [batch, height, width, channels], got {list(image.shape)}.")
        if image.shape[-1] not in (1, 3, 4):
            raise PatchbayError(f"{name}: expected 1, 3 or 4 channels, got {image.shape[-1]}.")
    if image_a.shape[1:3] != image_b.shape[1:3]:
        raise PatchbayError(
            f"image_a is {_size(image_a)}, image_b is {_size(image_b)}; only pictures of one size can be "
            "compared "
            "pixel by pixel. Scale or crop one of them first."
        )
    if image_a.shape[-1] != image_b.shape[-1]:
        raise PatchbayError(
            f"image_a has {image_a.shape[-1]} channels, image_b has {image_b.shape[-1]}; remove or add the "
            "alpha "
            "channel of one of them first."
        )
    count_a, count_b = len(image_a), len(image_b)
    if count_a != count_b and 1 not in (count_a, count_b):
        raise PatchbayError(
            f"image_a holds {count_a} pictures, image_b holds {count_b}; expected the same number, or 1 in one of them."
        )
    return tuple((0 if count_a == 1 else i, 0 if count_b == 1 else i) for i in range(max(count_a, count_b)))


def build_compare_report(
    image_a: torch.Tensor,
    image_b: torch.Tensor,
    label_a: str,
    label_b: str,
    gain: float,
    loras: tuple[tuple[UsedLora, ...], tuple[UsedLora, ...]] = ((), ()),
) -> CompareReport:
    """Compare two batches pair by pair.

    Args:
        loras: What was used for the first batch, and what for the second.

    Raises:
        PatchbayError: the batches do not go together (see :func:`pair_batches`), or a value is NaN or
        infinite.
    """
    indices = pair_batches(image_a, image_b)
    for name, image in (("image_a", image_a), ("image_b", image_b)):
        refuse_non_finite(image, name)
    height, width = image_a.shape[1:3]
    pairs = tuple(
        ComparePair(a, b, int(width), int(height), compare_pictures(image_a[a], image_b[b])) for a, b in indices
    )
    return CompareReport(
        kind="compare",
        title=f"{label_a} / {label_b}",
        summary=_summary(pairs, label_a, label_b),
        label_a=label_a,
        label_b=label_b,
        gain=float(gain),
        pairs=pairs,
        notes=_notes(image_a, image_b, pairs),
        loras_a=loras[0],
        loras_b=loras[1],
    )


def compare_text(report: CompareReport) -> str:
    """The report as lines for people: what was compared, then one line a pair."""
    lines = [report.summary]
    for number, pair in enumerate(report.pairs, start=1):
        head = f"pair {number}: " if len(report.pairs) > 1 else ""
        lines.append(
            f"{head}{report.label_a} / {report.label_b}, {pair.width} x {pair.height}: {metrics_text(pair.metrics)}"
        )
    for label, loras in ((report.label_a, report.loras_a), (report.label_b, report.loras_b)):
        if loras:
            lines.append(f"{label}: {used_text(loras)}")
    lines.append(f"Difference picture: |a - b| x {report.gain:g}, the same scale for every picture.")
    return "\n".join([*lines, *report.notes])


def metrics_text(metrics: PictureMetrics) -> str:
    """The figures on one line: ``MAE 0.0312, PSNR 24.10 dB, SSIM 0.9123``."""
    if metrics.identical:
        return "identical (MAE 0, SSIM 1)"
    psnr = "" if metrics.psnr is None else f"PSNR {metrics.psnr:.2f} dB, "
    ssim = f"{metrics.ssim:.4f}"
    return f"MAE {metrics.mae:.3g}, {psnr}SSIM {'> 0.9999' if ssim == '1.0000' else ssim}"


def _summary(pairs: tuple[ComparePair, ...], label_a: str, label_b: str) -> str:
    same = sum(pair.metrics.identical for pair in pairs)
    if len(pairs) == 1:
        if same:
            return f'"{label_a}" and "{label_b}" are identical in every value.'
        return f'"{label_a}" and "{label_b}" differ: {metrics_text(pairs[0].metrics)}.'
    if same == len(pairs):
        return f'"{label_a}" and "{label_b}" are identical in every value of all {same} pairs.'
    mae = math.fsum(pair.metrics.mae for pair in pairs) / len(pairs)
    ssim = math.fsum(pair.metrics.ssim for pair in pairs) / len(pairs)
    identical = f", {same} of them identical" if same else ""
    figures = f"mean MAE {mae:.3g}, mean SSIM {ssim:.4f}"
    return f'"{label_a}" and "{label_b}": {len(pairs)} pairs{identical}, {figures}.'


def _notes(image_a: torch.Tensor, image_b: torch.Tensor, pairs: tuple[ComparePair, ...]) -> tuple[str, ...]:
    notes = []
    for name, image in (("image_a", image_a), ("image_b", image_b)):
        if float(image.min()) < 0.0 or float(image.max()) > 1.0:
            notes.append(f"{name} has values outside 0..1; they were clipped first, as saving a picture does.")
    window = pairs[0].metrics.ssim_window
    if window < SSIM_WINDOW:
        notes.append(
            f"SSIM used a window of {window} x {window} pixels instead of {SSIM_WINDOW} x {SSIM_WINDOW}, "
            "because the "
            "pictures are smaller than that; do not compare it with the SSIM of larger pictures."
        )
    return tuple(notes)


def _size(image: torch.Tensor) -> str:
    return f"{image.shape[2]} x {image.shape[1]}"

"""How far two pictures are apart: MAE, PSNR and SSIM, and the difference on a scale that never adapts.

All figures use the values 0..1 that pictures have in ComfyUI (data range 1) and are computed in float64. The
difference picture multiplies by one stated number for every picture: a scale that follows each picture's own
largest difference would make noise look like a change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import PatchbayError
from ..prompts.used_loras import UsedLora, used_text
from ..report.report import Level

SSIM_WINDOW = 11
"""Side of the Gaussian window of SSIM, in pixels."""
SSIM_SIGMA = 1.5
SSIM_K1 = 0.01
SSIM_K2 = 0.03


@dataclass(frozen=True)
class PictureMetrics:
    """The figures of one pair of pictures."""

    mae: float
    """Mean absolute error over all pixels and channels, in 0..1."""
    mse: float
    """Mean squared error, in 0..1."""
    psnr: float | None
    """Peak signal to noise ratio in dB for data range 1; ``None`` where the pictures are identical (it is
    infinite)."""
    ssim: float
    """Structural similarity, 1 for identical pictures."""
    ssim_window: int
    """Side of the window that SSIM used: 11, or less where the picture is smaller than that."""
    max_difference: float
    """Largest absolute error of any value."""
    identical: bool
    """Whether every value is the same."""


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


def compare_pictures(picture_a: torch.Tensor, picture_b: torch.Tensor) -> PictureMetrics:
    """All figures for two pictures [height, width, channels] of one shape, values clipped to 0..1.

    Raises:
        PatchbayError: the shapes differ, or a value is NaN or infinite.
    """
    if picture_a.shape != picture_b.shape or picture_a.ndim != 3:
        raise PatchbayError(
            f"expected two pictures [height, width, channels] of one shape, got {list(picture_a.shape)} "
            f"and {list(picture_b.shape)}."
        )
    a, b = _exact(picture_a, "the first picture"), _exact(picture_b, "the second picture")
    difference = (a - b).abs()
    mse = float(difference.square().mean())
    identical = bool(torch.equal(a, b))
    window = _window_size(a.shape[0], a.shape[1])
    return PictureMetrics(
        mae=float(difference.mean()),
        mse=mse,
        psnr=_psnr(mse),
        ssim=1.0 if identical else _ssim(a, b, window),
        ssim_window=window,
        max_difference=float(difference.max()),
        identical=identical,
    )


def difference_picture(image_a: torch.Tensor, image_b: torch.Tensor, gain: float) -> torch.Tensor:
    """``|a - b| * gain``, clipped to 0..1, as RGB float32 of the same height and width.

    The scale is the same for every picture: at gain 4 a difference of 0.25 (64 of 255) or more is white. A
    difference of the alpha channel counts for all three colours.

    Args:
        image_a: [height, width, channels] or [batch, height, width, channels] with 1, 3 or 4 channels.
        image_b: The same shape, or one that broadcasts to it.
        gain: Positive; 1 shows the difference as it is.
    """
    difference = (_clipped(image_a) - _clipped(image_b)).abs()
    if difference.shape[-1] == 1:
        difference = difference.expand(*difference.shape[:-1], 3)
    elif difference.shape[-1] == 4:
        difference = torch.maximum(difference[..., :3], difference[..., 3:])
    return (difference * gain).clamp(0.0, 1.0)


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
        _refuse_non_finite(image, name)
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


def _refuse_non_finite(image: torch.Tensor, name: str) -> None:
    broken = int((~torch.isfinite(image)).sum())
    if broken:
        raise PatchbayError(
            f"{name}: {broken} of {image.numel()} values are not numbers (NaN or infinite), so there is "
            "nothing to "
            "measure. A strength that is too high or a half-precision overflow does this."
        )


def _clipped(image: torch.Tensor) -> torch.Tensor:
    return image.detach().to("cpu", torch.float32).clamp(0.0, 1.0)


def _exact(picture: torch.Tensor, name: str) -> torch.Tensor:
    _refuse_non_finite(picture, name)
    return picture.detach().to("cpu", torch.float64).clamp(0.0, 1.0)


def _psnr(mse: float) -> float | None:
    return None if mse == 0.0 else -10.0 * math.log10(mse)


def _window_size(height: int, width: int) -> int:
    """11, or the largest odd number of pixels that fits into the picture."""
    side = min(SSIM_WINDOW, height, width)
    return side if side % 2 else side - 1


def _ssim(a: torch.Tensor, b: torch.Tensor, window: int) -> float:
    """Mean SSIM over channels and over all places where the window lies inside the picture (float64 inputs).

    Source: Wang, Bovik, Sheikh, Simoncelli 2004, Gaussian window, population variances.
    """
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    taps = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    taps = (taps / taps.sum()).tolist()
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    means = []
    for channel in range(a.shape[-1]):
        x, y = a[..., channel].contiguous(), b[..., channel].contiguous()
        mean_x, mean_y = _blur(x, taps), _blur(y, taps)
        variance_x = _blur(x * x, taps) - mean_x * mean_x
        variance_y = _blur(y * y, taps) - mean_y * mean_y
        covariance = _blur(x * y, taps) - mean_x * mean_y
        upper = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        lower = (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
        means.append(float((upper / lower).mean()))
    return math.fsum(means) / len(means)


def _blur(plane: torch.Tensor, taps: list[float]) -> torch.Tensor:
    """Separable filter of a [height, width] plane, only where all taps lie inside it."""
    rows = plane.shape[0] - len(taps) + 1
    columns = plane.shape[1] - len(taps) + 1
    down = plane[:rows] * taps[0]
    for i in range(1, len(taps)):
        down.add_(plane[i : i + rows], alpha=taps[i])
    across = down[:, :columns] * taps[0]
    for i in range(1, len(taps)):
        across.add_(down[:, i : i + columns], alpha=taps[i])
    return across

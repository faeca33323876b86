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


def refuse_non_finite(image: torch.Tensor, name: str) -> None:
    """
    Raises:
        PatchbayError: a value of the picture is NaN or infinite.
    """
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
    refuse_non_finite(picture, name)
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

"""The picture metrics against scikit-image and plain NumPy, the difference picture and the panels."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.images.comparison import build_compare_report, compare_text, metrics_text, pair_batches
from pack.nodes.core.images.lettering import fit_text
from pack.nodes.core.images.metrics import compare_pictures, difference_picture
from pack.nodes.core.images.panels import from_pillow, side_by_side, to_pillow
from pack.nodes.core.report.report import to_json
from PIL import ImageFont


def random_pair(height=40, width=56, channels=3, noise=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(height, width, channels, generator=generator)
    b = (a + noise * torch.randn(height, width, channels, generator=generator)).clamp(0, 1)
    return a, b


def numpy_ssim(a, b, window):
    """SSIM by the formula, one window at a time, in float64."""
    offsets = np.arange(window) - window // 2
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    values = []
    for c in range(a.shape[2]):
        for top in range(a.shape[0] - window + 1):
            for left in range(a.shape[1] - window + 1):
                x = a[top : top + window, left : left + window, c]
                y = b[top : top + window, left : left + window, c]
                mx, my = (kernel * x).sum(), (kernel * y).sum()
                vx, vy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
                cov = (kernel * (x - mx) * (y - my)).sum()
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("noise", [0.001, 0.1, 0.8])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_figures_are_those_of_scikit_image(noise, channels):
    reference = pytest.importorskip("skimage.metrics")
    a, b = random_pair(channels=channels, noise=noise)
    x, y = a.double().numpy(), b.double().numpy()
    metrics = compare_pictures(a, b)
    assert metrics.mse == pytest.approx(reference.mean_squared_error(x, y), rel=1e-12)
    assert metrics.psnr == pytest.approx(reference.peak_signal_noise_ratio(x, y, data_range=1), rel=1e-12)
    expected = reference.structural_similarity(
        x, y, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim == pytest.approx(expected, abs=1e-9)
    assert metrics.ssim_window == 11


@pytest.mark.parametrize("size", [(16, 13), (11, 11), (8, 30), (5, 5), (2, 9), (1, 1)])
def test_figures_are_those_of_float64_numpy(size):
    a, b = random_pair(*size)
    x, y = a.double().numpy(), b.double().numpy()
    metrics = compare_pictures(a, b)
    window = min(11, *size) if min(11, *size) % 2 else min(11, *size) - 1
    assert metrics.ssim_window == window
    assert metrics.mae == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
    assert metrics.mse == pytest.approx(((x - y) ** 2).mean(), rel=1e-12)
    assert metrics.psnr == pytest.approx(10 * math.log10(1 / ((x - y) ** 2).mean()), rel=1e-12)
    assert metrics.max_difference == np.abs(x - y).max()
    assert metrics.ssim == pytest.approx(numpy_ssim(x, y, window), abs=1e-10)


def test_flat_pictures_have_the_ssim_of_the_formula():
    a, b = torch.full((20, 20, 3), 0.25), torch.full((20, 20, 3), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert compare_pictures(a, b).ssim == pytest.approx(expected, abs=1e-12)


def test_identical_pictures_have_no_psnr():
    a, _ = random_pair()
    metrics = compare_pictures(a, a.clone())
    assert metrics.identical
    assert (metrics.mae, metrics.mse, metrics.psnr, metrics.ssim) == (0.0, 0.0, None, 1.0)


def test_one_changed_bit_is_not_identical():
    a, _ = random_pair()
    b = a.clone()
    b[3, 4, 1] = torch.nextafter(b[3, 4, 1], torch.tensor(2.0))
    metrics = compare_pictures(a, b)
    assert not metrics.identical
    assert metrics.psnr is not None
    assert "> 0.9999" in metrics_text(metrics)


def test_half_precision_pictures_are_measured_in_float64():
    a, b = random_pair()
    metrics = compare_pictures(a.half(), b.half())
    assert metrics.mae == pytest.approx(float((a.half().double() - b.half().double()).abs().mean()), rel=1e-12)


def test_difference_picture_has_a_fixed_scale():
    a, b = torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3)
    b[0, 0, 0] = 0.1
    b[0, 0, 1] = 0.5
    shown = difference_picture(a, b, 4.0)
    assert shown.dtype == torch.float32
    torch.testing.assert_close(shown[0, 0, 0], torch.full((3,), 0.4))
    assert shown[0, 0, 1].tolist() == [1.0, 1.0, 1.0]
    assert shown[0, 1].abs().sum() == 0
    torch.testing.assert_close(difference_picture(a, b / 10, 4.0)[0, 0, 0], torch.full((3,), 0.04))


def test_difference_picture_is_rgb_for_one_and_four_channels():
    grey = difference_picture(torch.zeros(3, 2, 1), torch.ones(3, 2, 1), 0.5)
    assert grey.shape == (3, 2, 3)
    a, b = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    b[..., 3] = 0.2
    b[..., 0] = 0.3
    torch.testing.assert_close(difference_picture(a, b, 1.0)[0, 0], torch.tensor([0.3, 0.2, 0.2]))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1, 1), ((0, 0),)),
        ((2, 2), ((0, 0), (1, 1))),
        ((1, 3), ((0, 0), (0, 1), (0, 2))),
        ((2, 1), ((0, 0), (1, 0))),
    ],
)
def test_batches_are_paired(counts, expected):
    assert pair_batches(torch.zeros(counts[0], 4, 4, 3), torch.zeros(counts[1], 4, 4, 3)) == expected


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "message"),
    [
        ((1, 4, 6, 3), (1, 8, 8, 3), "image_a is 6 x 4, image_b is 8 x 8; only pictures of one size"),
        ((2, 4, 4, 3), (3, 4, 4, 3), "image_a holds 2 pictures, image_b holds 3"),
        ((1, 4, 4, 3), (1, 4, 4, 4), "image_a has 3 channels, image_b has 4"),
        ((1, 4, 4, 2), (1, 4, 4, 2), "image_a: expected 1, 3 or 4 channels, got 2"),
        ((4, 4, 3), (4, 4, 3), r"image_a: expected pictures \[batch, height, width, channels\]"),
        ((0, 4, 4, 3), (1, 4, 4, 3), "image_a: expected pictures"),
    ],
)
def test_pictures_that_do_not_go_together_are_refused(shape_a, shape_b, message):
    with pytest.raises(PatchbayError, match=message):
        pair_batches(torch.zeros(shape_a), torch.zeros(shape_b))


def test_values_that_are_not_numbers_are_refused():
    a, b = torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4, 3)
    b[0, 0, 0, 0] = math.nan
    b[0, 0, 0, 1] = math.inf
    with pytest.raises(PatchbayError, match=r"image_b: 2 of 48 values are not numbers"):
        build_compare_report(a, b, "a", "b", 4.0)


def test_report_of_one_pair():
    a, b = random_pair(32, 48)
    report = build_compare_report(a[None], b[None], "without LoRA", "with LoRA", 4.0)
    data = json.loads(json.dumps(to_json(report), allow_nan=False))
    assert (data["schema"], data["kind"], data["level"]) == ("patchbay.report", "compare", "ok")
    assert data["title"] == "without LoRA / with LoRA"
    assert (data["pairs"][0]["width"], data["pairs"][0]["height"]) == (48, 32)
    assert data["pairs"][0]["metrics"]["mae"] == report.pairs[0].metrics.mae
    text = compare_text(report)
    assert "without LoRA / with LoRA, 48 x 32: MAE " in text
    assert "PSNR" in text
    assert "x 4, the same scale" in text


def test_report_of_a_batch_names_the_identical_pairs():
    a, b = random_pair()
    report = build_compare_report(torch.stack([a, a]), torch.stack([a, b]), "one", "two", 1.0)
    assert "2 pairs, 1 of them identical" in report.summary
    assert "pair 1: one / two" in compare_text(report)
    same = build_compare_report(torch.stack([a, a]), a[None], "one", "two", 1.0)
    assert same.summary == '"one" and "two" are identical in every value of all 2 pairs.'


def test_report_says_what_was_clipped_and_that_a_window_was_small():
    a = torch.full((1, 8, 8, 3), 1.5)
    report = build_compare_report(a, torch.ones(1, 8, 8, 3), "one", "two", 1.0)
    assert report.pairs[0].metrics.identical
    assert "image_a has values outside 0..1" in report.notes[0]
    assert "window of 7 x 7 pixels instead of 11 x 11" in report.notes[1]


def test_pictures_survive_the_way_through_pillow():
    picture = torch.arange(4 * 5 * 3).reshape(4, 5, 3) / 255.0
    assert torch.equal(from_pillow(to_pillow(picture)).mul(255).round(), picture.mul(255).round())
    assert to_pillow(torch.zeros(2, 2, 1)).mode == "L"
    assert to_pillow(torch.zeros(2, 2, 4)).mode == "RGBA"


def test_panels_hold_the_pictures_unscaled():
    a, b = random_pair(64, 80)
    sheet = side_by_side([("without LoRA", a), ("with LoRA", b)], "MAE 0.1")
    assert sheet.dtype == torch.float32
    assert sheet.shape[1] == 2 * (80 + 4) + 4
    quantised = a.mul(255).round()
    rows = [top for top in range(sheet.shape[0] - 64) if torch.equal(sheet[top : top + 64, 4:84].mul(255), quantised)]
    assert len(rows) == 1
    assert sheet[: rows[0]].min() < 0.5  # the label is there
    assert sheet[rows[0] + 64 :].min() < 0.5  # so is the caption


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 2)])
def test_panels_of_odd_sizes_do_not_fail(size):
    picture = torch.zeros(*size, 3)
    sheet = side_by_side([("a very long label " * 40, picture), ("", picture)], "caption\nwith a line break\x00")
    assert sheet.shape[0] > size[0]


@pytest.mark.parametrize("label", ["x" * 5000, "\u65e5\u672c\u8a9e" * 50, "a\nb\tc", "\U0001f600", "<b>&amp;</b>", ""])
@pytest.mark.parametrize("width", [0, 20, 128])
def test_text_is_cut_to_its_panel(label, width):
    font = ImageFont.load_default(12)
    text = fit_text(label, font, width)
    assert "\n" not in text
    assert font.getlength(text) <= width


def test_short_text_is_left_alone():
    font = ImageFont.load_default(12)
    assert fit_text("with LoRA", font, 200) == "with LoRA"
    assert fit_text("a \u65e5 b", font, 200) == "a ? b"

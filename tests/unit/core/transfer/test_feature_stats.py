"""Streaming statistics of features against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pack.nodes.core.transfer import feature_stats as shift_stats
from pack.nodes.core.transfer.feature_stats import (
    HISTOGRAM_BINS,
    ChannelMoments,
    Sketcher,
    count_values,
    diagonal_frechet,
    histogram_edges,
    moved_channels,
    quantile,
    rebin,
)


def features(seed: int, rows: int = 700, channels: int = 24, offset: float = 300.0) -> torch.Tensor:
    """Channels with a mean far larger than their deviation, where naive sums of squares fail."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.01, 5, channels)
    return torch.randn(rows, channels, generator=generator) * scale + offset


@pytest.mark.parametrize("pieces", [1, 2, 7, 700])
def test_moments_are_those_of_numpy_in_float64(pieces: int) -> None:
    data = features(0)
    moments = ChannelMoments()
    for piece in data.chunk(pieces):
        moments.add(piece)
    exact = data.numpy().astype(np.float64)
    assert moments.count == len(data)
    np.testing.assert_allclose(moments.mean.numpy(), exact.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.variance.numpy(), exact.var(0), rtol=1e-9)


def test_merging_nothing_changes_nothing() -> None:
    moments = ChannelMoments()
    moments.add(features(1))
    before = moments.mean.clone()
    moments.merge(ChannelMoments())
    assert torch.equal(moments.mean, before)


def test_frechet_is_the_formula() -> None:
    a, b = (ChannelMoments(), ChannelMoments())
    x, y = features(1), features(2) * 1.2
    a.add(x)
    b.add(y)
    p, q = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    expected = (((q.mean(0) - p.mean(0)) ** 2).sum() + ((q.std(0) - p.std(0)) ** 2).sum()) / p.var(0).sum()
    assert diagonal_frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert diagonal_frechet(a, a) == 0


def test_the_channel_that_moved_is_named() -> None:
    x = features(3, offset=0.0)
    y = x.clone()
    y[:, 5] += 40
    y[:, 9] *= 3
    a, b = ChannelMoments(), ChannelMoments()
    a.add(x)
    b.add(y)
    scale = np.sqrt(x.numpy().astype(np.float64).var(0).mean())
    (first, by), (second, _) = moved_channels(a, b, 2)
    assert (first, second) == (5, 9)
    assert by == pytest.approx(40 / scale, rel=1e-4)
    assert moved_channels(a, a, 3) == []


def test_histogram_counts_what_numpy_counts() -> None:
    data = torch.cat((features(4).flatten(), -features(5, offset=0.0).flatten(), torch.zeros(9)))
    counts = count_values(data)
    expected, _ = np.histogram(data.double().numpy(), histogram_edges().numpy())
    assert counts.sum() == data.numel()
    # Values within a rounding of an edge may fall to either side of it.
    assert np.abs(counts.numpy().cumsum() - expected.cumsum()).max() <= data.numel() // 500


def test_histogram_takes_what_is_too_large_and_leaves_out_what_is_no_number() -> None:
    counts = count_values(torch.tensor([1e30, -1e30, float("nan"), float("inf"), 0.0, 1e-30]))
    assert counts[0] == 1
    assert counts[-1] == 1
    assert counts[HISTOGRAM_BINS // 2] == 2
    assert counts.sum() == 4


def test_a_histogram_can_be_laid_on_another_grid() -> None:
    data = torch.randn(200_000, generator=torch.Generator().manual_seed(6))
    shares = rebin(count_values(data), -4, 4, 16)
    expected, _ = np.histogram(data.numpy(), 16, (-4, 4))
    np.testing.assert_allclose(shares, expected / data.numel(), atol=0.003)
    assert quantile(count_values(data), 0.999) == pytest.approx(3.09, rel=0.1)
    assert quantile(count_values(data), 0.001) == pytest.approx(-3.09, rel=0.1)


@pytest.mark.parametrize("pattern", ["dense", "one channel", "rank one"])
def test_the_projection_keeps_lengths_and_angles(pattern: str) -> None:
    generator = torch.Generator().manual_seed(7)
    a = torch.randn(400, 256, generator=generator)
    b = 0.8 * a + 0.3 * torch.randn(400, 256, generator=generator)
    if pattern == "one channel":
        a[:, 17] *= 500
        b[:, 17] *= 500
    if pattern == "rank one":
        b = a + torch.randn(256, generator=generator)
    sketch = Sketcher()
    x, y = sketch(a).double(), sketch(b).double()
    exact = [t.double().numpy().ravel() for t in (a, b)]
    length = np.linalg.norm(exact[1] - exact[0])
    assert float((y - x).norm()) == pytest.approx(length, rel=0.06)
    cosine = exact[0] @ exact[1] / np.linalg.norm(exact[0]) / np.linalg.norm(exact[1])
    assert float(x @ y / x.norm() / y.norm()) == pytest.approx(cosine, abs=0.06)


def test_the_projection_is_unbiased_with_the_stated_error() -> None:
    values = torch.randn(60, 128, generator=torch.Generator().manual_seed(8))
    exact = float(values.double().square().sum())
    found = np.array([float(Sketcher(512, seed)(values).double().square().sum()) for seed in range(200)]) / exact
    assert found.mean() == pytest.approx(1, abs=0.015)
    assert found.std() < 1.2 * (2 / 512) ** 0.5


def test_the_projection_is_linear_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = features(9, 60, 130), features(10, 60, 130)
    sketch = Sketcher(256)
    assert torch.equal(sketch(a), Sketcher(256)(a))
    torch.testing.assert_close(sketch(a) + sketch(b), sketch(a.double() + b.double()), rtol=1e-4, atol=1e-2)
    whole = sketch(a)
    monkeypatch.setattr(shift_stats, "PIECE", 1000)
    torch.testing.assert_close(sketch(a), whole, rtol=1e-5, atol=1e-3)


def test_a_small_tensor_is_kept_as_it_is() -> None:
    values = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(Sketcher(8)(values), torch.tensor([0.0, 1, 2, 3, 4, 5, 0, 0]))

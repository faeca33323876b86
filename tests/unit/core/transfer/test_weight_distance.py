"""Distances and directions of two weights against dense float64."""

from __future__ import annotations

import math

import pytest
import torch
from pack.nodes.core.errors import AdapterFormatError
from pack.nodes.core.transfer import weight_distance as cw


def weights(rows: int = 48, columns: int = 32, seed: int = 0, size: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, columns, generator=generator)
    return a, a + size * torch.randn(rows, columns, generator=generator)


def factors(rows: int = 48, columns: int = 32, rank: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, rank, generator=generator), torch.randn(rank, columns, generator=generator)


def dense(a: torch.Tensor, b: torch.Tensor, up: torch.Tensor, down: torch.Tensor, scale: float) -> dict[str, float]:
    """The formulas word by word in float64."""
    a, b, up, down = (x.double().flatten(1) for x in (a, b, up, down))
    d, delta = b - a, scale * up @ down
    left, right = torch.linalg.qr(up).Q, torch.linalg.qr(down.T).Q
    shift = (left.T @ d @ right).norm() / (left.T @ a @ right).norm()
    return {
        "relative": float(d.norm() / a.norm()),
        "shift": float(shift),
        "excess": float(shift / (d.norm() / a.norm())),
        "cosine": float((delta * d).sum() / (delta.norm() * d.norm())),
    }


@pytest.mark.parametrize("chunk", [1 << 22, 100, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_distance_is_the_dense_one_whatever_the_chunk(
    monkeypatch: pytest.MonkeyPatch, chunk: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(cw, "CHUNK_ELEMENTS", chunk)
    a, b = (x.to(dtype) for x in weights())
    expected = (b.double() - a.double()).norm() / a.double().norm()
    assert cw.weight_distance(a, b).relative == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("chunk", [1 << 22, 100])
@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0])
def test_directions_are_the_dense_ones(monkeypatch: pytest.MonkeyPatch, chunk: int, scale: float) -> None:
    monkeypatch.setattr(cw, "CHUNK_ELEMENTS", chunk)
    a, b = weights()
    up, down = factors()
    expected = dense(a, b, up, down, scale)
    shift = cw.weight_shift(a, b, up, down, scale)
    assert shift.direction_shift == pytest.approx(expected["shift"], rel=1e-5)
    assert shift.excess == pytest.approx(expected["excess"], rel=1e-5)
    assert shift.cosine == pytest.approx(expected["cosine"], rel=1e-5, abs=1e-7)
    assert shift.delta == pytest.approx(float((scale * up.double() @ down.double()).square().sum()), rel=1e-9)


def test_a_convolution_is_a_matrix() -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(6, 4, 3, 3, generator=generator)
    b = a + 0.1 * torch.randn(6, 4, 3, 3, generator=generator)
    up, down = torch.randn(6, 2, 1, 1, generator=generator), torch.randn(2, 4, 3, 3, generator=generator)
    expected = dense(a, b, up, down, 1.0)
    shift = cw.weight_shift(a, b, up, down, 1.0)
    assert shift.direction_shift == pytest.approx(expected["shift"], rel=1e-5)
    assert shift.cosine == pytest.approx(expected["cosine"], rel=1e-5)
    assert cw.weight_distance(a, b).relative == pytest.approx(expected["relative"], rel=1e-6)


@pytest.mark.parametrize(("sign", "cosine"), [(1.0, 1.0), (-1.0, -1.0)])
def test_a_lora_that_is_the_step_itself(sign: float, cosine: float) -> None:
    a, _ = weights()
    up, down = factors()
    shift = cw.weight_shift(a, a + 0.01 * up @ down, up, down, sign)
    assert shift.cosine == pytest.approx(cosine, abs=1e-4)
    assert shift.excess is not None
    assert shift.excess > 3


def test_factors_do_not_matter_only_their_product_does() -> None:
    a, b = weights()
    up, down = factors()
    mixer = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    one = cw.weight_shift(a, b, up, down, 1.0)
    two = cw.weight_shift(a, b, up @ mixer, torch.linalg.inv(mixer) @ down, 1.0)
    assert two.direction_shift == pytest.approx(one.direction_shift, rel=1e-4)
    assert two.cosine == pytest.approx(one.cosine, rel=1e-3, abs=1e-6)


def test_a_rank_that_is_not_full_has_a_smaller_basis() -> None:
    a, b = weights()
    up, down = factors()
    wide_up, wide_down = torch.cat([up, up], dim=1), torch.cat([down, down])
    one, two = cw.weight_shift(a, b, up, down, 2.0), cw.weight_shift(a, b, wide_up, wide_down, 1.0)
    assert two.direction_shift == pytest.approx(one.direction_shift, rel=1e-5)
    assert two.cosine == pytest.approx(one.cosine, rel=1e-5)


def test_equal_weights_and_a_dead_lora_give_no_figures_that_would_be_zero_over_zero() -> None:
    a, b = weights()
    up, down = factors()
    same = cw.weight_shift(a, a.clone(), up, down, 1.0)
    assert same.direction_shift == 0.0
    assert (same.cosine, same.excess) == (None, None)
    dead = cw.weight_shift(a, b, torch.zeros_like(up), down, 1.0)
    assert (dead.direction_shift, dead.cosine, dead.excess) == (None, None, None)
    assert cw.weight_distance(torch.zeros(2, 2), torch.ones(2, 2)).relative is None


def test_a_block_is_the_root_sum_square_of_its_weights() -> None:
    pairs = [weights(seed=seed) for seed in range(3)]
    blocks = cw.add_up((("x.0", cw.weight_distance(*pairs[0])), ("x.1", cw.weight_distance(*pairs[1])),
                        ("x.0", cw.weight_distance(*pairs[2]))))  # fmt: skip
    stacked = [torch.cat([pairs[0][side], pairs[2][side]]).double() for side in (0, 1)]
    expected = float((stacked[1] - stacked[0]).norm() / stacked[0].norm())
    assert list(blocks) == ["x.0", "x.1"]
    assert blocks["x.0"].relative == pytest.approx(expected, rel=1e-6)
    assert blocks["x.0"].weights == 2


def test_slices_add_up_to_the_whole_in_the_cosine() -> None:
    a, b = weights()
    up, down = factors()
    whole = cw.weight_shift(a, b, up, down, 1.0)
    parts = sum((cw.weight_shift(a[s], b[s], up[s], down, 1.0) for s in (slice(0, 16), slice(16, 48))), cw.Shift())
    assert parts.cosine == pytest.approx(whole.cosine, rel=1e-6)
    assert parts.moved == pytest.approx(whole.moved, rel=1e-6)
    assert math.isclose(parts.delta, whole.delta, rel_tol=1e-9)
    assert parts.layers == 2


def test_shapes_that_differ_are_an_error() -> None:
    a, _ = weights()
    up, down = factors()
    with pytest.raises(AdapterFormatError, match="shapes differ"):
        cw.weight_distance(a, a.T)
    with pytest.raises(AdapterFormatError, match="do not fit 48 x 32"):
        cw.weight_shift(a, a, up[:40], down, 1.0)

"""Resizing keeps what it says it keeps: against torch's own SVD of the whole change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pack.nodes.core.bake.resize import Resizing, dense_error, factor_error, factors, reduce_dense, reduce_factors
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.lora.adapters import ADAPTERS

BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
KINDS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "lora": ("lora", {"up": (24, 6), "down": (6, 10)}),
    "locon": ("lora", {"up": (24, 6, 1, 1), "down": (6, 10, 3, 3)}),
    "tucker": ("lora", {"up": (24, 4, 1, 1), "mid": (4, 4, 3, 3), "down": (4, 10, 1, 1)}),
    "loha": ("loha", {"hada_w1_a": (24, 2), "hada_w1_b": (2, 10), "hada_w2_a": (24, 3), "hada_w2_b": (3, 10)}),
    "lokr": ("lokr", {"lokr_w1": (4, 2), "lokr_w2_a": (6, 3), "lokr_w2_b": (3, 5)}),
    "lokr convolution": ("lokr", {"lokr_w1": (2, 4), "lokr_w2": (6, 5, 3, 3)}),
}


def made(name: str) -> tuple[str, dict[str, torch.Tensor], torch.Tensor]:
    """Kind, tensors and the change at scale 0.5 as a matrix in float64."""
    kind, shapes = KINDS[name]
    generator = torch.Generator().manual_seed(3)
    tensors = {role: torch.randn(shape, generator=generator) for role, shape in shapes.items()}
    adapter: Any = BY_NAME[kind]
    return kind, tensors, adapter.delta(tensors, 0.5).flatten(1).double()


@pytest.mark.parametrize("name", KINDS)
def test_factors_are_the_change(name: str) -> None:
    kind, tensors, delta = made(name)
    found = factors(kind, tensors, 0.5)
    assert found is not None
    torch.testing.assert_close((found[0] @ found[1]).double(), delta, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("rank", "energy"), [(3, 1.0), (0, 0.9), (2, 0.99), (0, 0.5)])
def test_the_best_approximation_of_that_rank_or_energy(name: str, rank: int, energy: float) -> None:
    kind, tensors, delta = made(name)
    values = torch.linalg.svdvals(delta).square()
    wanted = Resizing(rank, energy)
    found = factors(kind, tensors, 0.5)
    assert found is not None
    for low in (reduce_factors(*found, wanted), reduce_dense(delta.float(), wanted)):
        left = values[low.rank :].sum() / values.sum()
        error = dense_error(delta.float(), low.up, low.down)
        assert error == pytest.approx(float(left) ** 0.5, rel=1e-4, abs=1e-6)
        assert factor_error(*found, low.up, low.down) == pytest.approx(error, rel=1e-3, abs=1e-6)
        if rank:
            assert low.rank <= rank
        if energy < 1 and low.rank < (rank or 99):
            assert 1 - left >= energy
            assert low.rank == 1 or 1 - values[low.rank - 1 :].sum() / values.sum() < energy


def test_all_of_it_is_all_of_it_and_no_more() -> None:
    up, down = torch.randn(30, 4), torch.randn(4, 20)
    low = reduce_factors(torch.cat([up, up], 1), torch.cat([down, down], 0), Resizing())
    assert (low.rank, low.full_rank) == (4, 4)
    torch.testing.assert_close(low.up @ low.down, 2 * up @ down, rtol=1e-5, atol=1e-5)


def test_a_change_of_zeros_has_rank_one_and_no_error() -> None:
    low = reduce_factors(torch.zeros(5, 2), torch.ones(2, 4), Resizing(1))
    assert low.rank == 1
    assert not (low.up @ low.down).any()
    assert reduce_dense(torch.zeros(5, 4), Resizing(2)).rank == 1


def test_limits_that_mean_nothing_are_refused() -> None:
    with pytest.raises(PatchbayError, match="rank: expected 1 or more"):
        Resizing(-1)
    for energy in (0.0, 1.5):
        with pytest.raises(PatchbayError, match="energy: expected a fraction"):
            Resizing(0, energy)
    with pytest.raises(PatchbayError, match="give a rank or an energy"):
        reduce_dense(torch.ones(3, 3), Resizing())

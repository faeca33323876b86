"""Which block became which: found from weights alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from pack.nodes.core.errors import BlockMapError
from pack.nodes.core.match.alignment import COLUMNS, ROWS, align, measure_map, sample_runs

Model = dict[str, np.ndarray]


def model(blocks: int, seed: int, width: int = 24) -> Model:
    random = np.random.default_rng(seed)
    layers = {"attn.qkv.weight": (3 * width, width), "mlp.0.weight": (2 * width, width), "norm.scale": (width,)}
    return {
        f"blocks.{i}.{layer}": random.standard_normal(shape) for i in range(blocks) for layer, shape in layers.items()
    }


def chosen(source: Model, kept: list[int | None], noise: float, seed: int = 9) -> Model:
    """A model with these blocks of another one in this order; ``None`` is a new one."""
    random = np.random.default_rng(seed)
    made: Model = {}
    for new, old in enumerate(kept):
        for key, value in source.items():
            if key.startswith("blocks.0."):
                base = source[key.replace("blocks.0.", f"blocks.{old}.")] if old is not None else 0.0
                scale = noise if old is not None else 1.0
                made[key.replace("blocks.0.", f"blocks.{new}.")] = base + scale * random.standard_normal(value.shape)
    return made


def sides(weights: Model) -> tuple[dict[str, tuple[int, ...]], Callable[[str], np.ndarray]]:
    def sample(key: str) -> np.ndarray:
        flat = weights[key].ravel()
        return np.concatenate([flat[start : start + count] for start, count in sample_runs(weights[key].shape)])

    return {key: value.shape for key, value in weights.items()}, sample


KEPT = [[0, 1, 3, 4, 6], [1, 2, 3], [0, 6], [0, 1, 2, 3, 4, 5, 6, None], [None, 0, 1, None, None, 2, 3, 4, 5, None, 6]]


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("kept", KEPT)
def test_removed_and_inserted_blocks_are_found_under_noise(kept: list[int | None], noise: float) -> None:
    source = model(7, 1)
    measured = measure_map(*sides(source), *sides(chosen(source, kept, noise)))
    expected = {old: (kept.index(old) if old in kept else None) for old in range(7)}
    assert measured.block_map.of("blocks") == expected
    assert measured.worst.cosine - measured.worst.runner_up > 0.05


def test_models_that_share_nothing_are_refused() -> None:
    with pytest.raises(BlockMapError, match="was not made from the first"):
        measure_map(*sides(model(7, 1)), *sides(model(5, 2)))


def test_a_copied_block_leaves_it_open_which_is_the_old_one() -> None:
    source = model(3, 1)
    with pytest.raises(BlockMapError, match="which is which cannot be measured"):
        measure_map(*sides(source), *sides(chosen(source, [0, 1, 1, 2], 0.0)))


def test_models_without_a_question_are_refused() -> None:
    with pytest.raises(BlockMapError, match="both models have 3 blocks; there is nothing to map"):
        measure_map(*sides(model(3, 1)), *sides(model(3, 2)))
    other = {key.replace("blocks", "layers"): value for key, value in model(3, 1).items()}
    with pytest.raises(BlockMapError, match="no container of blocks in common"):
        measure_map(*sides(model(3, 1)), *sides(other))
    with pytest.raises(BlockMapError, match="no layer of blocks has the same name, shape"):
        measure_map(*sides(model(3, 1)), *sides(model(4, 1, width=32)))


@pytest.mark.parametrize("seed", range(6))
def test_the_alignment_is_the_best_of_all(seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((3, 6))
    best = max(
        (sum(scores[i, j] for i, j in enumerate(columns)), columns) for columns in itertools.combinations(range(6), 3)
    )
    assert tuple(j for _, j in align(scores)) == best[1]
    assert [(j, i) for i, j in align(scores.T)] == align(scores)


@pytest.mark.parametrize("shape", [(1, 5), (3, 4), (8, 8), (5000, 6000), (16, 4, 3, 3)])
def test_samples_are_few_and_inside(shape: tuple[int, ...]) -> None:
    runs = list(sample_runs(shape))
    assert len(runs) == min(ROWS, shape[0])
    assert all(start + count <= np.prod(shape) and count <= COLUMNS for start, count in runs)

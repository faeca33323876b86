"""The least-squares step, its bounds, its ridge, and the words for what it found."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from pack.nodes.core.transfer.fit_report import (
    BEST_SINGLE,
    FITTED,
    PLAIN,
    Candidate,
    FitTable,
    choose,
    fit_report,
    fit_text,
    least_gain,
)
from pack.nodes.core.transfer.fit_rules import activation_ratio, added_shift, by_group, guard, inverse_norm
from pack.nodes.core.transfer.least_squares import (
    RIDGES,
    choose_ridge,
    interval,
    normal_equations,
    parabola_minimum,
    solve,
)
from pack.nodes.core.transfer.refit_factors import FactorSums, sample_rows

GENERATOR = torch.Generator().manual_seed(0)


def problem(groups: int = 4, size: int = 300) -> tuple[list[torch.Tensor], torch.Tensor]:
    columns = [torch.randn(size, generator=GENERATOR, dtype=torch.float64) for _ in range(groups)]
    return columns, torch.randn(size, generator=GENERATOR, dtype=torch.float64)


def test_without_ridge_and_bounds_it_is_least_squares() -> None:
    columns, missing = problem()
    normal = normal_equations(columns, missing, missing)
    step = solve([normal], 0.0, -1e9, 1e9)
    expected = np.linalg.lstsq(torch.stack(columns).numpy().T, missing.numpy(), rcond=None)[0]
    np.testing.assert_allclose(step.numpy(), expected, rtol=1e-8)
    left = missing - sum(float(s) * c for s, c in zip(step, columns, strict=True))
    assert normal.error(step) == pytest.approx(float(left.square().sum() / missing.square().sum()), rel=1e-9)


def test_a_known_step_is_found_and_bounds_hold() -> None:
    columns, wanted = problem()
    truth = [0.5, -0.4, 3.0, 0.0]
    missing = sum(s * c for s, c in zip(truth, columns, strict=True))
    normal = normal_equations(columns, missing, wanted)
    assert solve([normal], 0.0, -9, 9).tolist() == pytest.approx(truth, abs=1e-9)
    bounded = solve([normal], 0.0, 0.0, 2.0)
    assert bounded[2] == 1.0
    inside = torch.stack([columns[i] for i in (0, 1, 3)]).numpy().T
    expected = np.linalg.lstsq(inside, (missing - columns[2]).numpy(), rcond=None)[0]
    np.testing.assert_allclose(bounded[[0, 1, 3]].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_a_large_ridge_holds_at_one() -> None:
    columns, missing = problem()
    step = solve([normal_equations(columns, missing, missing)], 1e9, 0, 2)
    assert float(step.abs().max()) < 1e-6


def test_scenes_count_the_same_however_large_they_are() -> None:
    column = torch.ones(10, dtype=torch.float64)
    small = normal_equations([column], 0.5 * column, column)
    large = normal_equations([1000 * column], -500 * column, 1000 * column)
    assert float(solve([small, large], 0.0, -9, 9)) == pytest.approx(0.0, abs=1e-12)


def test_the_ridge_is_large_where_folds_disagree() -> None:
    agreeing, opposing = [], []
    for fold in range(4):
        columns, _ = problem(2, 50)
        target = sum(columns)
        agreeing.append(normal_equations(columns, 0.5 * target, target))
        opposing.append(normal_equations(columns, (-1) ** fold * 0.5 * target, target))
    assert choose_ridge(agreeing, [0, 1, 2, 3], 0, 2) < choose_ridge(opposing, [0, 1, 2, 3], 0, 2)
    assert choose_ridge(agreeing, [0, 0, 0, 0], 0, 2) == max(RIDGES)  # nothing to leave out: hold on to 1


def test_the_best_single_strength_is_the_bottom_of_the_parabola() -> None:
    points = [(x, (x - 0.83) ** 2 + 0.2) for x in (0.4, 0.7, 1.0, 1.3)]
    assert parabola_minimum(points, 0, 2) == pytest.approx(0.83)
    assert parabola_minimum([(x, x) for x in (0.4, 0.7, 1.0)], 0, 2) == 0.4
    assert parabola_minimum([(x, x) for x in (0.4, 0.7, 1.0)], 0.5, 2) == 0.5


@pytest.mark.parametrize(("count", "quantile"), [(31, 2.0423), (32, 2.0395), (33, 2.0369), (121, 1.9799)])
def test_the_interval_goes_on_as_students_beyond_the_table(count: int, quantile: float) -> None:
    """Quantiles of a printed table of Student's t; the normal distribution's 1.96 is too narrow for all of them."""
    values = [float(number) for number in range(count)]
    found = interval(values)
    assert (found.high - found.mean) * count**0.5 / statistics.stdev(values) == pytest.approx(quantile, abs=1e-3)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0])
    assert found.mean == 2.5
    assert found.high - found.mean == pytest.approx(3.182 * np.std([1, 2, 3, 4], ddof=1) / 2)
    assert interval([1.0]).low == -math.inf
    assert math.isnan(interval([]).mean)


def candidate(name: str, gains: list[float], plain: float = 0.5) -> Candidate:
    return Candidate(name, {"blocks.0": 0.5}, tuple(gains), interval([plain - g for g in gains]), interval(gains))


def fit_table(candidates: list[Candidate], chosen: str) -> FitTable:
    return FitTable(tuple(candidates), chosen, ("blocks.0",), 0.1, 0.0, 2, 2, 2, (1.0,), 9, 1.0)


def test_strength_one_stays_unless_the_gain_is_certain() -> None:
    plain = candidate(PLAIN, [0.0] * 4)
    certain, uncertain = candidate(FITTED, [0.2, 0.21, 0.19, 0.2]), candidate(FITTED, [0.4, -0.3, 0.2, 0.1])
    tiny, noisy = candidate(FITTED, [0.001] * 4), candidate(FITTED, [0.02] * 4)
    allowed = (FITTED, BEST_SINGLE)
    assert choose([plain, certain], 0.0, allowed) == FITTED
    assert choose([plain, uncertain], 0.0, allowed) == PLAIN
    assert choose([plain, tiny], 0.0, allowed) == PLAIN
    assert choose([plain, noisy], 0.05, allowed) == PLAIN
    assert choose([plain, certain], 0.0, (BEST_SINGLE,)) == PLAIN
    report = fit_report(fit_table([plain, uncertain], PLAIN), "all=1", "t", None, None, ())
    assert report.verdict == "keep 1.0"
    assert "Strength 1 stays" in report.summary
    assert report.summary.isascii()


@pytest.mark.parametrize("error", [0.02, 0.09, 0.3, 0.75])
def test_another_strength_must_win_back_what_a_tenth_of_strength_costs(error: float) -> None:
    """A hundredth of the square of the LoRA's own effect; below an error of 10 % there is not that much to win."""
    least = least_gain(error)
    assert error**2 - (error - least) ** 2 == pytest.approx(min(0.01, error**2))
    plain = candidate(PLAIN, [0.0] * 4, error)
    for share, expected in ((0.98, PLAIN), (1.02, FITTED if error > 0.1 else PLAIN)):
        gain = min(share * least, error)
        found = candidate(FITTED, [gain, gain, gain, gain], error)
        assert choose([plain, found], 0.0, (FITTED,)) == expected
        report = fit_report(fit_table([plain, found], expected), "", "t", None, None, ())
        if error < 0.1:
            assert "misses the LoRA's own effect by only" in report.summary
        elif expected == PLAIN:
            assert "too small to be worth another strength" in report.summary


def test_a_gain_is_said_with_its_interval() -> None:
    found = fit_table([candidate(PLAIN, [0.0] * 4), candidate(FITTED, [0.2, 0.21, 0.19, 0.2])], FITTED)
    report = fit_report(found, "blocks.0=0.5", "t", None, None, ())
    assert "30 % instead of 50 %" in report.summary
    assert "[+18" in report.summary
    assert "blocks.0" in fit_text(found)


def test_the_rules() -> None:
    assert inverse_norm({"a": 1.0, "b": 3.0, "c": 0.0}) == {"a": 1.5, "b": pytest.approx(2 / 3), "c": 1.0}
    assert activation_ratio({"a": 0.2}, {"a": 0.1, "b": 0.1}, 0, 1.5) == {"a": 1.5, "b": 1.0}
    assert guard({"a": 1.0, "b": 1.0, "c": 4.0}) == {"a": 1.0, "b": 1.0, "c": 0.5}
    assert guard({"a": 0.0}) == {"a": 1.0}
    added = added_shift({"d.0|img": 0.3, "d.0|txt": 0.1, "d.1|img": 0.5, "d.1|txt": 0.1})
    assert added == {"d.0|img": 0.3, "d.0|txt": 0.1, "d.1|img": pytest.approx(0.4), "d.1|txt": 0.0}
    groups = by_group(added, ["d.0.img", "d.1", "d.*", "d.0.img_attn.qkv", "e.0"])
    assert groups["d.0.img"] == groups["d.0.img_attn.qkv"] == 0.3
    assert groups["d.1"] == pytest.approx(0.4 / 2**0.5)
    assert "e.0" not in groups


def test_the_factor_that_is_missing_is_found() -> None:
    down = torch.randn(4, 20, generator=GENERATOR)
    wanted = torch.randn(12, 4, generator=GENERATOR, dtype=torch.float64)
    sums = FactorSums()
    for _ in range(5):
        x = torch.randn(30, 20, generator=GENERATOR)
        sums.add(down, x, 0.5 * (x.double() @ down.double().T) @ wanted.T)
    torch.testing.assert_close(sums.step(0.5, 0.0), wanted, rtol=1e-8, atol=1e-8)
    assert float(sums.step(0.5, 1.0).norm()) < float(wanted.norm())
    assert FactorSums().step(1.0).numel() == 0


def test_rows_are_spread_evenly_and_the_same_every_time() -> None:
    assert sample_rows(3, 8).tolist() == [0, 1, 2]
    rows = sample_rows(1000, 10)
    assert rows[0] == 0
    assert rows[-1] == 999
    assert len(set(rows.tolist())) == 10
    assert torch.equal(rows, sample_rows(1000, 10))

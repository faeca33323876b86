"""The guidance that a model has built in, as a quotient of sums, and the words for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pack.nodes.core.transfer.feature_stats import Sketcher
from pack.nodes.core.transfer.guidance import (
    check_reference_cfg,
    guidance_note,
    guided,
    guided_record,
    measure_guidance,
)
from pack.nodes.core.transfer.profile import Profile, shift

GENERATOR = torch.Generator().manual_seed(0)
PROBES = [(prompt, seed, step) for prompt in range(3) for seed in range(2) for step in range(2)]


Outputs = dict[tuple[int, int, int], torch.Tensor]


def draw(size: int = 500) -> Outputs:
    return {probe: torch.randn(size, generator=GENERATOR, dtype=torch.float64) for probe in PROBES}


def at(positive: Outputs, negative: Outputs, *by_level: float) -> Outputs:
    return {p: negative[p] + by_level[p[2]] * (positive[p] - negative[p]) for p in positive}


def test_the_guidance_of_a_target_that_is_the_guided_reference_is_given_back() -> None:
    positive, negative = draw(), draw()
    found = measure_guidance(at(positive, negative, 3.5, 3.5), positive, negative)
    assert found.cfg == pytest.approx(3.5)
    assert found.levels == pytest.approx((3.5, 3.5))
    assert (found.low, found.high) == (pytest.approx(3.5), pytest.approx(3.5))
    assert found.distance == pytest.approx(0.0, abs=1e-6)
    assert found.distance_unguided > 0.5
    assert found.scenes == 6
    assert found.used == found.levels


def test_every_noise_level_has_its_own() -> None:
    positive, negative = draw(), draw()
    found = measure_guidance(at(positive, negative, 4.0, 2.0), positive, negative)
    assert found.levels == pytest.approx((4.0, 2.0), rel=0.01)
    assert 2 < found.cfg < 4


def test_it_is_least_squares_over_everything() -> None:
    positive, negative, noise = draw(), draw(), draw()
    target = {p: value + noise[p] for p, value in at(positive, negative, 2.5, 2.5).items()}
    found = measure_guidance(target, positive, negative)
    along = torch.cat([positive[p] - negative[p] for p in PROBES]).numpy()[:, None]
    rest = torch.cat([target[p] - positive[p] for p in PROBES]).numpy()
    assert found.cfg == pytest.approx(1 + float(np.linalg.lstsq(along, rest, rcond=None)[0][0]), rel=1e-9)
    assert found.low < 2.5 < found.high
    left = torch.cat([target[p] - value for p, value in guided(positive, negative, found).items()])
    size = torch.cat(list(target.values()))
    assert found.distance == pytest.approx(float(left.norm() / size.norm()), rel=1e-9)
    assert found.distance_unguided == pytest.approx(float(np.linalg.norm(rest) / size.norm()), rel=1e-9)


def test_it_is_not_less_than_none_and_not_out_of_all_proportion() -> None:
    positive, negative = draw(), draw()
    assert measure_guidance(positive, positive, negative).used == (1.0, 1.0)
    assert measure_guidance(negative, positive, negative).used == (1.0, 1.0)
    assert measure_guidance(at(positive, negative, 99.0, 99.0), positive, negative).cfg == 30.0
    same = measure_guidance(draw(), positive, positive)
    assert (same.cfg, same.used) == (1.0, (1.0, 1.0))


def test_a_level_where_the_prompts_hardly_differ_is_held_at_the_others() -> None:
    positive, noise = draw(), draw()
    negative = {p: value + (1.0 if p[2] == 0 else 1e-4) * noise[p] for p, value in positive.items()}
    target = {p: value + 0.05 * noise[p].flip(0) for p, value in at(positive, negative, 3.0, 3.0).items()}
    found = measure_guidance(target, positive, negative)
    assert found.levels == pytest.approx((3.0, 3.0), abs=0.1)


def test_what_was_set_is_used_and_what_was_measured_is_kept() -> None:
    positive, negative = draw(), draw()
    found = measure_guidance(at(positive, negative, 3.0, 3.0), positive, negative, 1.5)
    assert found.used == (1.5, 1.5)
    assert found.cfg == pytest.approx(3.0)
    assert "CFG 1.5, as set. Measured, it would be 3.00 (3 to 3)" in guidance_note(found, 1.5)


def test_the_note_says_what_was_compared() -> None:
    positive, negative = draw(), draw()
    found = measure_guidance(at(positive, negative, 3.0, 2.0), positive, negative)
    assert "by noise level 3.0" in guidance_note(found)
    assert "no negative prompt" in guidance_note(None)
    assert "as set" in guidance_note(None, 1.0)


def test_the_projection_of_the_guided_output_is_the_guided_projection() -> None:
    """What Feature Shift keeps of each output is linear, so that guidance needs no further run."""
    positive, negative, sketcher = draw(40_000), draw(40_000), Sketcher()
    profiles = [Profile() for _ in range(3)]
    found = measure_guidance(at(positive, negative, 3.0, 2.0), positive, negative)
    for profile, values in zip(profiles, (positive, negative, guided(positive, negative, found)), strict=True):
        for probe, value in values.items():
            profile.add("output", probe, value.reshape(-1, 4), sketcher)
    records = [profile.records["output"] for profile in profiles]
    record = guided_record(records[0], records[1], found)
    for probe, sketch in records[2].sketches.items():
        torch.testing.assert_close(record.sketches[probe], sketch, rtol=1e-4, atol=1e-3)
    assert shift(records[2], record).relative_l2 < 1e-5
    sketched = measure_guidance(*(each.sketches for each in (records[2], records[0], records[1])))
    assert sketched.levels == pytest.approx(found.levels, rel=0.01)


def test_what_is_no_guidance_is_refused() -> None:
    for allowed in (0.0, 1.0, 4.0):
        check_reference_cfg(allowed, True)
    check_reference_cfg(0.0, False)
    check_reference_cfg(1.0, False)
    with pytest.raises(ValueError, match="no negative prompt is connected"):
        check_reference_cfg(1.5, False)
    for refused in (0.5, -1.0):
        with pytest.raises(ValueError, match="expected 0, which measures it, or a CFG of 1 or more"):
            check_reference_cfg(refused, True)

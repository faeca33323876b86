"""Profiles: what is compared, what is exactly zero, and what comes back from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.report.report import Level
from pack.nodes.core.transfer.feature_stats import Sketcher
from pack.nodes.core.transfer.profile import OUTPUT, Profile, change, load_profile, save_profile, seed_shift, shift
from pack.nodes.core.transfer.shift_report import ShiftTable, build_rows, judge_shift, shift_report, shift_text

SKETCH = Sketcher()
Features = dict[tuple[str, tuple[int, int, int]], torch.Tensor]


def make(seed: int, size: float = 1.0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    names = ("blocks.0|img", "blocks.0|txt", OUTPUT)
    return {
        (name, (prompt, number, step)): size * torch.randn(40, 32, generator=generator)
        for name in names
        for prompt in range(2)
        for number in range(2)
        for step in range(2)
    }


def profile(features: Features) -> Profile:
    found = Profile()
    for (name, probe), values in features.items():
        found.add(name, probe, values, SKETCH)
    return found


def add(a: Features, b: Features, factor: float = 1.0) -> Features:
    return {key: value + factor * b[key] for key, value in a.items()}


def flat(features: Features, name: str) -> np.ndarray:
    return np.concatenate([v.double().numpy().ravel() for (n, _), v in features.items() if n == name])


def table(rows: tuple, transfer: bool) -> ShiftTable:
    return ShiftTable(rows, 2, 2, (1.0, 0.5), 8, 1.0, transfer=transfer)


def test_shift_and_cosine_are_those_of_numpy() -> None:
    before, moved = make(0), make(1, 0.3)
    after = add(before, moved)
    found = shift(profile(before).records[OUTPUT], profile(after).records[OUTPUT])
    a, b = flat(before, OUTPUT), flat(after, OUTPUT)
    assert found.relative_l2 == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-5)
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)


def test_the_same_features_shift_by_exactly_nothing() -> None:
    a, b = profile(make(0)), profile(make(0))
    rows = build_rows(a, b, a)
    assert {row.shift for row in rows} == {0.0}
    assert {row.cosine for row in rows} == {1.0}
    assert {row.frechet for row in rows} == {0.0}
    level, verdict, sentence, _ = judge_shift(table(rows, False), "a", "b")
    assert (level, verdict) == (Level.OK, "identical")
    assert "exactly" in sentence


def test_a_shift_below_the_floor_is_no_finding() -> None:
    before = make(0)
    noisy, moved = add(before, make(1, 0.01)), add(before, make(2, 0.012))
    rows = build_rows(profile(before), profile(moved), profile(noisy))
    level, verdict, sentence, _ = judge_shift(table(rows, False), "a", "b")
    assert (level, verdict) == (Level.WARNING, "not distinguishable")
    assert "run twice" in sentence


def test_another_seed_is_the_measure() -> None:
    features = make(3)
    found = seed_shift(profile(features).records[OUTPUT])
    assert found == pytest.approx(2**0.5, rel=0.1)  # independent noise
    alone = {key: value for key, value in features.items() if key[1][1] == 0}
    assert seed_shift(profile(alone).records[OUTPUT]) is None


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "transfers"), (0.3, "transfers"), (-1.0, "does not transfer")])
def test_a_change_is_compared_by_size_and_direction(factor: float, verdict: str) -> None:
    here, there, effect = make(4), make(5), make(6, 0.2)
    a, b = profile(here), profile(add(here, effect, factor))
    c, d = profile(there), profile(add(there, effect))
    found = change((a.records[OUTPUT], b.records[OUTPUT]), (c.records[OUTPUT], d.records[OUTPUT]))
    assert found is not None
    assert found.ratio == pytest.approx(abs(factor), rel=1e-4)
    assert found.cosine == pytest.approx(1 if factor > 0 else -1, rel=1e-4)
    assert found.error == pytest.approx(abs(1 - factor), abs=1e-4)
    assert abs(found.seed_cosine or 1) < 0.2  # independent effects
    rows = build_rows(a, b, a, (c, d))
    level, words, sentence, advice = judge_shift(table(rows, True), "a", "b")
    assert words == verdict
    assert f"{found.cosine:.2f}" in sentence
    assert ("weaker" in sentence and "3.3" in advice and level is Level.WARNING) == (factor == 0.3)


def test_a_change_of_another_shape_is_not_compared() -> None:
    a, b = profile(make(0)), profile(make(1))
    wide = Profile()
    for probe in a.probes:
        wide.add(OUTPUT, probe, torch.randn(40, 64), SKETCH)
    pair = (wide.records[OUTPUT], wide.records[OUTPUT])
    assert change((a.records[OUTPUT], b.records[OUTPUT]), pair) is None
    rows = build_rows(a, b, a, (wide, wide))
    assert judge_shift(table(rows, True), "a", "b")[1] == "not comparable"


def test_a_lora_without_effect_on_its_own_model_is_no_verdict() -> None:
    here, there = make(0), make(1)
    rows = build_rows(profile(here), profile(make(2)), profile(here), (profile(there), profile(there)))
    assert judge_shift(table(rows, True), "a", "b")[1] == "not distinguishable"


def test_the_report_has_the_figures() -> None:
    before = make(0)
    a, b = profile(before), profile(add(before, make(1, 0.3)))
    measured = table(build_rows(a, b, a), False)
    report = shift_report(measured, "t", ("a", "b"), None)
    assert report.kind == "shift"
    assert any("floor" in note for note in report.notes)
    text = shift_text(measured)
    assert "blocks.0 img" in text
    assert text.isascii()


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    first = profile(make(0))
    first.latents[0, 0, 0] = torch.randn(1, 4, 3, 3)
    path = tmp_path / "p.safetensors"
    save_profile(path, first)
    second = load_profile(path)
    assert second.probes == first.probes
    assert torch.equal(second.latents[0, 0, 0], first.latents[0, 0, 0])
    assert {row.shift for row in build_rows(first, second, first)} == {0.0}
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "p.safetensors"
    save_profile(path, profile(make(0)))
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(PatchbayError, match=r"p\.safetensors.*delete the file"):
        load_profile(path)

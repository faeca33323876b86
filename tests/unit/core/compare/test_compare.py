"""Inner products through factors: the truth of the products, whatever the scale, rank and spelling of the files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from pack.nodes.core.cli.main import main
from pack.nodes.core.compare.changes import Change
from pack.nodes.core.compare.ranks import advise_rank
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[4]
DUOTONE = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"
MONO = ROOT / "models" / "loras" / "klein-nano-monochrome.safetensors"
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = main([str(x) for x in arguments], out, out)
    return code, out.getvalue()


def rescaled(path: Path, factor: float, twist: float) -> Path:
    """The same file times a factor, its factors scaled against each other."""
    tensors = load_file(DUOTONE)
    for key, value in tensors.items():
        if key.endswith("lora_up.weight"):
            tensors[key] = value.float() * factor * twist
        if key.endswith("lora_down.weight"):
            tensors[key] = value.float() / twist
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(("factor", "twist"), [(1.0, 7.0), (-2.5, 0.01), (1e-3, 1.0)])
def test_a_file_times_a_factor_is_the_same_file(tmp_path: Path, factor: float, twist: float) -> None:
    other = rescaled(tmp_path / "other.safetensors", factor, twist)
    code, said = run("compare", DUOTONE, other)
    assert code == 0
    assert "the same, times" in said
    assert float(said.split("the same, times ")[1].split()[0]) == pytest.approx(factor, rel=1e-5)


def test_inner_products_are_those_of_the_products() -> None:
    torch.manual_seed(3)
    up, down, whole = (torch.randn(*size, dtype=torch.float64) for size in ((9, 2), (2, 7), (9, 7)))
    low, dense = Change(up, down), Change(whole=whole)
    assert low.dot(dense) == pytest.approx(float((up @ down * whole).sum()), rel=1e-12)
    assert dense.dot(low) == pytest.approx(low.dot(dense), rel=1e-12)
    assert low.norm == pytest.approx(float((up @ down).norm()), rel=1e-12)


def test_two_spellings_need_the_model_and_then_compare(tmp_path: Path) -> None:
    assert run("compare", DUOTONE, MONO)[0] == 2
    code, said = run("compare", DUOTONE, MONO, "--model", BASE, "--json")
    assert code == 0
    gram = json.loads(said)["inner_products"]
    assert gram[0][1] == pytest.approx(gram[1][0], rel=1e-9)
    assert abs(gram[0][1]) < (gram[0][0] * gram[1][1]) ** 0.5


def test_what_only_one_has_is_named(tmp_path: Path) -> None:
    tensors = load_file(DUOTONE)
    name = next(iter(tensors)).rpartition(".lora_")[0] or next(iter(tensors)).rpartition(".")[0]
    save_file({key: x for key, x in tensors.items() if not key.startswith(name)}, tmp_path / "less.safetensors")
    _, said = run("compare", DUOTONE, tmp_path / "less.safetensors")
    assert f"only in {DUOTONE.name}: 1 layers ({name})" in said


def test_epochs_are_drawn_as_a_course(tmp_path: Path) -> None:
    """Norms and cosines as bars, in columns that stay columns."""
    files = [rescaled(tmp_path / f"epoch-{number}.safetensors", number / 4, 1.0) for number in (1, 2, 4)]
    _, said = run("compare", *files)
    rows = [line for line in said.splitlines() if "cosine to the last" in line]
    assert [line.split("  cosine")[0].count("#") for line in rows] == [5, 10, 20]
    assert all(line.endswith("1.0000 " + "#" * 20) for line in rows)
    assert len({line.index("cosine to") for line in rows}) == 1
    heads = next(line for line in said.splitlines() if line.startswith("block"))
    assert all(len(line) == len(heads) for line in said.splitlines() if line.startswith("single_blocks."))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    code, said = run("compare", tmp_path / "none.safetensors", DUOTONE)
    assert (code, "No such file" in said) == (2, True)


def test_the_advised_rank_is_the_planted_one() -> None:
    torch.manual_seed(5)
    left = torch.linalg.qr(torch.randn(40, 16, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(30, 16, dtype=torch.float64))[0]
    values = torch.tensor([10.0, 10.0, 10.0, *[0.1] * 4, *[1e-4] * 9], dtype=torch.float64)
    advice = advise_rank(Change(left * values, right.T), 16)
    assert advice.for_energy == (3, 3, 3)
    assert advice.above_noise == 7
    assert advice.is_over_ranked
    assert advise_rank(Change(whole=(left * values) @ right.T)).for_energy == (3, 3, 3)
    assert advise_rank(Change(left * 0, right.T), 16).is_dead

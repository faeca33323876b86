"""Rank curves, a second file and a smaller copy: against the dense truth, on the bundled LoRAs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pack.nodes.core.check.inspect import inspect_file
from pack.nodes.core.compare.compare import compare_files
from pack.nodes.core.compare.rank_curves import with_ranks
from pack.nodes.core.compare.resized import write_resized
from pack.nodes.core.compare.two_files import with_second
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.report.report import Report, to_json
from pack.nodes.core.report.text import report_text
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[4]
LORAS = ROOT / "models" / "loras"
DUOTONE = LORAS / "klein-nano-duotone.safetensors"


@pytest.fixture(scope="module")
def report() -> Report:
    return with_ranks(inspect_file(DUOTONE, tensors=True), read_header(DUOTONE))


def dense_squares() -> dict[str, torch.Tensor]:
    """Squared singular values of every layer, from the product."""
    tensors, found = load_file(DUOTONE), {}
    for key in [key for key in tensors if key.endswith("lora_down.weight")]:
        name = key.removesuffix(".lora_down.weight")
        scale = float(tensors[f"{name}.alpha"]) / tensors[key].shape[0]
        product = scale * tensors[f"{name}.lora_up.weight"].double() @ tensors[key].double()
        found[name] = torch.linalg.svdvals(product).square()
    return found


def test_curves_and_needs_are_the_dense_ones(report: Report) -> None:
    truth = dense_squares()
    whole, *blocks = report.ranks
    assert whole.block == ""
    assert [curve.block for curve in blocks][-1] == "other"
    total = sum(float(x.sum()) for x in truth.values())
    for rank, kept in zip(whole.ranks, whole.kept, strict=True):
        assert kept == pytest.approx(sum(float(x[:rank].sum()) for x in truth.values()) / total, rel=1e-9)
    for layer in report.layers:
        share = truth[layer.lora_key].cumsum(0) / truth[layer.lora_key].sum()
        assert layer.needs == tuple(int((share < energy).sum()) + 1 for energy in (0.95, 0.98, 0.99))
    assert whole.layers == len(report.layers) == sum(curve.layers for curve in blocks)
    assert whole.needed == tuple(sorted(whole.needed))


def test_they_stand_in_the_text_and_in_the_json(report: Report) -> None:
    text = report_text(report)
    assert "Rank, and what keeps 95, 98 and 99 % of the squared norm:" in text
    assert f"{report.ranks[0].over_ranked} of 27 layers have more than twice the rank" in text
    made = to_json(report)
    assert made["ranks"][0]["needed"] == list(report.ranks[0].needed)
    assert made["layers"][0]["needs"] == list(report.layers[0].needs)


def test_a_smaller_copy_says_the_error_of_what_it_wrote(tmp_path: Path) -> None:
    made = write_resized(DUOTONE, tmp_path / "small.safetensors", 0.98)
    small, wrong, total = load_file(made.path), 0.0, 0.0
    tensors = load_file(DUOTONE)
    for key in [key for key in tensors if key.endswith("lora_down.weight")]:
        name = key.removesuffix(".lora_down.weight")
        one, two = (
            float(x[f"{name}.alpha"]) / x[key].shape[0] * x[f"{name}.lora_up.weight"].double() @ x[key].double()
            for x in (tensors, small)
        )
        wrong, total = wrong + float((two - one).square().sum()), total + float(one.square().sum())
    assert made.error == pytest.approx((wrong / total) ** 0.5, rel=1e-6)
    assert 0.01 < made.error <= 0.02**0.5
    assert made.size_bytes == made.path.stat().st_size < made.before_bytes
    assert write_resized(DUOTONE, tmp_path / "small.safetensors", 0.98).path != made.path


def test_a_file_without_ranks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "diff.safetensors"
    save_file({"diffusion_model.single_blocks.0.linear1.diff": torch.randn(8, 8)}, path)
    assert with_ranks(inspect_file(path, tensors=True), read_header(path)).ranks == ()
    with pytest.raises(PatchbayError, match="has a rank"):
        write_resized(path, tmp_path / "out.safetensors", 0.9)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_second_file_is_the_same_or_another(tmp_path: Path) -> None:
    tensors = load_file(DUOTONE)
    for key, value in tensors.items():
        if key.endswith("lora_up.weight"):
            tensors[key] = value.float() * -0.5
    other = tmp_path / "half.safetensors"
    save_file(tensors, other)
    base = inspect_file(DUOTONE)
    made = with_second(base, read_header(DUOTONE), other)
    assert made.compared is not None
    assert made.compared.same
    assert made.compared.factor == pytest.approx(-0.5)
    assert made.summary.startswith("The same as half.safetensors, which is this file times -0.5.")
    for key in [key for key in tensors if "single_blocks" in key]:
        del tensors[key]
    save_file(tensors, other)
    part = with_second(base, read_header(DUOTONE), other).compared
    assert part is not None
    assert not part.same
    assert all("single_blocks" in name for name in part.only_first)
    assert sum(block.share_a for block in part.blocks) == pytest.approx(1)
    assert {block.cosine for block in part.blocks if block.block.startswith("single")} == {None}
    assert "Beside the second file:" in report_text(with_second(base, read_header(DUOTONE), other))


def test_files_that_cannot_be_compared_say_why() -> None:
    made = with_second(inspect_file(DUOTONE), read_header(DUOTONE), LORAS / "klein-nano-monochrome.safetensors")
    assert made.level.value == "warning"
    assert "Give the model that they are for" in made.summary


def test_epochs_of_one_training_are_a_course(tmp_path: Path) -> None:
    """Norms and cosines to the last, file by file, on the command line."""
    from pack.nodes.core.bake.merge_plan import MergeSource

    torch.manual_seed(0)
    key = "diffusion_model.single_blocks.0.linear1.lora_{}.weight"
    step = torch.randn(16, 2)
    paths = []
    for epoch in (1, 2, 3):
        path = tmp_path / f"epoch{epoch}.safetensors"
        noise = torch.randn(16, 2) / epoch**2
        save_file({key.format("B"): step * epoch + noise, key.format("A"): torch.eye(2, 16)}, path)
        paths.append(path)
    gram = compare_files([MergeSource(read_header(path)) for path in paths]).gram
    cosines = [gram[i][2] / (gram[i][i] * gram[2][2]) ** 0.5 for i in range(2)]
    assert cosines == sorted(cosines)

"""Merged files on the command line: the sum, the refusals, the metadata and the memory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from pack.nodes.core.cli.main import main
from pack.nodes.core.cli.sources import TypedSource, parse_source
from pack.nodes.core.files.header import read_header
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[4]
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"
LORAS = ROOT / "models" / "loras"
DUOTONE, MONO = LORAS / "klein-nano-duotone.safetensors", LORAS / "klein-nano-monochrome.safetensors"


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = main([str(x) for x in arguments], out, out)
    return code, out.getvalue()


def lora(path: Path, rank: int, seed: int, dtype: torch.dtype = torch.float32, alpha: float | None = None) -> Path:
    torch.manual_seed(seed)
    tensors = {}
    for name in ("lora_unet_double_blocks_0_img_attn_proj", "lora_unet_single_blocks_0_linear2"):
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, 24).to(dtype)
        tensors[f"{name}.lora_up.weight"] = torch.randn(16, rank).to(dtype)
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path, {"ss_base_model_version": "tiny", "ss_tag_frequency": f'{{"{path.stem}": 1}}'})
    return path


def deltas(path: Path) -> dict[str, torch.Tensor]:
    tensors = {key: value.double() for key, value in load_file(path).items()}
    found = {}
    for key, down in tensors.items():
        name = key.removesuffix(".lora_down.weight")
        if name != key:
            scale = tensors.get(f"{name}.alpha", torch.tensor(float(down.shape[0]))) / down.shape[0]
            found[name] = tensors[f"{name}.lora_up.weight"] @ down * scale
    return found | {k.removesuffix(".diff"): v for k, v in tensors.items() if k.endswith(".diff")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_file_is_the_sum_in_any_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    one, two = lora(tmp_path / "a.safetensors", 3, 1, dtype, 1.5), lora(tmp_path / "b.safetensors", 4, 2, dtype)
    out = tmp_path / "sum.safetensors"
    code, said = run("merge", f"{one}:0.7", f"{two}:-1.3", "-o", out)
    assert code == 0
    assert "exact" in said
    a, b, merged = deltas(one), deltas(two), deltas(out)
    assert merged.keys() == a.keys()
    for name, delta in merged.items():
        meant = 0.7 * a[name] - 1.3 * b[name]
        assert float((delta - meant).norm() / meant.norm()) < 2e-7


def test_beyond_the_full_rank_a_difference_is_written(tmp_path: Path) -> None:
    files = [lora(tmp_path / f"{seed}.safetensors", 6, seed) for seed in range(3)]
    assert run("merge", *files, "-o", tmp_path / "sum.safetensors")[0] == 0
    merged = deltas(tmp_path / "sum.safetensors")
    meant = [deltas(path) for path in files]
    assert any(key.endswith(".diff") for key in load_file(tmp_path / "sum.safetensors"))
    assert all(
        torch.allclose(delta, sum(x[name] for x in meant), rtol=1e-5, atol=1e-5) for name, delta in merged.items()
    )


def test_one_file_at_strength_one_keeps_every_tensor(tmp_path: Path) -> None:
    assert run("merge", DUOTONE, "-o", tmp_path / "same.safetensors")[0] == 0
    before, after = load_file(DUOTONE), load_file(tmp_path / "same.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_strengths_by_block_are_in_it(tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert run("merge", f"{MONO}:0.5@double=0", "-o", out, "--model", BASE)[0] == 0
    keys = load_file(out)
    assert keys
    assert not any("double_blocks" in key for key in keys)


def test_everything_about_the_sources_is_kept(tmp_path: Path) -> None:
    one, two = lora(tmp_path / "a.safetensors", 3, 1), lora(tmp_path / "b.safetensors", 4, 2)
    out = tmp_path / "sum.safetensors"
    run("merge", f"{one}:0.5", two, "-o", out)
    metadata = read_header(out).metadata
    assert metadata["ss_base_model_version"] == "tiny"
    assert "ss_tag_frequency" not in metadata
    assert [x["strength_model"] for x in json.loads(metadata["patchbay.sources"])] == [0.5, 1.0]
    assert json.loads(metadata["patchbay.history"])[1]["ss_tag_frequency"] == '{"b": 1}'


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "never.safetensors"
    for arguments, word in (
        ((DUOTONE, MONO), "Give the model"),
        ((f"{DUOTONE}@double=0",), "need the model"),
        ((lora(tmp_path / "a.safetensors", 3, 1), DUOTONE), "different models|no model can use both"),
        ((f"{DUOTONE}:0",), "strength 0"),
    ):
        code, said = run("merge", *arguments, "-o", out)
        assert code == 2, said
        assert any(part in said for part in word.split("|")), said
        assert not out.exists()


def test_an_argument_is_a_file_before_it_is_anything_else(tmp_path: Path) -> None:
    odd = tmp_path / "a@b:0.5"
    odd.write_bytes(b"")
    assert parse_source(str(odd)) == TypedSource(odd)
    assert parse_source(f"{odd}:2@te=0") == TypedSource(odd, 2.0, 2.0, "te=0")
    assert parse_source("x.safetensors:0.8:0.5") == TypedSource(Path("x.safetensors"), 0.8, 0.5)
    assert parse_source("C:\\x.safetensors:-1e-1") == TypedSource(Path("C:\\x.safetensors"), -0.1, -0.1)

"""Files with renumbered blocks: every tensor bit for bit, the scale of every layer, and maps measured from models."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lora_files import shared
from pack.nodes.core.check.files import check_file
from pack.nodes.core.cli.main import main
from pack.nodes.core.errors import BlockMapError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.file import LoraFile, read_lora
from pack.nodes.core.match.depth import MADE_FOR
from pack.nodes.core.match.readings import understand
from pack.nodes.core.match.renumbered import renumber_file
from pack.nodes.core.model.block_map import parse_block_map
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[4]
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"
DUOTONE = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    code = main([str(x) for x in arguments], out, out)
    return code, out.getvalue()


def lora_of(path: Path) -> LoraFile:
    return read_lora(read_header(path))


def pruned_base(path: Path, dropped: str, noise: float = 0.1) -> Path:
    """The shipped base without one of its single blocks, every weight a little elsewhere, as after training."""
    random = torch.Generator().manual_seed(5)
    number, kept = int(dropped), {}
    for key, tensor in load_file(BASE).items():
        kind, _, rest = key.partition(".")
        if kind == "single_blocks":
            index = int(rest.partition(".")[0])
            if index == number:
                continue
            key = f"{kind}.{index - (index > number)}.{rest.partition('.')[2]}"
        spread = tensor.float().std() if tensor.dim() > 1 else 0.0
        kept[key] = (tensor.float() + noise * spread * torch.randn(tensor.shape, generator=random)).to(tensor.dtype)
    save_file(kept, path)
    return path


@pytest.mark.parametrize("dropped", ["0", "2"])
def test_the_map_to_a_pruned_model_is_measured(tmp_path: Path, dropped: str) -> None:
    model, out = pruned_base(tmp_path / "pruned.safetensors", dropped), tmp_path / "new.safetensors"
    code, said = run("remap", DUOTONE, "--from-model", BASE, "--to-model", model, "-o", out)
    assert code == 1, said  # the layers of the removed block are left out
    left = [x for x in range(4) if str(x) != dropped]
    pairs = ", ".join(f"{x}->{left.index(x) if x in left else '-'}" for x in range(4))
    assert f"block map: single_blocks: {pairs}" in said
    old, new = load_file(DUOTONE), load_file(out)
    for key, tensor in old.items():
        if "single_blocks" not in key:
            assert torch.equal(new.pop(key), tensor)
    for number, source in enumerate(left):
        for layer in ("linear1", "linear2"):
            for end in ("lora_up.weight", "lora_down.weight", "alpha"):
                wanted = old[f"lora_unet_single_blocks_{source}_{layer}.{end}"]
                assert torch.equal(new.pop(f"lora_unet_single_blocks_{number}_{layer}.{end}"), wanted)
    assert not new
    assert run("check", out, "--model", model)[0] == 0
    code, said = run("remap", out, "--from-model", BASE, "--to-model", model, "-o", tmp_path / "twice")
    assert code == 2
    assert "second time" in said
    assert not (tmp_path / "twice.safetensors").exists()


def test_the_map_to_the_pruned_student_is_found_without_being_told(tmp_path: Path) -> None:
    student = shared("students/pruned.safetensors")
    code, said = run("remap", DUOTONE, "--from-model", BASE, "--to-model", student, "-o", tmp_path / "new")
    assert code == 1
    assert "block map: single_blocks: 0->0, 1->1, 2->-, 3->2" in said


def test_a_file_for_28_blocks_lands_where_it_was_meant_on_40(tmp_path: Path) -> None:
    field = shared("field")
    source, model = field / "loras/anima_28_blocks_on_40.safetensors", field / "models/anima_tiny_40.safetensors"
    out = tmp_path / "new.safetensors"
    assert run("remap", source, "--model", model, "-o", out)[0] == 0
    published = read_header(out).metadata[MADE_FOR]
    assert "14->20" in published
    tensors, by_name = load_file(out), {layer.name: layer for layer in lora_of(out).layers}
    layers = {x.model_key: by_name[x.lora_key] for x in check_file(out, model).report.layers}
    for key, truth in load_file(field / "truth/anima_28_blocks_on_40.meant.safetensors").items():
        if "#" in key:
            continue
        layer = layers.pop(f"diffusion_model.{key.removeprefix('diffusion_model.')}")
        delta = layer.adapter.delta({role: tensors[name] for role, name in layer.roles.items()}, layer.scale).double()
        probe = torch.from_numpy(np.random.default_rng(delta.shape[1]).standard_normal(delta.shape[1]))
        assert torch.allclose(delta @ probe, truth.double(), rtol=1e-4, atol=1e-5)
    assert not layers
    again = field / "loras/anima_pre_remapped_on_40.safetensors"
    code, said = run("remap", again, "--model", model, "-o", tmp_path / "twice.safetensors")
    assert code == 2
    assert "numbered for this model already" in said
    code, said = run("remap", again, "--map", published, "--model", model, "-o", tmp_path / "twice.safetensors")
    assert code == 2
    assert "numbered for 40 blocks already" in said
    assert not (tmp_path / "twice.safetensors").exists()


def peft_file(path: Path, metadata: dict[str, str]) -> Path:
    random = torch.Generator().manual_seed(1)
    tensors = {
        f"transformer.blocks.{i}.attn.to_q.lora_{end}.weight": torch.randn(4, 4, generator=random)
        for i in range(3)
        for end in "AB"
    }
    save_file(tensors, path, metadata)
    return path


def test_scales_that_stand_in_metadata_by_block_number_come_along(tmp_path: Path) -> None:
    fields = {"lora_alpha": 8, "r": 4, "alpha_pattern": {"blocks.2.attn.to_q": 1}}
    text = json.dumps({f"transformer.{key}": value for key, value in fields.items()})
    source = peft_file(tmp_path / "a.safetensors", {"lora_adapter_metadata": text, "note": "kept"})
    out = tmp_path / "new.safetensors"
    assert run("remap", source, "--map", "blocks: 0->0, 1->2, 2->3", "-o", out)[0] == 0
    scales = {x.name: x.scale for x in understand(lora_of(out)).layers}
    assert scales == {
        "transformer.blocks.0.attn.to_q": 2.0, "transformer.blocks.2.attn.to_q": 2.0,
        "transformer.blocks.3.attn.to_q": 0.25,
    }  # fmt: skip
    assert read_header(out).metadata["note"] == "kept"
    plain = json.dumps({f"transformer.{key}": fields[key] for key in ("lora_alpha", "r")})
    source = peft_file(tmp_path / "b.safetensors", {"lora_adapter_metadata": plain})
    assert run("remap", source, "--map", "blocks: 0->0, 1->2, 2->3", "-o", out, "--overwrite")[0] == 0
    assert read_header(out).metadata["lora_adapter_metadata"] == plain  # true as it is


def test_maps_that_do_not_belong_to_the_file_are_refused(tmp_path: Path) -> None:
    lora = read_lora(read_header(peft_file(tmp_path / "a.safetensors", {})))
    with pytest.raises(BlockMapError, match=r"names blocks\.2, the map names 0-1 only"):
        renumber_file(lora, parse_block_map("blocks: 0->0, 1->2"), None)
    with pytest.raises(BlockMapError, match="names no block of layers"):
        renumber_file(lora, parse_block_map("layers: 0->0, 1->2"), None)


def test_what_moved_is_said_for_every_layer(tmp_path: Path) -> None:
    lora = read_lora(read_header(peft_file(tmp_path / "a.safetensors", {})))
    made = renumber_file(lora, parse_block_map("blocks: 0->0, 1->-, 2->13"), None)
    assert [made.described(layer.name) for layer in made.file.layers] == ["", "blocks.2 -> blocks.13"]
    assert [layer.name for layer in made.left_out] == ["transformer.blocks.1.attn.to_q"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from-model", BASE, "--to-model", BASE), "there is nothing to map"),
        ((), "no block map is published"),
        (("--map", "0->0, 0->1"), "left side twice"),
        (("--model", DUOTONE), "is a LoRA"),
    ],
)
def test_the_command_refuses_with_a_reason(tmp_path: Path, options: tuple[object, ...], said: str) -> None:
    code, text = run("remap", DUOTONE, *options, "-o", tmp_path / "x")
    assert code == 2
    assert said in text
    assert list(tmp_path.iterdir()) == []
    assert run("remap", DUOTONE, "--from-model", BASE, "-o", tmp_path / "x")[0] == 64

"""Stacks in the real ComfyUI: the same patches as one Apply LoRA after the other, and as the stock loader's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, native_lora, write
from support import some

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 2}


@pytest.fixture(scope="module")
def model(comfy_in_process: Any) -> Any:
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))


@pytest.fixture
def files(comfy_in_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    import folder_paths

    paths = {f"{name}.safetensors": str(tmp_path / f"{name}.safetensors") for name in ("one", "two")}
    for seed, path in enumerate(paths.values()):
        write(Path(path), native_lora(seed=seed, **SIZES))
    names, extensions = folder_paths.folder_names_and_paths["loras"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([*names, str(tmp_path)], extensions))
    folder_paths.filename_list_cache.pop("loras", None)
    return paths


def deltas(model: Any, patched: Any) -> dict[str, torch.Tensor]:
    import comfy.lora

    weights = {key: model.model_state_dict(key)[key].double() for key in patched.patches}
    return {
        key: comfy.lora.calculate_weight(found, weights[key].clone(), key, torch.float64) - weights[key]
        for key, found in patched.patches.items()
    }


def test_a_stack_of_any_pack_is_applied_like_the_stock_loader(
    pack_nodes: dict[str, Any], model: Any, files: dict[str, str]
) -> None:
    import comfy.sd
    import comfy.utils

    stack = [("one.safetensors", 0.5, 1.0), ("None", 1, 1), ["two.safetensors", -0.25, 1.0]]
    ours, _, report, text = pack_nodes["PatchbayApplyLoraStack"].execute(model, stack, "").args
    theirs = model
    for name, strength, _ in (stack[0], stack[2]):
        state = comfy.utils.load_torch_file(files[str(name)])
        theirs = comfy.sd.load_lora_for_models(theirs, None, state, strength, 0)[0]
    mine, reference = deltas(model, ours), deltas(model, theirs)
    assert mine.keys() == reference.keys()
    assert all(torch.equal(mine[key], reference[key]) for key in some(mine))
    assert report.level.value == "ok"
    assert {layer.owner for layer in report.layers} == set(files)
    assert "2 LoRAs" in report.summary
    assert "one.safetensors at 0.5" in text


def test_block_strengths_ride_along_and_the_nodes_own_win(
    pack_nodes: dict[str, Any], model: Any, files: dict[str, str]
) -> None:
    add = pack_nodes["PatchbayStackLora"]
    stack = add.execute("one.safetensors", 1.0, 1.0, "single_blocks=0").args[0]
    stack = add.execute("two.safetensors", 1.0, 1.0, "double_blocks=0", stack).args[0]
    assert stack == [("one.safetensors", 1.0, 1.0), ("two.safetensors", 1.0, 1.0)]
    patches = pack_nodes["PatchbayApplyLoraStack"].execute(model, stack, "single_blocks.1=0.5").args[0].patches
    counts = {key.split(".")[1] + key.split(".")[2]: [p[0] for p in found] for key, found in patches.items()}
    assert counts == {"double_blocks0": [1.0], "single_blocks0": [1.0], "single_blocks1": [0.5, 0.5]}


def test_another_file_under_the_same_name_is_another_stack(pack_nodes: dict[str, Any], files: dict[str, str]) -> None:
    """The nodes after it run again, because what they depend on changed: they cannot ask for the file themselves."""
    node = pack_nodes["PatchbayStackLora"]
    first = node.fingerprint_inputs("one.safetensors", strength_model=1.0)
    assert node.fingerprint_inputs("one.safetensors", strength_model=0.5) == first
    write(Path(files["one.safetensors"]), native_lora(seed=9, rank=8, **SIZES))
    second = node.fingerprint_inputs("one.safetensors")
    Path(files["one.safetensors"]).with_name("adapter_config.json").write_text("{}", encoding="utf-8")
    assert len({first, second, node.fingerprint_inputs("one.safetensors"), node.fingerprint_inputs("gone")}) == 4


def test_an_empty_stack_leaves_the_model_alone(pack_nodes: dict[str, Any], model: Any) -> None:
    patched, _, report, _ = pack_nodes["PatchbayApplyLoraStack"].execute(model, [], "").args
    assert patched.patches_uuid == model.patches_uuid
    assert "empty" in report.summary


def test_a_missing_file_or_a_wrong_block_names_the_lora(
    pack_nodes: dict[str, Any], model: Any, files: dict[str, str]
) -> None:
    from pack.nodes.core.strengths.stack import LoraStackError

    node = pack_nodes["PatchbayApplyLoraStack"]
    with pytest.raises(LoraStackError, match='there is no LoRA "three"'):
        node.execute(model, [("three", 1, 1)], "")
    with pytest.raises(LoraStackError, match=r"two\.safetensors: block strengths.*double_blocks\.0, single_blocks"):
        node.execute(model, [("two.safetensors", 1, 1)], "layers.3=0")


def test_bypass_stacks_without_touching_the_weights(
    pack_nodes: dict[str, Any], model: Any, files: dict[str, str]
) -> None:
    stack = [("one.safetensors", 0.5, 1.0), ("two.safetensors", 1.0, 1.0)]
    patched, _, report, _ = pack_nodes["PatchbayApplyLoraStack"].execute(model, stack, "", "bypass").args
    assert patched.patches == {}
    assert {layer.method for layer in some(report.layers)} == {"bypass"}
    assert {layer.state.value for layer in report.layers} == {"applied"}

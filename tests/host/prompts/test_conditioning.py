"""The conditioning nodes in the real ComfyUI: files, names, and conditioning that ComfyUI itself made."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def nodes(pack_nodes: dict[str, Any]) -> tuple[Any, Any]:
    return pack_nodes["PatchbaySaveConditioning"], pack_nodes["PatchbayLoadConditioning"]


@pytest.fixture(autouse=True)
def empty_folder(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, empty for each test; the pack's own stays behind it."""
    import folder_paths

    name = "patchbay_conditioning"
    paths, suffixes = folder_paths.folder_names_and_paths[name]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, name, ([str(tmp_path), *paths[1:]], suffixes))
    folder_paths.filename_list_cache.pop(name, None)
    return tmp_path


def cond(seed: int = 0, **options: Any) -> list[Any]:
    return [[torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(seed)).bfloat16(), options]]


def save(nodes: Any, *args: Any) -> Any:
    return nodes[0].PREPARE_CLASS_CLONE(None).execute(*args)


def load(nodes: Any, *args: Any) -> Any:
    return nodes[1].PREPARE_CLASS_CLONE(None).execute(*args)


def options(nodes: Any) -> list[str]:
    """What stands in the file list of Load Conditioning now."""
    return next(i for i in nodes[1].define_schema().inputs if i.id == "file_name").options


def test_the_folders_are_registered_behind_the_users_own(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the folders as the extension registered them
    import folder_paths
    from pack.nodes.host.comfyui.folders import BUNDLED_MODELS, register_model_folders

    before = {name: list(paths) for name, (paths, _) in folder_paths.folder_names_and_paths.items()}
    register_model_folders()
    assert before == {name: list(paths) for name, (paths, _) in folder_paths.folder_names_and_paths.items()}
    for name in ("diffusion_models", "loras", "vae_approx", "patchbay_conditioning"):
        assert before[name][-1] == str(BUNDLED_MODELS / name)
        assert len(before[name]) >= 2
    assert folder_paths.folder_names_and_paths["patchbay_conditioning"][1] == {".safetensors"}


def test_a_saved_prompt_is_listed_and_loaded_bit_for_bit(nodes: Any) -> None:
    name, text = save(nodes, cond(1, pooled_output=torch.ones(1, 3), guidance=3.5), "pets/mine", "a cat", False).args
    assert name == os.path.join("pets", "mine.safetensors")
    assert text.splitlines() == [f"{name}: 1 prompt", "a cat: 1 x 4 x 8 BF16"]
    save(nodes, cond(2), "pets/mine", "a dog", False, "two pets")
    assert name in options(nodes)
    conditioning, text = load(nodes, name, "A DOG ").args
    assert torch.equal(conditioning[0][0], cond(2)[0][0])
    assert text.splitlines()[0] == "Loaded: a dog: 1 x 4 x 8 bfloat16"
    assert "2 prompts" in text
    assert "a cat: 1 x 4 x 8 BF16" in text
    conditioning, _ = load(nodes, name, "").args
    assert torch.equal(conditioning[0][0], cond(1)[0][0])
    assert conditioning[0][1]["guidance"] == 3.5


def test_a_taken_name_needs_overwrite(nodes: Any) -> None:
    save(nodes, cond(1), "p", "a cat", False)
    with pytest.raises(ValueError, match="switch overwrite on"):
        save(nodes, cond(2), "p", "a cat", False)
    assert torch.equal(load(nodes, "p.safetensors", "a cat").args[0][0][0], cond(1)[0][0])
    save(nodes, cond(2), "p", "a cat", True)
    assert torch.equal(load(nodes, "p.safetensors", "a cat").args[0][0][0], cond(2)[0][0])


def test_a_file_in_another_folder_is_never_hidden(
    nodes: Any, empty_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    other = tmp_path_factory.mktemp("other")
    paths, suffixes = folder_paths.folder_names_and_paths["patchbay_conditioning"]
    entry = ([*paths, str(other)], suffixes)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "patchbay_conditioning", entry)
    save(nodes, cond(1), "bundled", "a cat", False)
    (empty_folder / "bundled.safetensors").rename(other / "bundled.safetensors")
    folder_paths.filename_list_cache.pop("patchbay_conditioning", None)
    assert load(nodes, "bundled.safetensors", "a cat").args[0]
    with pytest.raises(ValueError, match="bundled.safetensors: a file of this name comes with the pack"):
        save(nodes, cond(2), "bundled", "a dog", False)
    assert not (empty_folder / "bundled.safetensors").exists()


def test_mistakes_are_told_before_the_run(nodes: Any) -> None:
    save(nodes, cond(1), "p", "red heart", False)
    writer, reader = nodes
    assert reader.validate_inputs("p.safetensors", "red heart") is True
    assert reader.validate_inputs("p.safetensors", None) is True
    assert reader.validate_inputs(None, "x") is True
    assert 'Closest: "red heart"' in reader.validate_inputs("p.safetensors", "red hart")
    assert "Save Conditioning first" in reader.validate_inputs("gone.safetensors", "")
    assert "Save Conditioning first" in reader.validate_inputs("../p.safetensors", "")
    assert writer.validate_inputs("p", "x") is True
    assert writer.validate_inputs(None, None) is True
    assert "needs a name" in writer.validate_inputs("p", " ")
    assert "is not a name inside the conditioning folder" in writer.validate_inputs("../p", "x")


def test_a_foreign_file_is_refused(nodes: Any, empty_folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, empty_folder / "lora.safetensors")
    assert "is not a file of saved conditioning" in nodes[1].validate_inputs("lora.safetensors", "")
    with pytest.raises(ValueError, match="is not a file of saved conditioning"):
        save(nodes, cond(1), "lora", "a cat", False)


def test_the_fingerprint_follows_the_file(nodes: Any) -> None:
    save(nodes, cond(1), "p", "a cat", False)
    first = nodes[1].fingerprint_inputs("p.safetensors", "")
    assert first == nodes[1].fingerprint_inputs("p.safetensors", "")
    assert first != nodes[1].fingerprint_inputs("p.safetensors", "a cat")
    time.sleep(0.01)
    save(nodes, cond(2), "p", "a cat", True)
    assert first != nodes[1].fingerprint_inputs("p.safetensors", "")
    linked = nodes[1].fingerprint_inputs(None, "")
    assert linked != linked  # noqa: PLR0124 - NaN: always run


def test_conditioning_changed_by_stock_nodes_survives(nodes: Any) -> None:
    import node_helpers

    value = node_helpers.conditioning_set_values(
        cond(1, pooled_output=torch.randn(1, 8)),
        {"area": ("percentage", 0.5, 0.5, 0, 0), "strength": 0.8, "set_area_to_bounds": False, "guidance": 2.5},
    )
    value = node_helpers.conditioning_set_values(
        value, {"reference_latents": [torch.randn(1, 4, 2, 2)], "start_percent": 0.1, "mask": torch.ones(1, 4, 4)}
    )
    save(nodes, value, "p", "x", False)
    (loaded,) = load(nodes, "p.safetensors", "x").args[0]
    assert loaded[1].keys() == value[0][1].keys()
    assert loaded[1]["area"] == ("percentage", 0.5, 0.5, 0, 0)
    assert torch.equal(loaded[1]["reference_latents"][0], value[0][1]["reference_latents"][0])


def test_hooks_are_refused_by_name(nodes: Any, empty_folder: Path) -> None:
    import comfy.hooks

    with pytest.raises(ValueError, match=r"a file cannot hold hooks \(a value of type HookGroup\)"):
        save(nodes, cond(1, hooks=comfy.hooks.HookGroup()), "p", "x", False)
    assert not list(empty_folder.iterdir())


def test_comfyuis_own_nodes_and_ours_open_each_others_files(
    nodes: Any, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from comfy_extras import nodes_cond

    if not hasattr(nodes_cond, "ConditioningLoader"):
        pytest.skip("this ComfyUI has no Save Conditioning of its own")
    from pack.nodes.core.prompts.conditioning_values import same_conditioning

    options = {"pooled_output": torch.ones(1, 4), "reference_latents": [torch.zeros(2), torch.ones(3)], "guidance": 2.5}
    value = cond(3, **options)
    save(nodes, value, "ours", "a cat", False)
    paths = ([str(empty_folder)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "embeddings", paths)
    folder_paths.filename_list_cache.pop("embeddings", None)
    assert same_conditioning(nodes_cond.ConditioningLoader.execute("ours.safetensors").args[0], value)
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(empty_folder))
    nodes_cond.SaveConditioning.execute(value, "theirs")
    folder_paths.filename_list_cache.pop("patchbay_conditioning", None)
    assert same_conditioning(load(nodes, "theirs_00001_.safetensors", "").args[0], value)

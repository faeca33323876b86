"""``block_map``: a LoRA of one model on another that has blocks more or fewer, in the real ComfyUI."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import added
from nano_models import flux2_state_dict, kohya_lora, write

PRUNED = "single_blocks: 0->0, 1->-, 2->1"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules."""
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.core.files import header
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bake import save

    return types.SimpleNamespace(
        load=comfy.sd.load_diffusion_model_state_dict, apply=apply.apply_lora, save=save.save_lora,
        options=bake_file.make_options, header=header.read_header, State=report.LayerState,
        Error=errors.BlockMapError,
    )  # fmt: skip


def without_block(weights: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """A model without one of its single blocks."""
    kept: dict[str, torch.Tensor] = {}
    for key, value in weights.items():
        head, index, *rest = key.split(".")
        if head == "single_blocks" and int(index) >= number:
            if int(index) == number:
                continue
            key = ".".join((head, str(int(index) - 1), *rest))
        kept[key] = value
    return kept


@pytest.fixture(scope="module")
def models(host: Any) -> tuple[Any, Any]:
    """A model and the same without ``single_blocks.1``."""
    weights = flux2_state_dict(seed=4)
    return host.load(dict(weights)), host.load(without_block(weights, 1))


def apply(host: Any, path: Path | str, model: Any, block_map: str, **options: Any) -> Any:
    return host.apply(str(path), Path(path).name, model, None, 1.0, 1.0, "", block_map=block_map, **options)


@pytest.mark.parametrize("as_stock", [False, True])
def test_on_a_pruned_model_every_kept_block_gets_its_own_change(
    host: Any, models: tuple[Any, Any], tmp_path: Path, as_stock: bool
) -> None:
    path = Path(write(tmp_path / "style.safetensors", kohya_lora(seed=2)))
    whole = added(apply(host, path, models[0], "", as_stock=as_stock).model)
    result = apply(host, path, models[1], PRUNED, as_stock=as_stock)
    pruned = added(result.model)
    for key, delta in pruned.items():
        source = key.replace("single_blocks.1.", "single_blocks.2.")
        assert torch.equal(delta, whole[source]), key
    assert len(pruned) == len(whole) - 2
    layers = {x.lora_key: x for x in result.report.layers}
    assert layers["lora_unet_single_blocks_2_linear1"].reason == "single_blocks.2 -> single_blocks.1"
    assert layers["lora_unet_single_blocks_1_linear1"].state is host.State.NO_SUCH_LAYER
    assert "no counterpart" in layers["lora_unet_single_blocks_1_linear1"].reason
    assert f"Block map: {PRUNED}." in result.report.notes
    assert "2 have no place in this model" in result.report.summary


def test_saved_with_a_map_the_file_needs_none_and_gets_no_second(
    host: Any, models: tuple[Any, Any], tmp_path: Path
) -> None:
    path = Path(write(tmp_path / "style.safetensors", kohya_lora(seed=2)))
    meant = added(apply(host, path, models[1], PRUNED).model)
    saved = host.save(
        str(path), path.name, models[1], None, (1.0, 1.0), "", host.options("never", 0, 1.0, "as in the file"),
        tmp_path / "saved.safetensors", block_map=PRUNED,
    )  # fmt: skip
    assert host.header(saved.file.path).metadata["patchbay.block_map"] == PRUNED
    plain = added(apply(host, saved.file.path, models[1], "").model)
    assert plain.keys() == meant.keys()
    assert all(torch.equal(plain[key], meant[key]) for key in plain)
    with pytest.raises(host.Error, match="second time"):
        apply(host, saved.file.path, models[1], PRUNED)


def test_a_map_that_moves_nothing_changes_nothing(host: Any, models: tuple[Any, Any], tmp_path: Path) -> None:
    path = Path(write(tmp_path / "style.safetensors", kohya_lora(seed=2)))
    plain = apply(host, path, models[0], "")
    for text in ("auto", "single_blocks: 0-2->0-2"):
        result = apply(host, path, models[0], text)
        assert result.report.layers == plain.report.layers
        assert "nothing to renumber" in " ".join(result.report.notes)


def test_a_map_that_does_not_fit_the_model_is_refused(host: Any, models: tuple[Any, Any], tmp_path: Path) -> None:
    path = Path(write(tmp_path / "style.safetensors", kohya_lora(seed=2)))
    with pytest.raises(host.Error, match=r"single_blocks\.2 is not in this model"):
        apply(host, path, models[1], "single_blocks: 0->0, 1->-, 2->2")

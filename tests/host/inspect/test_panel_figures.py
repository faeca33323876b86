"""What the map is drawn from, against the patcher: every patch, its strength, and the true size of its change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, native_lora, write
from support import some

pytestmark = pytest.mark.host
SIZE = {"hidden": 128, "double": 2, "single": 3}


@pytest.fixture(scope="module")
def patched(comfy_in_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with one LoRA of ours by block and one that ComfyUI's own loader put on it."""
    import comfy.sd
    import comfy.utils
    from pack.nodes.host.apply.apply import apply_lora

    folder: Path = tmp_path_factory.mktemp("loras")
    model = comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZE))
    ours = write(folder / "ours.safetensors", kohya_lora(**SIZE))
    theirs = write(folder / "theirs.safetensors", native_lora(**SIZE))
    applied = apply_lora(ours, "ours.safetensors", model, None, 0.75, 1.0, "single_blocks.1=0.5", False).model
    return comfy.sd.load_lora_for_models(applied, None, comfy.utils.load_torch_file(theirs), 0.3, 0.0)[0]


def test_the_report_has_every_patch_of_the_patcher(patched: Any) -> None:
    from pack.nodes.host.inspect.patches import OTHER_NODE, inspect_patches

    report = inspect_patches(patched)
    found = Counter((layer.model_key, layer.strength) for layer in report.layers)
    assert found == Counter((key, entry[0]) for key, entries in patched.patches.items() for entry in entries)
    owners = {layer.owner: layer.strength for layer in report.layers if layer.block == "double_blocks.0"}
    assert owners == {"ours.safetensors": 0.75, OTHER_NODE: 0.3}


def test_the_figures_are_those_of_the_weights(patched: Any) -> None:
    """ComfyUI calculates each patched weight; the sizes in the report are those of the difference."""
    import comfy.lora
    from pack.nodes.host.inspect.patches import inspect_patches
    from pack.nodes.host.norms.patches import read_weight

    for layer in some(inspect_patches(patched).layers):
        weight = read_weight(patched, layer.model_key)
        assert weight is not None
        before = weight.float().clone()
        (entry,) = (
            one for one in patched.patches[layer.model_key] if one[0] == layer.strength and one[3] == layer.slice
        )
        after = comfy.lora.calculate_weight([entry], before.clone(), layer.model_key)
        delta = (after - before).flatten(1)
        assert float(delta.norm()) == pytest.approx(layer.strength * (layer.delta_norm or 0), rel=1e-4)
        assert float(torch.linalg.matrix_norm(delta, 2)) == pytest.approx(
            layer.strength * (layer.spectral_norm or 0), rel=1e-3
        )
        assert layer.shape == tuple(weight.shape)
        assert layer.norm_ratio == pytest.approx(float(delta.norm() / before.norm()), rel=1e-4)


def test_the_map_knows_the_layers_that_nothing_touches(patched: Any) -> None:
    from pack.nodes.host.inspect.patches import inspect_patches

    model = inspect_patches(patched).model
    assert model is not None
    assert set(model.layers) == {"double_blocks", "single_blocks", "other"}
    assert "img_attn.qkv" in model.layers["double_blocks"]
    assert "img_in" in model.layers["other"]

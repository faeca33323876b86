"""Models whose weights are packed and patched at every use (GGUF): merge, bypass and what the report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bypass_support import relative, sample
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 2}


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> Any:
    """As the bypass tests have it."""
    import types

    import comfy.samplers
    import comfy.sd
    from pack.nodes.host.apply import apply

    return types.SimpleNamespace(sd=comfy.sd, samplers=comfy.samplers, apply=apply.apply_lora)


def test_a_packed_model_takes_both_methods(host: Any, tmp_path: Path) -> None:
    from packed_ops import packed_model

    state = flux2_state_dict(seed=2, **SIZES)
    plain, packed = host.sd.load_diffusion_model_state_dict(dict(state)), packed_model(state)
    base = sample(host, packed)
    assert relative(base, sample(host, plain)) < 1e-5
    path = write(tmp_path / "x.safetensors", native_lora(seed=7, **SIZES))
    expected = sample(host, host.apply(path, "x", plain, None, 0.7, 0.0, "").model)
    methods = ("merge", "bypass", "auto", "cheapest")
    results = {m: host.apply(path, "x", packed, None, 0.7, 0.0, "", method=m) for m in methods}
    for method, result in results.items():
        assert {layer.state.value for layer in result.report.layers} == {"applied"}, method
        assert relative(sample(host, result.model), expected) < 1e-4
        assert torch.equal(sample(host, packed), base)
    assert any("patched anew whenever they are used" in note for note in results["merge"].report.notes)
    assert results["bypass"].model.patches == results["cheapest"].model.patches == {}
    assert any(note.startswith("Method cheapest took bypass") for note in results["cheapest"].report.notes)
    assert any("auto merged it:" in note and "unrounded" in note for note in results["auto"].report.notes)


def test_saving_against_a_packed_model_says_which_weight_it_cannot_read(host: Any, tmp_path: Path) -> None:
    from pack.nodes.core.bake.file import make_options
    from pack.nodes.core.errors import PatchbayError
    from pack.nodes.host.bake.save import save_lora
    from packed_ops import packed_model

    packed, lora = packed_model(flux2_state_dict(seed=2, **SIZES)), native_lora(seed=7, **SIZES)
    plain = write(tmp_path / "plain.safetensors", lora)
    name = next(key for key in lora if "lora_B" in key or "lora_up" in key).rpartition(".lora_")[0]
    dora = write(tmp_path / "dora.safetensors", {**lora, f"{name}.dora_scale": torch.ones(384, 1)})
    options, target = make_options("difference where needed", 0, 1.0, "as in the file"), tmp_path / "saved.safetensors"
    with pytest.raises(PatchbayError, match="cannot be read from this model .*Load the model unquantised"):
        save_lora(dora, "dora.safetensors", packed, None, (0.5, 1.0), "", options, target)
    assert not target.exists()
    assert save_lora(plain, "plain.safetensors", packed, None, (0.5, 1.0), "", options, target).file.path.exists()

"""Patches on buffers and on parameters of modules with modules inside are computed, and taken back when unloading."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_model

pytestmark = pytest.mark.host
KEY = "diffusion_model.blocks.1.modulation"


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """ComfyUI's loader and the node's application."""
    import comfy.model_management
    from pack.nodes.host.apply import apply

    return types.SimpleNamespace(management=comfy.model_management, apply=apply.apply_lora)


def loaded(host: Any, model: Any) -> torch.Tensor:
    host.management.load_models_gpu([model])
    return model.model.state_dict()[KEY].clone()


def test_a_table_of_modulations_is_changed_and_put_back(host: Any, tmp_path: Path) -> None:
    model = tiny_model("Wan 2.1 1.3B")
    before = model.model.state_dict()[KEY].clone()
    change = torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "x.safetensors"
    save_file({"diffusion_model.blocks.1.diff_m": change}, path)
    report = host.apply(str(path), "x", model, None, 0.5, 0.0, "")
    (layer,) = report.report.layers
    assert (layer.state.value, layer.model_key) == ("applied", KEY)
    after = loaded(host, report.model)
    assert torch.allclose(after - before, 0.5 * change, atol=1e-6)
    assert torch.equal(loaded(host, report.model), after)  # loading again does not add it twice
    report.model.detach()
    assert torch.equal(loaded(host, model), before)


def test_a_buffer_stays_a_buffer(host: Any, tmp_path: Path) -> None:
    model = tiny_model("Wan 2.1 1.3B")
    inner = model.model.diffusion_model
    inner.register_buffer("table", torch.zeros(3, 4))
    path = tmp_path / "x.safetensors"
    save_file({"diffusion_model.table.set_weight": torch.ones(3, 4)}, path)
    made = host.apply(str(path), "x", model, None, 1.0, 0.0, "")
    loaded(host, made.model)
    assert torch.equal(inner.table, torch.ones(3, 4))
    made.model.detach()
    assert torch.equal(inner.table, torch.zeros(3, 4))
    assert "table" in dict(inner.named_buffers())

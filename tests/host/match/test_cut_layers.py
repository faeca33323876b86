"""Layers that a file fuses and a model keeps apart, or the reverse: what lands is what the writer meant, to the row."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import pytest
from faithful_cases import added, probed_error

pytestmark = pytest.mark.host
FIELD = Path(__file__).resolve().parents[4] / "shared" / "data" / "field"
CASES = json.loads((FIELD / "expected.json").read_text()) if FIELD.exists() else {}
NAMES = (
    "krea2_fused_qkv_lora", "krea2_fused_qkv_lokr_divides", "krea2_fused_qkv_lokr_does_not_divide",
    "krea2_fused_qkv_dokr", "h3_diffusers_split", "h3_diffusers_split_gate_first", "h3_diffsynth_interleaved_qkv",
    "hv15_musubi_split", "hv_onetrainer_diffusers",
)  # fmt: skip
SAVED = (
    "krea2_fused_qkv_lora", "krea2_fused_qkv_lokr_divides", "krea2_fused_qkv_lokr_does_not_divide",
    "h3_diffusers_split", "h3_diffsynth_interleaved_qkv", "hv15_musubi_split",
)  # fmt: skip
"""Where the model keeps together what the file keeps apart, ComfyUI has names for the whole weight alone."""
needs_data = pytest.mark.skipif(not CASES, reason="the shared LoRA files are not here")


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bake import save

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, save=save.save_lora, options=bake_file.make_options
    )


@pytest.fixture(scope="module")
def models(host: Any) -> Any:
    """Models by their file, the last one kept."""
    known: dict[str, Any] = {}

    def load(file: str) -> Any:
        if file not in known:
            known.clear()
            known[file] = host.sd.load_diffusion_model(str(FIELD / file))
        return known[file]

    return load


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_it_lands_where_the_writer_meant(host: Any, models: Any, name: str) -> None:
    model = models(CASES[name]["model_file"])
    result = host.apply(str(FIELD / "loras" / f"{name}.safetensors"), name, model, None, 1.0, 0.0, "")
    assert probed_error(added(result.model), FIELD / "truth" / f"{name}.safetensors", model) < 1e-5


@needs_data
@pytest.mark.parametrize("name", SAVED)
def test_a_saved_file_does_the_same(host: Any, models: Any, tmp_path: Path, name: str) -> None:
    model = models(CASES[name]["model_file"])
    path = str(FIELD / "loras" / f"{name}.safetensors")
    saved = tmp_path / "saved.safetensors"
    host.save(path, name, model, None, (1.0, 0.0), "", host.options("never", 0, 1.0, "as in the file"), saved)
    result = host.apply(str(saved), "saved", model, None, 1.0, 0.0, "")
    assert probed_error(added(result.model), FIELD / "truth" / f"{name}.safetensors", model) < 5e-3

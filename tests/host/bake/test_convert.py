"""Converted files in the programs they are for: ComfyUI's own loader, diffusers and PEFT add what was meant."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import added, stock
from nano_models import flux2_state_dict, kohya_lora, write
from safetensors.torch import save_file
from writer_files import Deltas, difference, diffusers_model, write_tool_file
from writer_reference import relative_error

SIZES = {"hidden": 128, "double": 2, "single": 3}


@pytest.fixture(scope="module")
def bfl() -> dict[str, torch.Tensor]:
    return flux2_state_dict(seed=4, **SIZES)


@pytest.fixture(scope="module")
def model_file(bfl: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_file(bfl, path)
    return path


@pytest.fixture(scope="module")
def model(comfy_in_process: Any, bfl: dict[str, torch.Tensor]) -> Any:
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(dict(bfl))


def convert(source: Path | str, target: str, model_file: Path, out: Path) -> Path:
    from pack.nodes.core.cli.main import main

    said = io.StringIO()
    code = main(["convert", str(source), "--to", target, "--model", str(model_file), "-o", str(out)], said, said)
    assert code == 0, said.getvalue()
    return out


def as_kohya(tmp_path: Path, model: Any) -> tuple[Path, Deltas]:
    path = Path(write(tmp_path / "style.safetensors", kohya_lora(seed=2, **SIZES)))
    return path, added(stock(model, str(path)))


def merged(patched: Any, bfl: dict[str, torch.Tensor]) -> Deltas:
    """What a diffusers model has more than the base, under ComfyUI's keys."""
    return difference(dict(patched.state_dict()), bfl)


@pytest.mark.parametrize("name", ["diffusers_pipeline_lora", "diffusers_pipeline_patterns", "lycoris_lokr"])
def test_comfyui_reads_what_tools_wrote(
    name: str, model: Any, bfl: dict[str, torch.Tensor], model_file: Path, tmp_path: Path
) -> None:
    path, truth = write_tool_file(name, tmp_path, bfl)
    for target in ("comfy", "kohya"):
        out = convert(path, target, model_file, tmp_path / f"{target}.safetensors")
        found = added(stock(model, str(out)))
        assert found.keys() == truth.keys()
        assert relative_error(found, truth) < 2e-5


def test_diffusers_reads_it(model: Any, bfl: dict[str, torch.Tensor], model_file: Path, tmp_path: Path) -> None:
    from diffusers.loaders import Flux2LoraLoaderMixin

    path, truth = as_kohya(tmp_path, model)
    out = convert(path, "diffusers", model_file, tmp_path / "diffusers.safetensors")
    state = Flux2LoraLoaderMixin.lora_state_dict(str(out.parent), weight_name=out.name)
    transformer = diffusers_model(bfl)
    transformer.load_lora_adapter(dict(state), prefix="transformer")
    transformer.fuse_lora()
    transformer.unload_lora()
    found = merged(transformer, bfl)
    assert found.keys() == truth.keys()
    assert relative_error(found, truth) < 2e-5


def test_peft_reads_it(model: Any, bfl: dict[str, torch.Tensor], model_file: Path, tmp_path: Path) -> None:
    import peft

    path, truth = as_kohya(tmp_path, model)
    out = convert(path, "peft", model_file, tmp_path / "style")
    patched = peft.PeftModel.from_pretrained(diffusers_model(bfl), str(out)).merge_and_unload()
    found = merged(patched, bfl)
    assert found.keys() == truth.keys()
    assert relative_error(found, truth) < 2e-5

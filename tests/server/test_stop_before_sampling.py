"""Check LoRA in a real queue: "stop the run" stops it before the sampler, and a LoRA that fits stops nothing."""

from __future__ import annotations

from typing import Any

import pytest
from nano_models import flux2_state_dict, native_lora, write

from tools.client import ComfyClient
from tools.server import ComfyServer

MODEL, FITS, UNFIT = "check-nano.safetensors", "check-fits.safetensors", "check-unfit.safetensors"


@pytest.fixture(scope="module")
def files(comfy_server: ComfyServer) -> None:
    """A tiny model for the constant conditioning of LotusConditioning, a LoRA for it and one for another size."""
    models = comfy_server.base / "models"
    for folder in ("diffusion_models", "loras"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    sizes = {"hidden": 128, "double": 1, "single": 1}
    write(models / "diffusion_models" / MODEL, flux2_state_dict(context=1024, **sizes))
    write(models / "loras" / FITS, native_lora(context=1024, **sizes))
    write(models / "loras" / UNFIT, native_lora(hidden=256, double=1, single=1, context=1024))


def prompt(lora_name: str, when_unfit: str, seed: int) -> dict[str, Any]:
    """Sampling beside the check; nothing but the model joins the two."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "model": ("UNETLoader", {"unet_name": MODEL, "weight_dtype": "default"}),
        "text": ("LotusConditioning", {}),
        "latent": ("EmptyFlux2LatentImage", {"width": 64, "height": 64, "batch_size": 1}),
        "sampler": ("KSampler", {
            "model": ["model", 0], "positive": ["text", 0], "negative": ["text", 0], "latent_image": ["latent", 0],
            "seed": seed, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
        }),
        "save": ("SaveLatent", {"samples": ["sampler", 0], "filename_prefix": "check"}),
        "check": ("PatchbayCheckLora", {"model": ["model", 0], "lora_name": lora_name, "when_unfit": when_unfit}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def finished(comfy: ComfyClient, lora_name: str, when_unfit: str, seed: int) -> dict[str, Any]:
    """The history entry, also of a run that failed."""
    queued = comfy.queue(prompt(lora_name, when_unfit, seed))
    try:
        return comfy.wait(queued, 120.0)
    except Exception:
        return comfy.get_json(f"/history/{queued}")[queued]


@pytest.mark.usefixtures("files")
def test_stop_the_run_stops_before_the_sampler(comfy: ComfyClient) -> None:
    entry = finished(comfy, UNFIT, "stop the run", seed=1)
    errors = [detail for kind, detail in entry["status"]["messages"] if kind == "execution_error"]
    assert len(errors) == 1
    assert errors[0]["node_id"] == "check"
    assert "check-unfit.safetensors does not fit FLUX.2" in errors[0]["exception_message"]
    assert "sampler" not in errors[0]["executed"]
    assert "save" not in entry["outputs"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("lora_name", "mode", "seed"), [(FITS, "stop the run", 2), (UNFIT, "warn", 3)])
def test_otherwise_the_run_goes_on(comfy: ComfyClient, lora_name: str, mode: str, seed: int) -> None:
    entry = finished(comfy, lora_name, mode, seed)
    assert entry["status"]["status_str"] == "success"
    assert "save" in entry["outputs"]
    report = entry["outputs"]["check"]["patchbay_report"][0]
    assert report["kind"] == "check"
    assert report["verdict"] == ("fits" if lora_name == FITS else "does not fit")
    assert entry["outputs"]["check"]["text"][0].startswith(lora_name)

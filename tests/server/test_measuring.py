"""Measuring in a real queue: a benchmark stops at once when asked to, and the next prompt runs as if it never was."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from nano_models import flux2_state_dict, native_lora, write

from tools.client import ComfyClient, PromptFailed
from tools.server import ComfyServer

MODEL, LORA = "measure-nano.safetensors", "measure-lora.safetensors"
STOP_SECONDS = 120.0
"""The most that a stop may take on the busiest machine; the benchmark's own time is five times as long."""


@pytest.fixture(scope="module")
def files(comfy_server: ComfyServer) -> None:
    """A tiny model for the constant conditioning of LotusConditioning, and a LoRA for it."""
    models = comfy_server.base / "models"
    for folder in ("diffusion_models", "loras"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    sizes = {"hidden": 128, "double": 1, "single": 1}
    write(models / "diffusion_models" / MODEL, flux2_state_dict(context=1024, **sizes))
    write(models / "loras" / LORA, native_lora(context=1024, **sizes))


def prompt(budget: float, steps: int, conditions: str = "plain\nLoRA") -> dict[str, Any]:
    """ComfyUI's own LoRA loader in the benchmark, so that only measuring is tested."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "model": ("UNETLoader", {"unet_name": MODEL, "weight_dtype": "default"}),
        "lora": ("LoraLoaderModelOnly", {"model": ["model", 0], "lora_name": LORA, "strength_model": 1.0}),
        "text": ("LotusConditioning", {}),
        "latent": ("EmptyFlux2LatentImage", {"width": 64, "height": 64, "batch_size": 1}),
        "bench": ("PatchbayBenchmark", {
            "model_a": ["model", 0], "model_b": ["lora", 0], "positive": ["text", 0], "negative": ["text", 0],
            "latent_image": ["latent", 0], "conditions": conditions, "seed": 1, "steps": steps, "cfg": 1.0,
            "sampler_name": "euler", "scheduler": "simple", "time_budget": budget, "precision": 0.1,
            "save_results": True, "block_times": True,
        }),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


@pytest.mark.usefixtures("files")
def test_a_benchmark_stops_at_once_and_leaves_nothing_behind(comfy: ComfyClient, comfy_server: ComfyServer) -> None:
    queued = comfy.queue(prompt(600.0, 200))
    deadline = time.monotonic() + 120
    while not comfy.get_json("/queue")["queue_running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3.0)  # well inside the loop: two cycles alone would take longer
    comfy.post_json("/interrupt", {})
    with pytest.raises(PromptFailed, match=r"interrupted at node bench \(PatchbayBenchmark\)"):
        comfy.wait(queued, STOP_SECONDS)
    outputs = comfy.run(prompt(1.0, 3), 120.0)
    measured = outputs["bench"]["patchbay_measurement"][0]
    assert [condition["label"] for condition in measured["conditions"]] == ["plain", "LoRA"]
    assert {run["outcome"] for run in measured["runs"]} == {"success"}
    assert measured["comparisons"][0]["latents"]["floor"] == 0
    results = comfy_server.base / "user" / "default" / "lora-patchbay" / "measurements.jsonl"
    saved = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert saved[-1]["context"]["conditions"]["plain"]["model"] == MODEL
    assert saved[-1]["context"]["conditions"]["plain"]["model_hash"]


@pytest.mark.usefixtures("files")
def test_wrong_conditions_are_refused_before_anything_runs(comfy: ComfyClient) -> None:
    with pytest.raises(Exception, match='line 1: "steps=many" is not understood'):
        comfy.run(prompt(1.0, 3, "plain | steps=many\nLoRA"), 60.0)

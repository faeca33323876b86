"""Apply LoRAs and Block Sweep in a running ComfyUI, also in one too old for Klein Nano's autoencoder: no pictures."""

from __future__ import annotations

import json
from typing import Any

from tools.client import ComfyClient

ROWS = [
    {"on": True, "lora": "klein-nano-duotone.safetensors", "strength": 0.8},
    {"on": True, "lora": "klein-nano-concept-instruments.safetensors", "strength": 0.6, "blocks": "double_blocks=0"},
    {"on": False, "lora": "klein-nano-monochrome.safetensors", "strength": 1.0},
]
SECONDS = 240.0


def _prompt() -> dict[str, Any]:
    """A model, one prompt, a latent of 64 pixels a side: rows on the model, patches shown, and a sweep of one step."""
    sampling = {"seed": 7, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    scene = {"positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], **sampling}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("UNETLoader", {"unet_name": "klein-nano-distilled.safetensors", "weight_dtype": "default"}),
        "2": ("PatchbayLoadConditioning", {"file_name": "klein-nano-prompts.safetensors", "prompt": "butterfly"}),
        "3": ("EmptyFlux2LatentImage", {"width": 64, "height": 64, "batch_size": 1}),
        "4": ("PatchbayApplyLoras", {"model": ["1", 0], "rows": json.dumps(ROWS), "method": "auto", "as_stock": False}),
        "5": ("KSampler", {"model": ["4", 0], "denoise": 1.0, **scene}),
        "6": ("SaveLatent", {"samples": ["5", 0], "filename_prefix": "rows"}),
        "7": ("PatchbayShowPatches", {"model": ["4", 0]}),
        "8": ("PatchbayBlockSweep", {
            "model": ["1", 0], "lora_name": ROWS[0]["lora"], "seeds": 1, "mode": "knock-out", "units": "kind of block",
            "distance": 0.1, "time_budget": 60.0, "resume": False, "feature_shift": False, "strength": 1.0,
            "own_groups": "", "method": "auto", **scene,
        }),
    }  # fmt: skip
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()}


def test_rows_are_applied_and_a_sweep_runs(comfy: ComfyClient) -> None:
    outputs = comfy.run(_prompt(), SECONDS)
    applied = outputs["4"]["patchbay_report"][0]
    assert applied["summary"].startswith("2 LoRAs, ")
    assert [row["lora"] for row in outputs["4"]["patchbay_rows"][0]["rows"]] == [row["lora"] for row in ROWS[:2]]
    shown = outputs["7"]["patchbay_report"][0]
    landed = {layer["model_key"] for layer in applied["layers"] if layer["state"] == "applied"}
    assert landed
    assert {layer["model_key"] for layer in shown["layers"]} == landed
    assert outputs["6"]["latents"]
    swept = outputs["8"]["patchbay_sweep"][0]
    assert not swept["pictures"]
    assert len(swept["rows"]) >= 2
    assert swept["blocks"]

"""Save LoRA and Schedule LoRA in a running ComfyUI, against its own loader and its own hook nodes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from support import some
from test_workflows import RUN_SECONDS
from workflow_checks import ROOT

from tools.client import ComfyClient
from tools.server import ComfyServer
from tools.workflow import load_workflow, to_api

SAVE = ROOT / "workflows" / "Save a LoRA with its block strengths (Klein Nano).json"
SCHEDULE = ROOT / "workflows" / "LoRA for some of the steps (Klein Nano).json"

Prompt = dict[str, Any]


@pytest.fixture
def prompts(comfy_server: ComfyServer, object_info: dict[str, Any]) -> dict[str, Prompt]:
    """Both workflows in API form."""
    version = comfy_server.runtime.version
    if tuple(map(int, version.split(".")[:2])) < (0, 24):
        pytest.skip(f"ComfyUI {version} is too old to run Klein Nano")
    return {path.stem: to_api(load_workflow(path), object_info) for path in (SAVE, SCHEDULE)}


def nodes_of(prompt: Prompt, kind: str) -> list[str]:
    return [node_id for node_id, node in prompt.items() if node["class_type"] == kind]


def picture(comfy: ComfyClient, outputs: dict[str, Any], node_id: str) -> Image.Image:
    (entry,) = outputs[node_id]["images"]
    return Image.open(io.BytesIO(comfy.view(entry))).convert("RGB")


def same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is None


def test_comfyuis_own_loader_gives_the_same_picture(
    comfy: ComfyClient, comfy_server: ComfyServer, prompts: dict[str, Prompt]
) -> None:
    prompt = prompts[SAVE.stem]
    outputs = comfy.run(prompt, RUN_SECONDS)
    (preview,) = nodes_of(prompt, "PreviewImage")
    expected = picture(comfy, outputs, preview)
    exact, half = nodes_of(prompt, "PatchbaySaveLora")
    names = {node_id: outputs[node_id]["patchbay_report"][0]["title"].split(" from ")[0] for node_id in (exact, half)}
    (apply,) = nodes_of(prompt, "PatchbayApplyLora")
    pictures = {}
    for node_id, name in some(names.items()):
        path = Path("patchbay") / name
        assert (comfy_server.base / "models" / "loras" / path).is_file()
        inputs = {"model": prompt[apply]["inputs"]["model"], "lora_name": str(path), "strength_model": 1.0}
        stock = {k: v for k, v in prompt.items() if k not in (exact, half)}
        stock[apply] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
        pictures[node_id] = picture(comfy, comfy.run(stock, RUN_SECONDS), preview)
    assert same(pictures[exact], expected)
    assert not same(pictures[half], expected)


def test_comfyuis_own_hook_node_gives_the_same_picture(comfy: ComfyClient, prompts: dict[str, Prompt]) -> None:
    prompt = prompts[SCHEDULE.stem]
    first, second = nodes_of(prompt, "PatchbayScheduleLora")
    (compare,) = nodes_of(prompt, "PatchbayCompareImages")
    through_hooks = {**prompt}
    props = {"strength": 1.0, "set_cond_area": "default", "hooks": [first, 0]}
    for name, node_id in (("positive", "901"), ("negative", "902")):
        inputs = {**props, "cond_NEW": prompt[first]["inputs"][name]}
        through_hooks[node_id] = {"class_type": "ConditioningSetProperties", "inputs": inputs}
    guider = next(k for k in nodes_of(prompt, "CFGGuider") if prompt[k]["inputs"]["positive"][0] == first)
    inputs = {**prompt[guider]["inputs"], "positive": ["901", 0], "negative": ["902", 0]}
    through_hooks[guider] = {"class_type": "CFGGuider", "inputs": inputs}
    pairs = []
    for each in (prompt, through_hooks):
        (pair,) = comfy.run(each, RUN_SECONDS)[compare]["patchbay_compare"][0]["pairs"]
        pairs.append({key: Image.open(io.BytesIO(comfy.view(pair[key]))).convert("RGB") for key in ("a", "b")})
    assert same(pairs[0]["a"], pairs[1]["a"])
    assert not same(pairs[0]["a"], pairs[0]["b"])
    assert nodes_of(prompt, "PatchbayScheduleLora") == [first, second]

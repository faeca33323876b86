"""The routes of the strength editor in a real ComfyUI, as ``js/types/strengths.d.ts`` and ``editor_routes.py`` say."""

from __future__ import annotations

import json
import re
import struct
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from tools.server import ComfyServer

LORA = "klein-nano-duotone.safetensors"
MODEL = "klein-nano-distilled.safetensors"
BLOCKS = {"double_blocks": [0, 1], "single_blocks": [0, 1, 2, 3]}


def _file_with(*names: str) -> bytes:
    """A safetensors file of 1x1 weights."""
    header = {n: {"dtype": "F16", "shape": [1, 1], "data_offsets": [2 * i, 2 * i + 2]} for i, n in enumerate(names)}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(2 * len(names))


FILES: dict[str, bytes] = {
    "empty": b"",
    "page": b"<!DOCTYPE html><title>Log in</title>",
    "json": b'{"error": "gated"}',
    "noise": bytes(range(256)),
    "cut": struct.pack("<Q", 64) + b'{"a":{"dtype":"F16","shape":[8],"data_offsets":[0,16]}}         ',
    "model": _file_with("double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"),
    "index": _file_with(f"double_blocks.{'9' * 5000}.img_attn.qkv.weight"),
}
"""What lies under the name of a LoRA or a model at times."""
SAID = {
    ("loras", "empty"): "the file is empty",
    ("loras", "page"): "an HTML page",
    ("loras", "json"): "a text in JSON form",
    ("loras", "noise"): "is not a safetensors, GGUF or PyTorch file",
    ("loras", "cut"): "the download is incomplete",
    ("loras", "model"): "has no layer of a LoRA",
    ("loras", "index"): "has no layer of a LoRA",
    ("diffusion_models", "empty"): "the file is empty",
    ("diffusion_models", "cut"): "the download is incomplete",
    ("diffusion_models", "index"): "names no blocks",
}


@pytest.fixture(scope="module")
def strange_files(comfy_server: ComfyServer) -> Iterator[Path]:
    """The files above, in the folders of LoRAs and of models; beside the folders lies one that nobody may see."""
    models = comfy_server.base / "models"
    made = [models / folder / f"strange-{name}.safetensors" for folder, name in SAID]
    for path, (_, name) in zip(made, SAID, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
    secret = models / "secret.safetensors"
    secret.write_bytes(FILES["model"])
    yield models
    for path in (*made, secret):
        path.unlink()


def ask(server: ComfyServer, route: str, **query: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a route."""
    try:
        with urllib.request.urlopen(f"{server.address}{route}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def of_model(server: ComfyServer, name: str, folder: str = "diffusion_models") -> tuple[int, dict[str, Any]]:
    return ask(server, "/patchbay/model_blocks", folder=folder, name=name)


def fields(interface: str) -> set[str]:
    """Member names of an interface in the contract."""
    text = (ROOT / "js" / "types" / "strengths.d.ts").read_text(encoding="utf-8")
    body = re.search(rf"interface {interface} \{{(.*?)\n\}}", text, re.DOTALL)
    assert body
    return set(re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE))


def blocks(layout: dict[str, Any]) -> dict[str, list[int]]:
    return {c["kind"]: [block["index"] for block in c["blocks"]] for c in layout["containers"]}


def test_the_blocks_of_a_lora_and_of_a_model(comfy_server: ComfyServer) -> None:
    status, lora = ask(comfy_server, "/patchbay/blocks", lora=LORA)
    assert (status, set(lora), lora["source"], lora["energy"]) == (200, fields("StrengthLayout"), "lora", None)
    _, measured = ask(comfy_server, "/patchbay/blocks", lora=LORA, energy="1")
    shares = [share for layers in measured["energy"].values() for share in layers.values()]
    assert len(shares) == 27
    assert sum(shares) == pytest.approx(1)
    assert measured["not_measured"] == 0
    status, model = of_model(comfy_server, MODEL)
    assert (status, set(model), model["source"]) == (200, fields("StrengthLayout"), "model")
    assert blocks(lora) == blocks(model) == BLOCKS
    for layout in (lora, measured, model):
        sets = [block["layers"] for container in layout["containers"] for block in container["blocks"]]
        assert max(sets) < len(layout["layer_sets"])
        assert all(set(layer) == fields("LayerShape") for layers in layout["layer_sets"] for layer in layers)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", 400),
        ("nope.safetensors", 200),
        ("../secret.safetensors", 200),
        ("../../models/secret.safetensors", 200),
        ("..\\secret.safetensors", 200),
        ("/etc/passwd", 200),
        ("a\0b", 200),
        ("x" * 5000, 200),
    ],
)
def test_no_name_leads_out_of_the_folders(
    comfy_server: ComfyServer, strange_files: Path, name: str, status: int
) -> None:
    for found, answer in (ask(comfy_server, "/patchbay/blocks", lora=name), of_model(comfy_server, name)):
        assert found == status
        assert set(answer) == {"error"}
        assert str(strange_files) not in answer["error"]
        assert len(answer["error"]) < 300
    inside = ask(comfy_server, "/patchbay/blocks", lora=str(strange_files / "secret.safetensors"))
    assert set(inside[1]) == {"error"}


def test_only_folders_of_models_are_read(comfy_server: ComfyServer) -> None:
    for folder in ("", "loras", "custom_nodes", "../loras"):
        status, answer = of_model(comfy_server, LORA, folder)
        assert status == 400
        assert "expected one of checkpoints, diffusion_models" in answer["error"]


@pytest.mark.parametrize(("folder", "name"), SAID)
def test_a_file_without_blocks_is_told_in_a_sentence(
    comfy_server: ComfyServer, strange_files: Path, folder: str, name: str
) -> None:
    """With 200: a workflow that names a broken file is no fault of the page's."""
    file = f"strange-{name}.safetensors"
    for energy in ("0", "1"):
        is_lora = folder == "loras"
        status, answer = (
            ask(comfy_server, "/patchbay/blocks", lora=file, energy=energy) if is_lora else of_model(comfy_server, file)
        )
        assert status == 200
        assert SAID[folder, name] in answer["error"]
        assert answer["error"].startswith(file)
        assert answer["error"].endswith(".")
        assert str(strange_files) not in answer["error"]


def test_another_file_under_the_same_name_is_read_anew(comfy_server: ComfyServer, strange_files: Path) -> None:
    path = strange_files / "diffusion_models" / "strange-changes.safetensors"
    try:
        path.write_bytes(FILES["model"])
        assert blocks(of_model(comfy_server, path.name)[1]) == {"double_blocks": [0], "single_blocks": [0]}
        path.write_bytes(_file_with("layers.0.attention.qkv.weight", "layers.1.attention.qkv.weight"))
        assert blocks(of_model(comfy_server, path.name)[1]) == {"layers": [0, 1]}
    finally:
        path.unlink()
    assert of_model(comfy_server, path.name)[1]["error"].startswith(f"There is no {path.name}")

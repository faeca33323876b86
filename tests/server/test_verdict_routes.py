"""The verdict before a run over HTTP, from the headers of the two files."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest
from gguf_files import write_gguf
from pack.nodes.core.files.header import read_header
from support import ROOT

from tools.client import ComfyClient
from tools.server import ComfyServer

LORA = "klein-nano-duotone.safetensors"
MODEL = {"folder": "diffusion_models", "model": "klein-nano-distilled.safetensors"}


def _get(server: ComfyServer, route: str, **query: str) -> tuple[int, dict[str, Any]]:
    address = f"{server.address}/patchbay/{route}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(address, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_lora_on_its_own_model_and_on_another(comfy_server: ComfyServer) -> None:
    _, own = _get(comfy_server, "verdict", lora=LORA, **MODEL)
    assert (own["fit"], own["level"], own["share"]) == ("fits", "ok", 1.0)
    _, other = _get(comfy_server, "verdict", lora=LORA, **{**MODEL, "model": "klein-nano-wide.safetensors"})
    assert (other["fit"], other["level"], other["share"]) == ("does not fit", "error", 0.0)
    assert "does not fit" in other["summary"]


def test_a_gguf_model_is_judged_wherever_its_loader_lists_it(comfy_server: ComfyServer) -> None:
    for name, fit in (("klein-nano-distilled", "fits"), ("klein-nano-wide", "does not fit")):
        header = read_header(ROOT / "models" / "diffusion_models" / f"{name}.safetensors")
        shapes = {key: info.shape for key, info in header.tensors.items()}
        write_gguf(comfy_server.base / "models" / "diffusion_models" / "sub" / f"{name}.gguf", shapes)
        for folder in ("unet_gguf", "model_gguf", "diffusion_models"):
            _, found = _get(comfy_server, "verdict", lora=LORA, folder=folder, model=f"sub/{name}.gguf")
            assert found["fit"] == fit, found


def test_a_model_of_a_run_is_judged_by_what_led_to_it(comfy_server: ComfyServer, comfy: ComfyClient) -> None:
    loader = {"class_type": "UNETLoader", "inputs": {"unet_name": MODEL["model"], "weight_dtype": "default"}}
    show = {"class_type": "PatchbayShowPatches", "inputs": {"model": ["1", 0]}}
    outputs = comfy.run({"1": loader, "2": show})
    inputs = outputs["2"]["patchbay_report"][0]["inputs"]
    _, own = _get(comfy_server, "verdict", lora=LORA, folder="ran", model=inputs["model"])
    assert own == _get(comfy_server, "verdict", lora=LORA, **MODEL)[1]
    _, unknown = _get(comfy_server, "verdict", lora=LORA, folder="ran", model="0" * 24)
    assert "No run had this model" in unknown["error"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"lora": LORA, "folder": "vae", "model": "x"}, 400, "folder is 'vae'"),
        ({"lora": LORA, "folder": "diffusion_models"}, 400, "Name the file"),
        ({"lora": "../../" + MODEL["model"], **MODEL}, 200, "There is no ../.."),
        ({"lora": "gone.safetensors", **MODEL}, 200, "There is no gone"),
        ({"lora": "a\0b", **MODEL}, 200, "There is no"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    comfy_server: ComfyServer, query: dict[str, str], status: int, words: str
) -> None:
    code, answer = _get(comfy_server, "verdict", **query)
    assert (code, list(answer)) == (status, ["error"])
    assert words in answer["error"]


def test_names_and_facts(comfy_server: ComfyServer) -> None:
    names = _get(comfy_server, "lora_names")[1]["names"]
    assert LORA in names
    facts = _get(comfy_server, "lora_facts", name=LORA)[1]
    assert facts["ranks"] == sorted(facts["ranks"])
    assert "FLUX.2" in facts["architecture"]
    assert "error" in _get(comfy_server, "lora_facts", name="../x")[1]


def test_many_lines_at_once_and_one_that_is_not_there(comfy_server: ComfyServer) -> None:
    body = json.dumps({"names": [LORA, "gone.safetensors"], **MODEL}).encode()
    request = urllib.request.Request(f"{comfy_server.address}/patchbay/lora_lines", body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        own, gone = json.load(response)["lines"]
    assert own["facts"] == _get(comfy_server, "lora_facts", name=LORA)[1]
    assert own["verdict"] == _get(comfy_server, "verdict", lora=LORA, **MODEL)[1]
    assert "There is no gone" in gone["facts"]["error"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{comfy_server.address}/patchbay/lora_lines", b"[1]", timeout=60)
    assert refused.value.code == 400


@pytest.mark.parametrize("name", [LORA, "gone.safetensors", "../../vae/x", ""])
def test_there_is_no_picture_but_those_of_loras(comfy_server: ComfyServer, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            f"{comfy_server.address}/patchbay/lora_preview?{urllib.parse.urlencode({'name': name})}", timeout=60
        )
    assert refused.value.code == 404

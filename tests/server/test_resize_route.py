"""A smaller copy of a LoRA over HTTP: written beside the user's files, never in place of one, with a measured error."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from safetensors import safe_open

from tools.server import ComfyServer

LORA = "klein-nano-duotone.safetensors"


def ask(server: ComfyServer, body: Any, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.address}/patchbay/resize", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_smaller_copy_is_written_and_nothing_replaced(comfy_server: ComfyServer) -> None:
    code, made = ask(comfy_server, {"name": LORA, "energy": 0.98})
    assert code == 200
    assert made["size_bytes"] < made["before_bytes"]
    assert 0 < made["error"] <= 0.02**0.5
    path = comfy_server.base / "models" / "loras" / made["file"]
    assert path.stat().st_size == made["size_bytes"]
    assert path.name.startswith("klein-nano-duotone-98")
    with safe_open(path, "pt") as file:
        assert {file.get_slice(key).get_shape()[0] for key in file.keys() if "lora_down" in key} == set(made["ranks"])
    _, again = ask(comfy_server, {"name": LORA, "energy": 0.98})
    assert again["file"] != made["file"]
    assert path.exists()
    for name in (made["file"], again["file"]):  # other tests choose from the same folder
        (comfy_server.base / "models" / "loras" / name).unlink()


@pytest.mark.parametrize(
    ("body", "kind", "code", "words"),
    [
        ({"name": LORA, "energy": 1.0}, "application/json", 400, "expected 0.5 to below 1"),
        ({"name": LORA, "energy": "nan"}, "application/json", 400, "expected 0.5 to below 1"),
        ({"name": LORA, "energy": 0.9}, "text/plain", 400, "Expected JSON"),
        (b"[", "application/json", 400, "Expected JSON"),
        ({"name": "../../x", "energy": 0.9}, "application/json", 200, "There is no"),
    ],
)
def test_what_is_wrong_is_a_sentence(comfy_server: ComfyServer, body: Any, kind: str, code: int, words: str) -> None:
    found, answer = ask(comfy_server, body, kind)
    assert found == code
    assert words in answer["error"]

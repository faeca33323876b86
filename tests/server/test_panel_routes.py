"""The panel's read-only routes, asked of a real ComfyUI."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support import some

from tools.client import ComfyClient
from tools.server import ComfyServer

LORA = "klein-nano-duotone.safetensors"


def ask(server: ComfyServer, route: str, **query: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a route."""
    try:
        with urllib.request.urlopen(f"{server.address}{route}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_lora_is_described(comfy_server: ComfyServer) -> None:
    status, answer = ask(comfy_server, "/patchbay/lora", name=LORA, measure="1")
    assert status == 200
    assert answer["report"]["schema"] == "patchbay.report"
    assert len(answer["report"]["layers"]) == 27
    assert all(layer["delta_norm"] > 0 and layer["spectral_norm"] > 0 for layer in some(answer["report"]["layers"]))
    unmeasured = ask(comfy_server, "/patchbay/lora", name=LORA)[1]
    assert {layer["delta_norm"] for layer in unmeasured["report"]["layers"]} == {None}


def test_sizes_that_nobody_keeps_are_refused_with_a_sentence(comfy_server: ComfyServer) -> None:
    status, answer = ask(comfy_server, "/patchbay/sizes", of="0" * 16)
    assert status == 200
    assert "run the node again" in answer["error"]


@pytest.mark.parametrize(
    ("name", "status"),
    [("", 400), ("nope.safetensors", 200), ("../../README.md", 200), ("/etc/passwd", 200), ("a\0b", 200)],
)
def test_no_name_leads_out_of_the_folders(comfy_server: ComfyServer, name: str, status: int) -> None:
    found, answer = ask(comfy_server, "/patchbay/lora", name=name)
    assert found == status
    assert set(answer) == {"error"}


@pytest.mark.parametrize(("model", "verdict"), [("base", "same"), ("wide", "other size")])
def test_two_files_are_compared(comfy_server: ComfyServer, model: str, verdict: str) -> None:
    query = {"lora": LORA, "folder": "diffusion_models", "model": f"klein-nano-{model}.safetensors"}
    answer = ask(comfy_server, "/patchbay/fit", **query)[1]
    assert answer["verdict"] == verdict
    lost = {"no_such_layer": 14, "shape_mismatch": 13}
    lands = {"base": ("fits", 1, {"applied": 27}), "wide": ("does not fit", 0, lost)}
    check = answer["check"]
    assert (check["verdict"], check["coverage"], check["counts"]) == lands[model]
    assert check["summary"].startswith(LORA)
    assert ask(comfy_server, "/patchbay/fit", **{**query, "folder": "custom_nodes"})[0] == 400


def test_what_is_loaded_is_told(comfy_server: ComfyServer) -> None:
    status, answer = ask(comfy_server, "/patchbay/loaded")
    assert status == 200
    assert answer["schema"] == "patchbay.loaded"


def test_pictures_of_help_pages_are_where_the_frontend_looks_for_them(comfy_server: ComfyServer) -> None:
    """It puts every name behind the folder of all pages, while the pictures lie beside their pages."""
    docs = Path(__file__).parents[2] / "js" / "docs"
    pictures = sorted(docs.glob("*/*.webp"))
    assert pictures
    for picture in (pictures[0], pictures[-1]):
        address = f"{comfy_server.address}/extensions/lora-patchbay/docs/{picture.name}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.headers["Content-Type"] == "image/webp"
            assert answer.read() == picture.read_bytes()
    for name in ("nothing.webp", "..%2Fen.webp", "*.webp"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{comfy_server.address}/extensions/lora-patchbay/docs/{name}", timeout=30)


@pytest.mark.parametrize("path", ["lib/ui/dom.mjs", "docs/PatchbayApplyLora/en.md"])
def test_a_browser_asks_again_for_modules(comfy_server: ComfyServer, path: str) -> None:
    """Else a page would go on with the modules of an older version after an upgrade."""
    folder = "lora-patchbay"
    with urllib.request.urlopen(f"{comfy_server.address}/extensions/{folder}/{path}", timeout=30) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"


def test_the_page_names_our_first_module(comfy_server: ComfyServer, comfy: ComfyClient) -> None:
    """ComfyUI's page waits for it, but asks late."""
    with urllib.request.urlopen(f"{comfy_server.address}/", timeout=30) as answer:
        (link,) = [link for link in answer.headers.get_all("Link") if "patchbay" in link]
    address, rel = link.split("; ")
    assert rel == 'rel="modulepreload"'
    # What ComfyUI's own list names is what the page will import.
    assert [f"</{path.lstrip('/')}>" for path in comfy.get_json("/extensions") if "patchbay" in path] == [
        f"</{address.strip('<>')}>"
    ]
    with urllib.request.urlopen(f"{comfy_server.address}/queue", timeout=30) as answer:
        assert answer.headers.get("Link") is None

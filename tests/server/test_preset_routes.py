"""The preset routes in a real ComfyUI, as ``js/types/presets.d.ts`` and ``nodes/host/routes/presets.py`` say."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support import some

from tools.server import ComfyServer

ROOT = Path(__file__).resolve().parents[2]
NAME = "Test \u84bc\u3044 preset"


class Routes:
    """Requests to the session's ComfyUI, with status and JSON."""

    def __init__(self, server: ComfyServer) -> None:
        self._address = server.client.address
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> tuple[int, Any]:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def routes(comfy_server: ComfyServer) -> Iterator[Routes]:
    found = Routes(comfy_server)
    yield found
    found.ask("DELETE", f"/patchbay/presets?name={quote(NAME)}")


def fields(interface: str) -> set[str]:
    """Member names of an interface in the contract."""
    text = (ROOT / "js" / "types" / "presets.d.ts").read_text(encoding="utf-8")
    body = re.search(rf"interface {interface} \{{(.*?)\n\}}", text, re.DOTALL)
    assert body
    return set(re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE))


def listed(routes: Routes) -> dict[str, Any]:
    status, data = routes.ask("GET", "/patchbay/presets")
    assert status == 200
    return {preset["value"]: preset for preset in data["presets"]}


def test_the_list_is_what_the_contract_says(routes: Routes) -> None:
    status, data = routes.ask("GET", "/patchbay/presets")
    assert status == 200
    assert set(data) == fields("PresetList")
    assert (data["schema"], data["version"], data["problems"]) == ("patchbay.presets", 1, [])
    for preset in data["presets"]:
        assert set(preset) == fields("Preset")
        assert set(preset["label"]) == set(preset["description"]) == {"en", "ja"}
        assert all(set(figure) == fields("PresetMeasure") for figure in preset["measured"])


def test_save_overwrite_and_delete(routes: Routes) -> None:
    body = {"name": NAME, "blocks": "*.attn=0.5", "description": "mine"}
    status, saved = routes.ask("POST", "/patchbay/presets", body)
    assert status == 200
    assert (saved["name"], saved["value"], saved["source"]) == (NAME, f"user/{NAME}", "user")
    assert listed(routes)[f"user/{NAME}"] == saved
    status, error = routes.ask("POST", "/patchbay/presets", body)
    assert status == 409
    assert set(error) == fields("PresetError")
    assert routes.ask("POST", "/patchbay/presets", {**body, "blocks": "all=0", "overwrite": True})[0] == 200
    assert listed(routes)[f"user/{NAME}"]["blocks"] == "all=0"
    assert routes.ask("DELETE", f"/patchbay/presets?name={quote(NAME)}") == (200, {"deleted": NAME})
    assert routes.ask("DELETE", f"/patchbay/presets?name={quote(NAME)}")[0] == 404


@pytest.mark.parametrize(
    ("body", "raw", "status"),
    [
        ({"name": "../x", "blocks": "all=1"}, None, 400),
        ({"name": "x", "blocks": "nonsense"}, None, 400),
        ({"blocks": "all=1"}, None, 400),
        (None, b"not json", 400),
        (None, b"[1]", 400),
        (None, b'{"name": "x", "blocks": "' + b"#" * 300_000 + b'"}', 413),
    ],
)
def test_bad_requests_are_refused_with_a_sentence(routes: Routes, body: Any, raw: bytes | None, status: int) -> None:
    code, answer = routes.ask("POST", "/patchbay/presets", body, raw)
    assert code == status
    assert answer["error"].endswith(".")
    assert not [value for value in listed(routes) if value.startswith("user/")]


def test_a_saved_preset_is_in_the_nodes_menu(routes: Routes) -> None:
    routes.ask("POST", "/patchbay/presets", {"name": NAME, "blocks": "all=0.25"})
    _, info = routes.ask("GET", "/object_info/PatchbayBlockStrengths")
    spec = info["PatchbayBlockStrengths"]["input"]["required"]["preset"]
    options = spec[0] if isinstance(spec[0], list) else spec[1]["options"]
    assert f"user/{NAME}" in options
    assert "Only attention" in options


def test_formats_and_conversion(routes: Routes) -> None:
    _, data = routes.ask("GET", "/patchbay/strengths/formats")
    assert set(data) == fields("FormatList")
    assert all(set(item) == fields("StrengthFormat") for item in some(data["formats"]))
    line = "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0"
    status, found = routes.ask("POST", "/patchbay/strengths/convert", {"text": line, "from": "lbw.hako.sd.17"})
    assert status == 200
    assert set(found) == fields("Converted")
    status, back = routes.ask("POST", "/patchbay/strengths/convert", {"text": found["text"], "to": "lbw.hako.sd.17"})
    assert (status, back["text"], back["lost"]) == (200, line, [])
    for body in ({"text": line}, {"text": line, "from": "a", "to": "b"}, {"text": line, "from": "lbw"}, {"from": "x"}):
        assert routes.ask("POST", "/patchbay/strengths/convert", body)[0] == 400

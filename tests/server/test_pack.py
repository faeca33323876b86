"""The pack in a real ComfyUI: it loads, and every node explains itself."""

from __future__ import annotations

import re
import urllib.error
from typing import Any

import pytest

from tools.client import ComfyClient
from tools.server import ComfyServer


def patchbay_nodes(object_info: dict[str, Any]) -> dict[str, Any]:
    """The pack's node types."""
    return {name: definition for name, definition in object_info.items() if name.startswith("Patchbay")}


def test_the_pack_loads_without_a_word_of_complaint(comfy_server: ComfyServer) -> None:
    # Up to the first run: later tests of the shared server send what is refused on purpose.
    log = comfy_server.log_text().partition("got prompt")[0]
    assert "lora-patchbay" in log
    assert "IMPORT FAILED" not in log
    # Old versions have one of their own about the database.
    traces = log.split("Traceback (most recent call last)")[1:]
    assert [trace for trace in traces if "lora-patchbay" in trace[:6000]] == []
    complaints = [
        line
        for line in log.splitlines()
        if "patchbay" in line.lower() and any(word in line.lower() for word in ("error", "warn", "deprecat", "fail"))
    ]
    assert complaints == []


def test_the_nodes_are_there(object_info: dict[str, Any]) -> None:
    assert len(patchbay_nodes(object_info)) >= 7


def test_every_node_has_a_name_a_place_and_a_description(object_info: dict[str, Any]) -> None:
    lacking = [
        name
        for name, definition in patchbay_nodes(object_info).items()
        if not definition["display_name"]
        or not definition["description"]
        or not definition["category"].startswith("LoRA Patchbay")
        or not definition["python_module"].endswith("lora-patchbay")
    ]
    assert lacking == []


def test_every_input_has_a_tooltip(object_info: dict[str, Any]) -> None:
    lacking = [
        f"{name}.{input_name}"
        for name, definition in patchbay_nodes(object_info).items()
        for group in ("required", "optional")
        for input_name, spec in (definition["input"].get(group) or {}).items()
        if len(spec) < 2 or not spec[1].get("tooltip")
    ]
    assert lacking == []


def test_every_output_has_a_tooltip(object_info: dict[str, Any]) -> None:
    lacking = [
        f"{name}.{output}"
        for name, definition in patchbay_nodes(object_info).items()
        for output, tooltip in zip(
            definition["output_name"], definition.get("output_tooltips") or [None] * 99, strict=False
        )
        if not tooltip
    ]
    assert lacking == []


def test_tooltips_are_sentences(object_info: dict[str, Any]) -> None:
    odd = [
        f"{name}.{input_name}: {spec[1]['tooltip']}"
        for name, definition in patchbay_nodes(object_info).items()
        for group in ("required", "optional")
        for input_name, spec in (definition["input"].get(group) or {}).items()
        if len(spec) > 1 and not re.search(r"[.)?]$|Example: ", (spec[1].get("tooltip") or ".").rstrip())
    ]
    assert odd == []


def test_the_web_side_is_served_once(comfy: ComfyClient) -> None:
    ours = [path for path in comfy.get_json("/extensions") if "patchbay" in path]
    assert ours == ["/extensions/lora-patchbay/patchbay.js"]
    assert comfy.get(ours[0])


@pytest.mark.parametrize(
    "path", ["/extensions/lora-patchbay/../../pyproject.toml", "/extensions/lora-patchbay/nope.js"]
)
def test_nothing_else_is_served(comfy: ComfyClient, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="40[0-9]"):
        comfy.get(path)

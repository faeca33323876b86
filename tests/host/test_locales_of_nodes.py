"""Every text of every node's schema stands in the locales, in both languages, and nothing else does.

ComfyUI shows the locale's text instead of the schema's, in English too, so the two must never drift apart. After a
change of a schema, ``PATCHBAY_WRITE_LOCALES=1 python3 patchbay.py test tests/host/test_locales_of_nodes.py`` (or the
same with pytest) rewrites the English file; the Japanese one is written by hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def schema_texts(node: Any) -> dict[str, Any]:
    """The texts of one node, in the form of ``nodeDefs.json``."""
    schema = node.GET_SCHEMA()
    inputs: dict[str, dict[str, str]] = {}
    for item in schema.inputs:
        _add_input(inputs, item, "")
    outputs = {
        str(index): {"name": output.display_name or output.id, "tooltip": output.tooltip}
        for index, output in enumerate(schema.outputs)
    }
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs,
        "outputs": outputs,
    }


def _add_input(inputs: dict[str, dict[str, str]], item: Any, prefix: str) -> None:
    """An input and, for a dynamic combo, those of all its options; ComfyUI writes a dot as an underscore."""
    inputs[prefix + item.id] = {"name": item.display_name or item.id, "tooltip": item.tooltip}
    for option in getattr(item, "options", None) or ():
        for inner in getattr(option, "inputs", ()):
            _add_input(inputs, inner, f"{prefix}{item.id}_")


@pytest.fixture(scope="module")
def schemas(pack_nodes: dict[str, Any]) -> dict[str, Any]:
    return {node_id: schema_texts(node) for node_id, node in pack_nodes.items()}


def shape(value: Any) -> Any:
    """All keys, without the texts."""
    return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else type(value).__name__


def texts(value: Any, path: str = "") -> dict[str, str]:
    """Every text by the path of its keys."""
    if isinstance(value, dict):
        return {name: text for key, item in value.items() for name, text in texts(item, f"{path}/{key}").items()}
    return {path: value}


def read(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def test_every_input_and_output_has_a_sentence_as_tooltip(schemas: dict[str, Any]) -> None:
    lacking = [
        path
        for path, text in texts(schemas).items()
        if path.endswith(("/tooltip", "/description")) and not (text or "").strip().endswith((".", "te=0.7"))
    ]
    assert not lacking


def test_english_is_what_the_schemas_say(schemas: dict[str, Any]) -> None:
    path = LOCALES / "en" / "nodeDefs.json"
    if os.environ.get("PATCHBAY_WRITE_LOCALES"):
        path.write_text(json.dumps(schemas, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read("en") == schemas


def test_japanese_has_the_same_keys(schemas: dict[str, Any]) -> None:
    assert shape(read("ja")) == shape(schemas)


def test_japanese_is_translated(schemas: dict[str, Any]) -> None:
    japanese, english = texts(read("ja")), texts(schemas)
    same = [path for path, text in english.items() if japanese[path] == text]
    assert not same

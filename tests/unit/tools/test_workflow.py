"""Saved workflows turned into API format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.errors import ToolError
from tools.workflow import load_workflow, saved_values, to_api

INFO: dict[str, Any] = {
    "Load": {
        "input": {"required": {"name": [["a.safetensors", "b.safetensors"], {}]}},
        "input_order": {"required": ["name"]},
        "output": ["MODEL"],
        "display_name": "Load It",
    },
    "Sample": {
        "input": {
            "required": {
                "steps": ["INT", {"default": 20}],
                "model": ["MODEL", {}],
                "seed": ["INT", {"control_after_generate": True}],
                "noise_seed": ["INT", {}],
                "plain_seed": ["INT", {"control_after_generate": False}],
                "cfg": ["FLOAT", {}],
            },
            "optional": {"note": ["STRING", {}], "wired": ["INT", {"forceInput": True}]},
        },
        "input_order": {
            "required": ["model", "seed", "noise_seed", "plain_seed", "steps", "cfg"],
            "optional": ["note", "wired"],
        },
        "output": ["LATENT"],
    },
    "Patch": {
        "input": {"required": {"model": ["MODEL", {}], "strength": ["FLOAT", {}]}},
        "output": ["MODEL"],
    },
    "Mode": {
        "input": {
            "required": {
                "mode": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "all", "inputs": {"required": {}}},
                            {"key": "range", "inputs": {"required": {"first": ["INT", {}], "last": ["INT", {}]}}},
                        ]
                    },
                ],
                "after": ["STRING", {}],
            }
        },
        "output": [],
    },
}


def node(node_id: int, kind: str, values: Any = None, inputs: Any = None, outputs: Any = None, mode: int = 0) -> Any:
    """A saved node."""
    return {
        "id": node_id,
        "type": kind,
        "mode": mode,
        "widgets_values": values,
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs or []],
        "outputs": outputs or [],
    }


def chain(middle: Any) -> dict[str, Any]:
    """Load -> middle -> Sample, over wires 1 and 2."""
    return {
        "nodes": [
            node(1, "Load", ["a.safetensors"]),
            middle,
            node(3, "Sample", [7, "fixed", 8, "randomize", 9, 4, 1.5, "x"], [("model", "MODEL", 2)]),
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]],
    }


def test_values_follow_the_order_of_the_node_and_skip_the_seed_controls() -> None:
    prompt = to_api(chain(node(2, "Patch", [0.5], [("model", "MODEL", 1)])), INFO)
    assert prompt["3"]["inputs"] == {
        "seed": 7,
        "noise_seed": 8,
        "plain_seed": 9,
        "steps": 4,
        "cfg": 1.5,
        "note": "x",
        "model": ["2", 0],
    }
    assert prompt["2"] == {
        "class_type": "Patch",
        "inputs": {"strength": 0.5, "model": ["1", 0]},
        "_meta": {"title": "Patch"},
    }
    assert prompt["1"]["_meta"]["title"] == "Load It"


def test_a_widget_that_is_newer_than_the_workflow_gets_its_default() -> None:
    info = {
        "input": {
            "required": {
                "old": ["FLOAT", {}],
                "chosen": [["a", "b"], {}],
                "given": ["COMBO", {"options": ["x", "y"], "default": "y"}],
                "switch": ["BOOLEAN", {}],
                "count": ["INT", {"min": 1}],
            }
        },
        "output": [],
    }
    prompt = to_api({"nodes": [node(1, "New", [0.5])], "links": []}, {"New": info})
    assert prompt["1"]["inputs"] == {"old": 0.5, "chosen": "a", "given": "y", "switch": False, "count": 1}


def test_values_by_name_are_taken_as_they_are() -> None:
    saved = node(3, "Sample", {"seed": 1, "cfg": 2.0, "panel": "ours"})
    assert saved_values(saved, INFO["Sample"]) == {"seed": 1, "cfg": 2.0}


@pytest.mark.parametrize(
    "middle",
    [
        node(2, "Reroute", None, [("", "*", 1)]),
        node(2, "Patch", [0.5], [("model", "MODEL", 1)], mode=4),
    ],
    ids=["reroute", "bypassed"],
)
def test_what_is_passed_through_comes_from_before(middle: Any) -> None:
    prompt = to_api(chain(middle), INFO)
    assert "2" not in prompt
    assert prompt["3"]["inputs"]["model"] == ["1", 0]


def test_a_muted_node_leaves_its_wires_open() -> None:
    prompt = to_api(chain(node(2, "Patch", [0.5], [("model", "MODEL", 1)], mode=2)), INFO)
    assert list(prompt) == ["1", "3"]
    assert "model" not in prompt["3"]["inputs"]


def test_a_bypassed_node_finds_an_input_of_the_same_type() -> None:
    middle = node(2, "Patch", [0.5], [("clip", "CLIP", None), ("model", "MODEL", 1)], mode=4)
    assert to_api(chain(middle), INFO)["3"]["inputs"]["model"] == ["1", 0]


def test_a_primitive_is_a_value() -> None:
    workflow = {
        "nodes": [
            node(1, "PrimitiveNode", [42, "fixed"]),
            node(2, "Patch", [0.5], [("model", "MODEL", None), ("strength", "FLOAT", 1)]),
        ],
        "links": [{"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 1, "type": "FLOAT"}],
    }
    assert to_api(workflow, INFO) == {
        "2": {"class_type": "Patch", "inputs": {"strength": 42}, "_meta": {"title": "Patch"}}
    }


def test_notes_are_left_out() -> None:
    assert to_api({"nodes": [node(1, "MarkdownNote", ["text"]), node(2, "Note", ["text"])], "links": []}, INFO) == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["range", 1, 5, "end"], {"mode": "range", "mode.first": 1, "mode.last": 5, "after": "end"}),
        (["all", "end"], {"mode": "all", "after": "end"}),
    ],
)
def test_a_dynamic_choice_brings_its_own_inputs(values: list[Any], expected: dict[str, Any]) -> None:
    assert saved_values(node(1, "Mode", values), INFO["Mode"]) == expected


def test_a_list_is_wrapped_so_that_it_is_no_wire() -> None:
    assert saved_values(node(2, "Patch", [["2", 0]]), INFO["Patch"]) == {"strength": {"__value__": ["2", 0]}}


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(ToolError, match="node 5: Gone is not known to this ComfyUI"):
        to_api({"nodes": [node(5, "Gone")], "links": []}, INFO)


def test_what_is_in_a_subgraph_stands_in_its_place() -> None:
    """Also in a subgraph within a subgraph; the ids are those of the frontend's API format."""
    inner = {
        "id": "inner", "name": "Inner", "nodes": [node(5, "Patch", [0.25], [("model", "MODEL", 1)])],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "MODEL"},
        ],
    }  # fmt: skip
    outer = inner | {"id": "outer", "nodes": [node(5, "inner", None, [("model", "MODEL", 1)])]}
    workflow = chain(node(2, "outer", None, [("model", "MODEL", 1)])) | {"definitions": {"subgraphs": [inner, outer]}}
    prompt = to_api(workflow, INFO)
    assert list(prompt) == ["1", "2:5:5", "3"]
    assert prompt["2:5:5"]["inputs"] == {"strength": 0.25, "model": ["1", 0]}
    assert prompt["3"]["inputs"]["model"] == ["2:5:5", 0]
    with pytest.raises(ToolError, match="subgraph Inner holds itself"):
        to_api(workflow | {"definitions": {"subgraphs": [inner, outer | {"nodes": [node(5, "outer")]}]}}, INFO)


@pytest.mark.parametrize(("text", "said"), [("{", "x.json: not JSON"), ("{}", "expected a workflow with a list")])
def test_a_file_that_is_no_workflow_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ToolError, match=said):
        load_workflow(path)


def test_a_workflow_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"nodes": [], "links": []}), encoding="utf-8")
    assert load_workflow(path) == {"nodes": [], "links": []}

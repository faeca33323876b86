"""What can be said against a saved workflow, given the node types of a ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tools.workflow import VIRTUAL, input_specs, options_of, saved_values, type_of
from tools.workflow_flat import flattened
from tools.workflow_node import INSIDE, OUTSIDE

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
RUNNABLE = [path for path in WORKFLOWS if "Klein Nano" in path.name]
"""Those that need only the bundled model."""
_ONE_FOR_A_MODEL = "FLUX.2 Klein 9B with and without a LoRA"
OPENED = [
    pytest.param(path, id=path.stem, marks=() if path in RUNNABLE or path.stem == _ONE_FOR_A_MODEL else pytest.mark.all)
    for path in WORKFLOWS
]
"""Of those that need another model's files one is opened each time, the rest with everything."""


def problems(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with a workflow, one sentence each."""
    subgraphs = (workflow.get("definitions") or {}).get("subgraphs") or []
    found = [problem for graph in (workflow, *subgraphs) for problem in _wire_problems(graph)]
    for node in flattened(workflow)["nodes"]:
        if node["type"] in VIRTUAL:
            continue
        definition = object_info.get(node["type"])
        where = f"node {node['id']} ({node['type']})"
        if definition is None:
            found.append(f"{where}: no such node type")
            continue
        found += [f"{where}: {problem}" for problem in _slot_problems(node, definition)]
        found += [f"{where}: {problem}" for problem in _value_problems(node, definition)]
    return found


def _wire_problems(workflow: Mapping[str, Any]) -> Iterator[str]:
    """Wires whose ends do not exist, do not agree, or are not known to their nodes."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for end, sockets, key in ((INSIDE, "inputs", "outputs"), (OUTSIDE, "outputs", "inputs")):
        slots = [{**each, "links": each["linkIds"], "link": each["linkIds"][0]} for each in workflow.get(sockets, [])]
        nodes[end] = {key: slots}
    for link in workflow["links"]:
        link_id, source, source_slot, target, target_slot, kind = link.values() if isinstance(link, dict) else link
        if source not in nodes or target not in nodes:
            yield f"wire {link_id}: from node {source} to node {target}, and one of them does not exist"
            continue
        output = nodes[source]["outputs"][source_slot]
        socket = nodes[target]["inputs"][target_slot]
        if link_id not in (output.get("links") or []):
            yield f"wire {link_id}: output {output['name']} of node {source} does not list it"
        if socket.get("link") != link_id:
            yield f"wire {link_id}: input {socket['name']} of node {target} has wire {socket.get('link')}"
        if not _types_agree(output["type"], kind) or not _types_agree(kind, socket["type"]):
            yield f"wire {link_id}: {output['type']} -> {kind} -> {socket['type']}"


def _slot_problems(node: Mapping[str, Any], definition: Mapping[str, Any]) -> Iterator[str]:
    """Sockets that the node type does not have, and required ones that nothing is connected to."""
    specs = input_specs(definition)
    for socket in node.get("inputs") or []:
        spec = specs.get(socket["name"])
        if spec is None:
            if not any(socket["name"].startswith(f"{name}.") for name in specs):
                yield f"has input {socket['name']}, the node type has {', '.join(specs)}"
        elif not _types_agree(socket["type"], type_of(spec)):
            yield f"input {socket['name']} is {socket['type']}, the node type says {type_of(spec)}"
    connected = {socket["name"] for socket in node.get("inputs") or [] if socket.get("link") is not None}
    values = saved_values(node, definition)
    for name in definition["input"].get("required") or {}:
        if name not in connected and name not in values and type_of(specs[name]) != "COMFY_AUTOGROW_V3":
            yield f"required input {name} has neither a wire nor a value"
    outputs = [output["type"] for output in node.get("outputs") or []]
    expected = list(definition["output"])
    if len(outputs) != len(expected) or not all(map(_types_agree, outputs, expected)):
        yield f"outputs are {outputs}, the node type has {expected}"


def _value_problems(node: Mapping[str, Any], definition: Mapping[str, Any]) -> Iterator[str]:
    """Values outside what the node type offers. Files that the workflow names as models need not be there."""
    models = {model["name"] for model in (node.get("properties") or {}).get("models") or []}
    specs = input_specs(definition)
    for name, value in saved_values(node, definition).items():
        spec = specs.get(name)
        if spec is None:
            continue
        options = options_of(spec)
        choices = spec[0] if isinstance(spec[0], list) else options.get("options")
        if type_of(spec) == "COMBO" and isinstance(choices, list) and value not in choices and value not in models:
            yield f"{name} is {value!r}, which is none of {choices[:12]}"
        if type_of(spec) in ("INT", "FLOAT"):
            if not isinstance(value, (int, float)):
                yield f"{name} is {value!r}, expected a number"
            elif not options.get("min", value) <= value <= options.get("max", value):
                yield f"{name} is {value}, expected {options.get('min')} to {options.get('max')}"


def _types_agree(one: str, other: str) -> bool:
    """Whether a wire may join these socket types; a type may be several, joined with commas."""
    if "*" in (one, other) or "COMFY_MATCHTYPE_V3" in (one, other):
        return True
    return bool(set(one.split(",")) & set(other.split(",")))

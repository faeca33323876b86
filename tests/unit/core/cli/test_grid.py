"""What the command ``grid`` makes of a workflow before any server is asked for a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import run
from pack.nodes.core.cli.exits import UsageError
from pack.nodes.core.cli.servers.cells import (
    GridWorkflow,
    cell_key,
    choices_of,
    cut_to_output,
    image_output,
    read_axis,
    read_workflow,
)
from pack.nodes.core.cli.servers.server import check_address, failure, refusal
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.grid.plan import plan_grid

LORAS = ["a/style-000010.safetensors", "a/style-000002.safetensors", "a/style.safetensors", "other.safetensors"]
INFO: dict[str, Any] = {
    "Lora": {"input": {"required": {"name": [LORAS, {}], "method": ["COMBO", {"options": ["merge", "bypass"]}]}}},
    "Decode": {"output": ["IMAGE"]},
    "Loader": {"output": ["MODEL"]},
}


def prompt() -> dict[str, Any]:
    return {
        "1": {"class_type": "Loader", "inputs": {"file": "x"}, "_meta": {"title": "The model"}},
        "2": {"class_type": "Lora", "inputs": {"model": ["1", 0], "name": LORAS[0], "strength": 1.0, "on": True}},
        "3": {"class_type": "Sampler", "inputs": {"model": ["2", 0], "seed": 7, "text": "a, b"}},
        "4": {"class_type": "Decode", "inputs": {"samples": ["3", 0]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
        "6": {"class_type": "Report", "inputs": {"model": ["1", 0]}},
    }


def workflow() -> GridWorkflow:
    return cut_to_output(prompt(), "", lambda kind: image_output(INFO, kind))


def axis(text: str) -> Any:
    return read_axis(text, workflow(), lambda kind, field: choices_of(INFO, kind, field))


def test_only_what_the_picture_needs_is_run_and_nothing_is_saved_on_the_server():
    cut = workflow()
    assert set(cut.prompt) == {"1", "2", "3", "4", "5"}
    assert cut.prompt[cut.output] == {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    assert prompt()["5"]["class_type"] == "SaveImage"


def test_a_node_that_decodes_is_shown():
    nodes = {name: node for name, node in prompt().items() if name != "5"}
    nodes["4"]["class_type"] = "VAEDecode"
    cut = cut_to_output(nodes, "", lambda kind: 0)
    assert cut.prompt[cut.output]["inputs"] == {"images": ["4", 0]}
    nodes["7"] = {"class_type": "VAEDecode", "inputs": {}}
    with pytest.raises(UsageError, match="it decodes in the nodes 4, 7"):
        cut_to_output(nodes, "", lambda kind: 0)


def test_axes_are_of_the_kind_that_the_input_has():
    assert [x.value for x in axis("2.strength=0.5,1").values] == [0.5, 1.0]
    assert [x.value for x in axis("Sampler.seed=7,8").values] == [7, 8]
    assert axis("3.seed=7,8").kept
    assert [x.value for x in axis("2.on=true,false").values] == [True, False]
    assert [x.value for x in axis("3.text=a, b | c").values] == ["a, b", "c"]
    assert [x.value for x in axis("The model.file=x,y").values] == ["x", "y"]
    assert axis("The model.file=x").name == "1.file"


def test_a_pattern_means_choices_and_epochs_come_in_their_order():
    found = axis("2.name=a/style*")
    assert [x.value for x in found.values] == [LORAS[1], LORAS[0], LORAS[2]]
    assert [x.label for x in found.values] == ["style-000002", "style-000010", "style"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2.strength", "expected NODE.INPUT=V1,V2"),
        ("strength=1", "expected NODE.INPUT=V1,V2"),
        ("9.strength=1", 'no node "9"'),
        ("2.weight=1", 'no input "weight"; it has name, strength, on'),
        ("2.model=1", "comes from node 1"),
        ("2.strength=x", '"x" is not a number'),
        ("2.on=yes", "not true or false"),
        ("2.name=b*", "no choice of this input"),
    ],
)
def test_an_axis_that_is_none_is_named(text, message):
    with pytest.raises(UsageError, match=message):
        axis(text)


def test_a_cell_is_its_prompt_and_its_key_is_of_what_runs():
    cut = workflow()
    plan = plan_grid([axis("2.strength=0.5,1"), axis("3.seed=7,8")])
    cells = {index: cut.cell(plan, index) for index in plan.cells}
    assert cells[1, 1]["2"]["inputs"]["strength"] == 1.0
    assert cells[0, 1]["3"]["inputs"]["seed"] == 8
    assert len({cell_key(cell, cut.output) for cell in cells.values()}) == 4
    renamed = {**cut.prompt, "1": {**cut.prompt["1"], "_meta": {"title": "another"}}}
    assert cell_key(renamed, cut.output) == cell_key(cut.prompt, cut.output)


def test_workflows_are_read_in_every_form(tmp_path: Path):
    path = tmp_path / "w.json"
    for data in (prompt(), {"prompt": prompt()}):
        path.write_text(json.dumps(data))
        assert read_workflow(path, dict) == prompt()
    for data in ([], {}, {"1": 2}, {"1": {"class_type": "x"}}, "x", 3):
        path.write_text(json.dumps(data))
        with pytest.raises(PatchbayError, match="expected a workflow"):
            read_workflow(path, dict)
    path.write_text("{")
    with pytest.raises(PatchbayError, match="not JSON"):
        read_workflow(path, dict)


@pytest.mark.parametrize("address", ["", "127.0.0.1:8188", "ftp://x", "file:///etc/passwd", "http://", "http://u:p@x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(PatchbayError, match="expected the address of a ComfyUI"):
        check_address(address)
    assert check_address(" http://a:8188/ ") == "http://a:8188"


def test_what_a_server_says_becomes_a_sentence():
    errors = {"7": {"class_type": "Lora", "errors": [{"message": "Value not in list", "details": "name: x"}]}}
    assert refusal(json.dumps({"node_errors": errors})) == "refused: node 7 (Lora): Value not in list: name: x"
    assert refusal("<html>") == "refused: <html>"
    detail = {"node_id": 3, "node_type": "S", "exception_type": "torch.OutOfMemoryError", "exception_message": "full"}
    entry = {"status": {"messages": [["execution_error", detail]]}}
    assert failure(entry) == "node 3 (S): OutOfMemoryError: full"
    assert "does not say why" in failure({})


def test_no_server_at_all_is_said(tmp_path: Path):
    (tmp_path / "w.json").write_text(json.dumps(prompt()))
    words = ("grid", tmp_path / "w.json", "--axis", "2.strength=1", "-o", tmp_path / "out", "--servers")
    code, out, err = run(*words, "http://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert "no ComfyUI answers there" in err
    assert run(*words, ",")[0] == 64
    assert not (tmp_path / "out").exists()


def test_where_every_server_dies_the_command_ends_and_says_so():
    distributed = pytest.importorskip("distributed")
    from pack.nodes.core.cli.servers.spread import Work, servers_at_work

    assert distributed
    work = Work({"a": prompt(), "b": prompt()}, "5", 5.0, "test")
    with servers_at_work(["http://127.0.0.1:9", "http://127.0.0.1:1"]) as runner:
        with pytest.raises(PatchbayError, match="no server is left: .*http://127.0.0.1:9: no ComfyUI answers there"):
            runner.run(work, lambda *_: None)
        assert set(runner.gone) == {"http://127.0.0.1:9", "http://127.0.0.1:1"}
    with servers_at_work(["http://127.0.0.1:9"]) as runner, pytest.raises(PatchbayError, match="What was made stays"):
        runner.run(work, lambda *_: None)

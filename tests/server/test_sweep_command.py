"""``lora-patchbay sweep`` through real servers: what the node finds, whoever makes the pictures and whoever dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nano_prompts import LORA, command, killed_after, pictures, prompt
from PIL import Image

from tools.client import ComfyClient
from tools.server import ComfyServer

EIGHT_BITS = 0.02
"""How far an effect may be off because the command's pictures are rounded to 8 bits, and those of the node are not."""


def sweeping(**change: Any) -> dict[str, Any]:
    """Klein Nano with the node Block Sweep, on two prompts."""
    nodes = prompt()
    sampler = nodes["6"]["inputs"]
    settings = {
        "seed": 7, "seeds": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple",
        "mode": "knock-out", "units": "kind of block", "distance": 0.1, "time_budget": 600.0, "strength": 1.0,
        "own_groups": "", "method": "merge", "feature_shift": False, "resume": False, "lora_name": LORA,
    }  # fmt: skip
    links = {name: sampler[name] for name in ("negative", "latent_image")}
    second = {**nodes["2"]["inputs"], "prompt": "cupcake"}
    kept = {name: node for name, node in nodes.items() if name not in ("5", "8", "9")}
    joined = {"conditioning_1": ["2", 0], "conditioning_2": ["10", 0]}
    inputs = {"model": ["1", 0], "positive": ["11", 0], **links, "vae": ["7", 0], **settings, **change}
    return {
        **kept,
        "10": {"class_type": "PatchbayLoadConditioning", "inputs": second},
        "11": {"class_type": "ConditioningCombine", "inputs": joined},
        "6": {"class_type": "PatchbayBlockSweep", "inputs": inputs},
    }


def saved(folder: Path, nodes: dict[str, Any]) -> Path:
    path = folder / "workflow.json"
    path.write_text(json.dumps(nodes))
    return path


def effects(table: dict[str, Any]) -> list[float]:
    return [row["effect"]["mean"] for row in table["rows"]]


def test_it_finds_what_the_node_finds_and_goes_on_where_it_was(
    comfy: ComfyClient, comfy_server: ComfyServer, tmp_path: Path
) -> None:
    nodes, out = sweeping(), tmp_path / "out"
    (node,) = comfy.run(nodes)["6"]["patchbay_sweep"]
    words = ("sweep", saved(tmp_path, nodes), "-o", out, "--servers", comfy_server.address)
    code, found, err = command(*words)
    assert (code, err) == (0, "")
    for name in ("mode", "grouping", "verdict", "blocks", "level", "title", "prompts", "seeds", "floor"):
        assert found[name] == node[name], name
    for name in ("name", "selectors", "layers", "energy", "kept", "dead"):
        assert [row[name] for row in found["rows"]] == [row[name] for row in node["rows"]], name
    assert effects(found) == pytest.approx(effects(node), abs=EIGHT_BITS)
    assert found["missed"]["mean"] == pytest.approx(node["missed"]["mean"], abs=EIGHT_BITS)
    (server,) = found["servers"]
    assert server["floor"]["identical"]
    assert server["made"] == len(found["cells"]) == len(pictures(out))
    assert json.loads((out / "report.json").read_text()) == found
    with Image.open(out / "sheet.png") as sheet:
        assert json.loads(sheet.info["prompt"])["6"]["class_type"] == "KSampler"
    code, again, _ = command(*words)
    assert code == 0
    assert {cell["state"] for cell in again["cells"]} == {"kept"}
    assert again["rows"] == found["rows"]


@pytest.mark.all
@pytest.mark.parametrize("units", ["block", "block and stream", "block and part", "own groups"])
def test_its_units_are_those_of_the_node(
    comfy: ComfyClient, comfy_server: ComfyServer, tmp_path: Path, units: str
) -> None:
    nodes = sweeping(units=units, mode="solo", own_groups="a: double_blocks.*, other; single_blocks.*")
    (node,) = comfy.run(nodes)["6"]["patchbay_sweep"]
    _, found, _ = command("sweep", saved(tmp_path, nodes), "-o", tmp_path / "out", "--servers", comfy_server.address)
    for name in ("name", "selectors", "layers", "energy"):
        assert [row[name] for row in found["rows"]] == [row[name] for row in node["rows"]], name
    assert effects(found) == pytest.approx(effects(node), abs=EIGHT_BITS)
    assert found["blocks"] == node["blocks"]


@pytest.mark.all
def test_apply_lora_is_swept_on_top_of_its_own_strengths(comfy_server: ComfyServer, tmp_path: Path) -> None:
    nodes = prompt()
    nodes["5"]["inputs"]["blocks"] = "other=0  # not wanted\nsingle_blocks.3=0.5"
    words = (
        "sweep",
        saved(tmp_path, nodes),
        "--servers",
        comfy_server.address,
        "--mode",
        "search",
        "--distance",
        "0.2",
    )
    code, found, err = command(*words, "-o", tmp_path / "out", "--axis", "2.prompt=butterfly,cupcake", "--seeds", "2")
    assert (code, err) == (0, "")
    assert (found["prompts"], found["seeds"], found["mode"]) == (2, 2, "search")
    names = [row["name"] for row in found["rows"]]
    assert names == ["double_blocks.0", "double_blocks.1", *(f"single_blocks.{i}" for i in range(4))]
    assert found["blocks"].startswith("other=0, single_blocks.3=0.5, ")
    assert found["missed"]["mean"] <= 0.2
    scenes = [cell["scene"] for cell in found["cells"] if not cell["blocks"]]
    assert scenes == [f"prompt {name}, seed {seed}" for name in ("butterfly", "cupcake") for seed in (7, 8)]


@pytest.mark.all
@pytest.mark.parametrize("mode", ["knock-out", "search"])
def test_two_servers_find_what_one_finds_though_one_is_killed(
    comfy_server: ComfyServer, two_servers: list[ComfyServer], tmp_path: Path, mode: str
) -> None:
    pytest.importorskip("distributed")
    workflow = saved(tmp_path, sweeping(units="block", steps=4, mode=mode))
    alone, both = tmp_path / "alone", tmp_path / "both"
    code, one, _ = command("sweep", workflow, "-o", alone, "--servers", comfy_server.address)
    assert code == 0
    first, second = two_servers
    servers = f"{first.address},{second.address}"
    with killed_after(second.process, both, 6) as killed:
        code, two, _ = command("sweep", workflow, "-o", both, "--servers", servers)
    assert killed
    assert killed[0] < len(one["cells"])
    assert code == 1
    assert pictures(both) == pictures(alone)
    for name in ("rows", "blocks", "missed", "interactions", "bundles", "floor", "summary"):
        assert two[name] == one[name], name
    assert all(server["floor"]["identical"] and server["comfyui"] for server in two["servers"])
    assert [server["made"] > 0 for server in two["servers"]] == [True, True]
    assert sum(server["made"] for server in two["servers"]) == len(two["cells"])
    assert "no ComfyUI answers there" in two["servers"][1]["problem"]

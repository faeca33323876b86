"""``lora-patchbay grid`` through real servers: the pictures of one server, whoever dies."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from nano_prompts import LORA, command, killed_after, pictures, prompt
from PIL import Image

from tools.client import ComfyClient
from tools.server import ComfyServer, free_port

AXES = ("--axis", "PatchbayApplyLora.strength_model=0.5,1", "--axis", "KSampler.seed=7,8")


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "nano.json"
    path.write_text(json.dumps(prompt()))
    return path


def grid(*words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and messages of the command."""
    return command("grid", *words)


def test_a_grid_over_addresses_of_which_one_is_dead(
    comfy: ComfyClient, comfy_server: ComfyServer, workflow: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    alone, address = tmp_path / "alone", comfy_server.address
    code, report, err = grid(workflow, *AXES, "-o", alone, "--servers", address)
    assert (code, err) == (0, "")
    assert [cell["state"] for cell in report["cells"]] == ["made"] * 4
    assert report["cells"][1]["reference"] == "strength_model 0.5, seed 8"
    (server,) = report["servers"]
    assert (server["made"], server["floor"]["identical"]) == (4, True)
    assert server["comfyui"] == comfy_server.runtime.version
    with Image.open(alone / "sheet.png") as sheet:
        assert json.loads(sheet.info["prompt"])["9"]["class_type"] == "PreviewImage"
    assert not list((comfy_server.base / "output").glob("never*"))
    code, report, _ = grid(workflow, *AXES, "-o", alone, "--servers", address, "--no-floor")
    assert [cell["state"] for cell in report["cells"]] == ["kept"] * 4

    both, dead = tmp_path / "both", f"http://127.0.0.1:{free_port()}"
    names = ",".join((address, address.replace("127.0.0.1", "localhost"), dead))
    code, report, _ = grid(workflow, *AXES, "-o", both, "--servers", names, "--no-floor")
    assert code == 1
    assert [cell["state"] for cell in report["cells"]] == ["made"] * 4
    assert pictures(both) == pictures(alone)
    assert "no ComfyUI answers there" in report["servers"][2]["problem"]


def test_a_cell_that_no_server_can_make_fails_alone(comfy_server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    axes = ("--axis", f"PatchbayApplyLora.lora_name={LORA},missing.safetensors")
    code, report, _ = grid(workflow, *axes, "-o", tmp_path, "--servers", comfy_server.address, "--no-floor")
    assert code == 1
    assert [cell["state"] for cell in report["cells"]] == ["made", "failed"]
    assert "lora_name" in report["cells"][1]["note"]


@pytest.mark.all
def test_two_servers_make_what_one_makes_though_one_is_killed(
    comfy_server: ComfyServer, two_servers: list[ComfyServer], workflow: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    workflow.write_text(json.dumps(prompt(8)))
    axes = ("--axis", "PatchbayApplyLora.strength_model=0.25,0.5,0.75,1,1.25", "--axis", "KSampler.seed=7,8,9,10")
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert grid(workflow, *axes, "-o", alone, "--servers", comfy_server.address, "--no-floor")[0] == 0
    first, second = two_servers
    with killed_after(second.process, both, 5) as killed:
        code, report, _ = grid(workflow, *axes, "-o", both, "--servers", f"{first.address},{second.address}")
    assert killed
    assert killed[0] < 20
    assert code == 1
    assert [cell["state"] for cell in report["cells"]] == ["made"] * 20
    assert pictures(both) == pictures(alone)
    assert all(server["floor"]["identical"] for server in report["servers"])
    assert report["servers"][1]["apart"]["identical"]
    assert report["servers"][0]["made"] + report["servers"][1]["made"] == 20
    assert report["servers"][1]["made"] > 0
    assert "no ComfyUI answers there" in report["servers"][1]["problem"]


@pytest.mark.all
def test_what_one_server_lacks_is_made_by_the_other(
    two_servers: list[ComfyServer], workflow: Path, tmp_path: Path
) -> None:
    import shutil

    pytest.importorskip("distributed")
    first, second = two_servers
    loras = first.base / "models" / "loras"
    loras.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parents[2] / "models" / "loras" / LORA
    shutil.copy(source, loras / "only-here.safetensors")
    axes = ("--axis", f"PatchbayApplyLora.lora_name={LORA},only-here.safetensors", "--axis", "KSampler.seed=7,8,9")
    servers = f"{second.address},{first.address}"
    code, report, _ = grid(workflow, *axes, "-o", tmp_path / "out", "--servers", servers)
    assert code == 0
    assert [cell["state"] for cell in report["cells"]] == ["made"] * 6
    assert {cell["made_by"] for cell in report["cells"][3:]} == {first.address}


@pytest.mark.all
def test_a_scheduler_that_runs_already_loses_nothing_with_a_worker(
    comfy_server: ComfyServer, workflow: Path, tmp_path: Path
) -> None:
    """The workers stand for the servers by their names: here one server under two names. One worker is killed."""
    pytest.importorskip("distributed")
    from cli_runs import ROOT
    from dask_programs import SCHEDULER, WORKER, python, started, told

    axes = ("--axis", "PatchbayApplyLora.strength_model=0.25,0.5,0.75,1", "--axis", "KSampler.seed=7,8,9")
    alone, both = tmp_path / "alone", tmp_path / "both"
    names = [comfy_server.address, comfy_server.address.replace("127.0.0.1", "localhost")]
    assert grid(workflow, *axes, "-o", alone, "--servers", names[0], "--no-floor")[0] == 0
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    with ExitStack() as stack:
        address = told(stack.enter_context(started(tmp_path, *SCHEDULER)), r"Scheduler at: +(tcp://\S+)")
        words = (*axes, "--no-floor", "--cluster", address, "--servers", ",".join(names))
        workers = []
        for name in names:
            code, _, err = grid(workflow, "-o", both, *words)
            assert (code, "no worker" in err) == (2, True)
            worker = started(tmp_path, "worker", address, *WORKER, "--name", name, "--nthreads", "2")
            workers.append(stack.enter_context(worker))
            told(workers[-1], r"(Registered to)")
        with killed_after(workers[1], both, 4) as killed:
            command_line = ("-m", "lora_patchbay", "grid", str(workflow), "-o", str(both), *words, "--json")
            report = json.loads(python(tmp_path, *command_line))
    assert killed
    assert killed[0] < 12
    assert [cell["state"] for cell in report["cells"]] == ["made"] * 12
    assert {cell["made_by"] for cell in report["cells"]} == set(names)
    assert pictures(both) == pictures(alone)

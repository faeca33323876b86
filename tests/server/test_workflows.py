"""Every bundled workflow against a real ComfyUI; those that need only the bundled model are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import some
from workflow_checks import RUNNABLE, WORKFLOWS, problems

from tools.client import ComfyClient
from tools.paths import PACK_FOLDER
from tools.server import ComfyServer
from tools.workflow import load_workflow, to_api
from tools.workflow_flat import flattened

RUN_SECONDS = 240.0
FIRST_WITH_TINY_VAE = (0, 24)
"""ComfyUI's tiny FLUX.2 autoencoder, which Klein Nano needs, came with this version."""


@pytest.fixture
def _klein_nano_can_run(comfy_server: ComfyServer) -> None:
    version = comfy_server.runtime.version
    if tuple(map(int, version.split(".")[:2])) < FIRST_WITH_TINY_VAE:
        pytest.skip(f"ComfyUI {version} is too old to run Klein Nano")


def test_there_are_workflows() -> None:
    assert WORKFLOWS
    assert RUNNABLE


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_fits_the_nodes(path: Path, object_info: dict[str, Any]) -> None:
    assert problems(load_workflow(path), object_info) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_has_a_thumbnail_and_a_note(path: Path) -> None:
    assert path.with_suffix(".jpg").is_file()
    assert any(node["type"] in ("Note", "MarkdownNote") for node in load_workflow(path)["nodes"])


def test_every_node_of_the_pack_is_in_a_workflow(object_info: dict[str, Any]) -> None:
    used = {node["type"] for path in WORKFLOWS for node in flattened(load_workflow(path))["nodes"]}
    ours = {name for name, info in object_info.items() if info["python_module"] == f"custom_nodes.{PACK_FOLDER}"}
    assert ours
    assert ours - used == set()


QUICK = [
    pytest.param(path, id=path.stem, marks=pytest.mark.all if path.stem.startswith("Teach") else ())
    for path in RUNNABLE
]
"""Teaching takes minutes even with two steps: it looks at every picture again."""


@pytest.mark.usefixtures("_klein_nano_can_run")
@pytest.mark.parametrize("path", QUICK)
def test_it_runs_once(path: Path, comfy: ComfyClient, object_info: dict[str, Any]) -> None:
    """Its reports and pictures are there, and a second run is taken from the cache."""
    prompt = less_work(to_api(load_workflow(path), object_info))
    first = comfy.run(prompt, RUN_SECONDS)
    named = ("patchbay_report", "patchbay_grid")
    reports = [report for entry in first.values() for name in named for report in entry.get(name, [])]
    assert all(report["schema"] == "patchbay.report" for report in some(reports))
    for entry in first.values():
        for compare in entry.get("patchbay_compare", []):
            for pair in some(compare["pairs"]):
                assert all(comfy.view(pair[key])[:4] == b"\x89PNG" for key in ("a", "b", "difference"))
        for grid in entry.get("patchbay_grid", []):
            pictures = [*grid["sheets"], *(cell["picture"] for cell in some(grid["cells"]))]
            assert all(comfy.view(picture)[:4] == b"\x89PNG" for picture in pictures)
    entry = comfy.wait(comfy.queue(prompt), RUN_SECONDS)
    cached = next(detail["nodes"] for kind, detail in entry["status"]["messages"] if kind == "execution_cached")
    assert set(cached) >= set(first)
    # ComfyUI repeats what a cached output node showed, not what the nodes before it did.
    assert entry["outputs"]
    assert entry["outputs"] == {node_id: first[node_id] for node_id in entry["outputs"]}


def less_work(prompt: dict[str, Any]) -> dict[str, Any]:
    """The prompt with few noises and repeats: how narrow the intervals get is not what these tests ask."""
    least = {"PatchbayFitStrengths": {"seeds": 1, "levels": 2}, "PatchbayBenchmark": {"time_budget": 2.0},
             "PatchbayTransferLora": {"steps": 2, "rounds": 1},
             "PatchbayBlockSweep": {"time_budget": 1.0, "feature_shift": False}}  # fmt: skip
    for node in prompt.values():
        node["inputs"] |= least.get(node["class_type"], {})
    return prompt

"""Which tests a layer runs, in how many processes, and that seeds make them the same each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.errors import ToolError
from tools.frontend import ensure_frontend
from tools.fuzz import drawing_files
from tools.paths import ROOT
from tools.progress import Progress
from tools.runtime import Runtime
from tools.test_run import FOLDERS, LAYERS, WHOLE, layer_folders, pytest_options, run_pytest

RANDOM_TEST = """
import random, torch
def test_it(tmp_path):
    print("drew", random.random(), float(torch.rand(1)))
"""


def names(layers: tuple[str, ...]) -> list[str]:
    return [folder.name for folder in layer_folders(layers)]


def test_folders_of_layers() -> None:
    assert names(WHOLE) == names(("all",)) == names(("timing",)) == list(FOLDERS)
    assert names(("host", "host")) == ["host"]
    assert names(("checks",)) == []


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer != "timing"])
def test_what_measures_time_runs_only_when_asked_for(layer: str) -> None:
    marks = pytest_options([layer], cores=2)
    assert "not timing" in marks[marks.index("-m") + 1]
    assert ("not all" in marks[marks.index("-m") + 1]) is (layer != "all")
    assert ("not gpu" in marks[marks.index("-m") + 1]) is (layer != "gpu")


def test_processes() -> None:
    assert pytest_options(["unit"], cores=2)[-4:] == ["-n", "2", "--dist", "loadfile"]
    assert pytest_options(["unit"], "name", cores=64)[-6:] == ["-n", "4", "--dist", "loadfile", "-k", "name"]
    for layers, cores in ((["unit"], 1), (["gpu"], 8), (["unit", "timing"], 8)):
        assert "-n" not in pytest_options(layers, cores=cores)


@pytest.mark.parametrize("code", [0, 1, 5])
def test_pytests_exit_code_is_the_commands(code: int) -> None:
    assert run_pytest([sys.executable, "-c", f"raise SystemExit({code})"], dict(os.environ)) == code


@pytest.mark.all
def test_a_test_draws_the_same_each_time_and_alone(tmp_path: Path) -> None:
    drawn = []
    for other in ("", "def test_before():\n    import random, torch\n    random.random(), torch.rand(3)\n"):
        folder = tmp_path / ("alone" if not other else "after")
        folder.mkdir()
        (folder / "test_x.py").write_text(other + RANDOM_TEST, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "seed_plugin", "-c", os.devnull, "-s", "-q", "--rootdir", "."]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        result = subprocess.run([*command, "test_x.py"], cwd=folder, env=env, capture_output=True, text=True)
        drawn += [line for line in result.stdout.splitlines() if "drew" in line]
    assert len(drawn) == 2, drawn
    assert drawn[0].removeprefix(".") == drawn[1].removeprefix(".")


def test_files_with_random_tests_are_found() -> None:
    assert {"tests/unit/core/files/test_header.py", "tests/host/apply/test_properties.py"} <= set(drawing_files())


@pytest.mark.parametrize("version", ["", "latest", "../1.2.3", "1.58"])
def test_a_frontend_is_a_version(version: str) -> None:
    with pytest.raises(ToolError, match=r"expected a version of comfyui-frontend-package like 1\.58\.1"):
        ensure_frontend(Runtime(ROOT, Path(sys.executable), "0", private=True), version, Progress())

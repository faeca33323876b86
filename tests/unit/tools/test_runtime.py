"""Stamps, the user's own ComfyUI, and the display."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tools import stamps
from tools.errors import ToolError
from tools.progress import DownloadMeter, Progress, Step, run_logged
from tools.runtime import existing_runtime
from tools.server import free_port, is_free, shipped_entries


@pytest.fixture
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of its own."""
    monkeypatch.setattr(stamps, "RUNTIME", tmp_path)
    return tmp_path


def test_a_stamp_holds_for_the_same_inputs_only(runtime_folder: Path) -> None:
    assert not stamps.is_current("venv", {"torch": "1"})
    stamps.write("venv", {"torch": "1"})
    assert stamps.is_current("venv", {"torch": "1"})
    assert not stamps.is_current("venv", {"torch": "2"})
    stamps.forget("venv")
    assert not stamps.is_current("venv", {"torch": "1"})


def test_a_broken_stamp_is_no_stamp(runtime_folder: Path) -> None:
    (runtime_folder / "venv.stamp").write_text("{", encoding="utf-8")
    assert not stamps.is_current("venv", {})


def test_writing_leaves_no_part_behind(runtime_folder: Path) -> None:
    stamps.write_atomically(runtime_folder / "deep" / "file", "text")
    assert [path.name for path in (runtime_folder / "deep").iterdir()] == ["file"]


def test_the_lock_lets_one_in_and_the_next_after_it(runtime_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "LOCK_WAIT_SECONDS", 0)
    with stamps.setup_lock():
        with pytest.raises(ToolError, match="another patchbay.py has been setting up"), stamps.setup_lock():
            pass
    with stamps.setup_lock():
        pass


def own_comfyui(folder: Path) -> Path:
    """A folder that looks like a ComfyUI."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfy" / "model_patcher.py").touch()
    return folder


def test_a_folder_that_is_no_comfyui_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"is not a ComfyUI folder: expected main\.py"):
        existing_runtime(tmp_path)


def test_the_portable_builds_outer_folder_will_do(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    inner = own_comfyui(tmp_path / "ComfyUI")
    found = existing_runtime(tmp_path, Path(sys.executable))
    assert found.comfyui == inner.resolve()
    assert not found.private


def test_a_comfyui_without_a_python_says_where_it_looked(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "python"
    with pytest.raises(ToolError, match=r"no Python with torch(?s:.*)nowhere(?s:.*)--python PATH"):
        existing_runtime(own_comfyui(tmp_path / "comfy"), missing)


def test_a_failing_command_is_told_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('first'); print('the reason'); raise SystemExit(3)"]
    with pytest.raises(ToolError, match=r"the thing failed: .* ended with code 3(?s:.*)the reason"):
        run_logged(command, tmp_path / "log", "the thing")
    assert "the reason" in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="the thing: no-such-program could not be started"):
        run_logged(["no-such-program"], tmp_path / "log", "the thing")


def test_downloads_become_a_fraction() -> None:
    step = Step("packages")
    meter = DownloadMeter(step)
    for line in ("Resolved 90 packages in 2s", "Downloading torch (600.0MiB)", "Downloading numpy (200.0MiB)"):
        meter(line)
    assert step.fraction == 0
    meter(" Downloaded numpy")
    assert step.fraction == pytest.approx(0.25)
    assert "200 of 800 MiB" in step.line()
    assert "[#####---------------]  25%" in step.line()


def test_off_a_terminal_a_step_is_two_lines() -> None:
    stream = io.StringIO()
    with Progress(stream).step("Work"):
        pass
    assert stream.getvalue().startswith("Work ...\nWork: done in 0.")


def test_a_failed_step_says_so() -> None:
    stream = io.StringIO()
    with pytest.raises(ToolError), Progress(stream).step("Work"):
        raise ToolError("no")
    assert "Work: failed after" in stream.getvalue()


def test_a_free_port_is_free() -> None:
    assert is_free(free_port())


def test_tests_and_tools_are_not_shipped() -> None:
    shipped = {path.name for path in shipped_entries()}
    assert {"__init__.py", "nodes", "js", "pyproject.toml"} <= shipped
    assert not shipped & {"tests", "tools", "patchbay.py", "node_modules", "test-artefacts", ".runtime"}

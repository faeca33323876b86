"""What people type by mistake, or a machine does to them, ends in a sentence and an exit code, never in a traceback."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import ROOT, program, run
from lora_files import flux2_shapes, lora_shapes, write_lora, write_raw
from pack.nodes import core
from pack.nodes.core.check.scan import find_files
from pack.nodes.core.cli.exits import require
from pack.nodes.core.cli.main import main
from pack.nodes.core.errors import PatchbayError
from safetensors.torch import load_file, save_file

SHIPPED = ROOT / "models"
LORA = SHIPPED / "loras" / "klein-nano-duotone.safetensors"
BASE = SHIPPED / "diffusion_models" / "klein-nano-base.safetensors"


@pytest.mark.parametrize(("command", "packages"), [
    (("check", LORA, "--model", BASE, "--measure"), ("numpy",)),
    (("scan", LORA.parent, "--model", BASE, "--measure"), ("numpy",)),
    (("inspect", "--norms", LORA), ("torch", "safetensors")),
    (("bake", LORA, "-o", "x"), ("torch", "safetensors", "numpy")),
    (("resize", LORA, "--rank", 2, "-o", "x"), ("torch", "safetensors", "numpy")),
])  # fmt: skip
def test_missing_packages_are_named_all_of_them_with_the_command(
    command: tuple[object, ...], packages: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err.endswith(f"Install with: python -m pip install {' '.join(packages)}\n")


def test_packages_that_are_there_are_not_asked_for() -> None:
    require("nothing", "json")
    with pytest.raises(PatchbayError, match="needs patchbay_a and patchbay_b, not installed"):
        require("this", "patchbay_a", "json", "patchbay_b")


def test_the_file_that_cannot_be_opened_is_the_one_that_is_named(tmp_path: Path) -> None:
    none = tmp_path / "nope.safetensors"
    for command in (
        ("bake", LORA, "-o", tmp_path / "x", "--model", none),
        ("check", LORA, "--model", none),
        ("scan", LORA.parent, "--model", none),
        ("inspect", none),
        ("bake", none, "-o", tmp_path / "x"),
    ):
        code, _, err = run(*command)
        assert code == 2
        assert err == f"{none}: cannot be opened: No such file or directory.\n"


def test_an_output_that_cannot_be_made_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for below, reason in (("file", f"{tmp_path / 'file'} is a file, not a folder"), ("file/new", "Not a directory")):
        path = tmp_path / below / "x.safetensors"
        code, _, err = run("bake", LORA, "-o", path)
        assert code == 2
        assert err == f"{path}: cannot be written: {reason}.\n"


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name / "x.safetensors" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"<!doctype html>")
    _, _, err = run("inspect", *paths)
    assert [line.split(": ")[0] for line in err.splitlines()] == list(map(str, paths))


def test_folders_and_files_in_each_others_place(tmp_path: Path) -> None:
    assert run("inspect", tmp_path)[2].endswith("is a folder; 'lora-patchbay scan' lists the model files in one.\n")
    code, _, err = run("scan", LORA)
    assert code == 64
    assert err == f"{LORA}: is a file; 'lora-patchbay inspect' says what it is.\n"


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_raw(tmp_path / "elsewhere" / "a.safetensors", {})
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert find_files(folder).files == [folder / "again" / "a.safetensors"]


def test_a_folder_that_cannot_be_read_is_a_line_and_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, out, _ = run("scan", tmp_path, "--json")
    assert code == 2
    row = json.loads(out)
    assert (row["file"], row["error"]) == ("secret", "the folder cannot be read: Permission denied.")


def test_measurements_that_are_none_are_an_error_and_damaged_lines_are_counted(tmp_path: Path) -> None:
    assert run("results", LORA)[0] == 2
    file = tmp_path / "measurements.jsonl"
    entry = {"schema": "patchbay.measurement", "version": 1, "id": "0001", "conditions": []}
    file.write_text("{broken\n\n" + "[" * 100_000 + "\n" + json.dumps(entry | {"version": 99}) + "\n")
    code, out, err = run("results", file)
    assert (code, out) == (2, "")
    assert "holds no saved measurement" in err
    with open(file, "a") as stream:
        stream.write(json.dumps(entry) + "\n")
    code, out, err = run("results", file, "--json")
    assert (code, [each["id"] for each in json.loads(out)]) == (1, ["0001"])
    assert "3 lines cannot be read" in err
    assert 'no measurement has this id. The newest are 0001; "last"' in run("results", file, "--show", "9")[2]
    file.write_text("")
    assert run("results", file)[:2] == (0, "no measurement is saved in this file yet.\n")


def test_the_shipped_models_are_all_known_and_warnings_are_shown(tmp_path: Path) -> None:
    code, out, err = run("scan", SHIPPED)
    assert (code, err) == (0, "")
    assert "saved prompts (Patchbay)" in out
    assert "warning" not in out
    write_raw(tmp_path / "odd.safetensors", {})
    code, out, _ = run("scan", tmp_path)
    assert code == 1
    assert out.splitlines()[0].split() == ["file", "kind", "architecture", "formats", "rank", "size", "warning"]
    assert "its kind is not known" in out


def test_options_that_csv_has_no_column_for_are_refused() -> None:
    for option in ("--hashes", "--norms"):
        code, out, err = run("inspect", "--csv", option, LORA)
        assert (code, out) == (64, "")
        assert "use --json" in err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "is a pipe or a device" in run("inspect", tmp_path / "pipe.safetensors")[2]
    assert run("scan", tmp_path)[0] == 2


def test_names_of_the_output(tmp_path: Path) -> None:
    assert "is a folder; give the name" in run("bake", LORA, "-o", tmp_path)[2]
    assert "ends in .safetensors" in run("bake", LORA, "-o", tmp_path / "x.ckpt")[2]
    assert run("bake", LORA, "-o", tmp_path / "style-v1.5")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["style-v1.5.safetensors"]


def test_at_strength_1_every_tensor_stays_and_the_file_hardly_grows(tmp_path: Path) -> None:
    half = {key: tensor.half() for key, tensor in load_file(LORA).items()}
    save_file(half, tmp_path / "half.safetensors")
    out = tmp_path / "out.safetensors"
    assert run("bake", tmp_path / "half.safetensors", "-o", out)[0] == 0
    baked = load_file(out)
    assert set(baked) == set(half)
    assert all(baked[key].dtype == half[key].dtype and torch.equal(baked[key], half[key]) for key in half)
    assert out.stat().st_size - (tmp_path / "half.safetensors").stat().st_size < 2_000
    assert run("resize", LORA, "--rank", 100, "-o", tmp_path / "same.safetensors")[0] == 0
    assert (tmp_path / "same.safetensors").stat().st_size - LORA.stat().st_size < 2_000


def test_resize_names_the_rank_of_the_file(tmp_path: Path) -> None:
    up = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    layers = {
        "double_blocks.0.a": {"lora_up.weight": torch.cat([up, up], 1), "lora_down.weight": torch.ones(8, 16)},
        "double_blocks.0.b": {"lora_up.weight": torch.zeros(16, 8), "lora_down.weight": torch.zeros(8, 16)},
    }
    lora = write_lora(tmp_path / "lora.safetensors", layers)
    _, out, _ = run("resize", lora, "--rank", 2, "-o", tmp_path / "small")
    assert "double_blocks.0.a: rank 8 to 1: error" in out
    assert "double_blocks.0.b: rank 8 to 1: all zero" in out


def test_nothing_to_write_says_which_of_two_reasons(tmp_path: Path) -> None:
    out = tmp_path / "x"
    zero = run("bake", LORA, "--strength-model", 0, "--strength-clip", 0, "-o", out)
    assert zero[0] == 2
    assert "every layer has strength 0" in zero[2]
    wide = SHIPPED / "diffusion_models" / "klein-nano-wide.safetensors"
    code, _, err = run("bake", LORA, "--model", wide, "-o", out)
    assert code == 2
    assert re.search(r"no layer fits klein-nano-wide\.safetensors; 'lora-patchbay check' says why\. For example ", err)


def test_what_makes_no_sense_is_wrong_usage(tmp_path: Path) -> None:
    out = tmp_path / "x"
    assert run("resize", LORA, "-o", out)[::2] == (
        64, "resize: expected --rank or --energy, which say how much to keep.\n"
    )  # fmt: skip
    assert run("bake", LORA, "--strength-model", "nan", "-o", out)[0] == 64
    assert run("scan", LORA.parent, "--measure")[0] == 64


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_streams_that_take_nothing() -> None:
    err = io.StringIO()
    assert main(["inspect", str(LORA)], Full(), err) == 2
    assert err.getvalue() == "the output cannot be written: No space left on device.\n"
    out = io.StringIO()
    assert main(["inspect", "nope", str(LORA)], out, Full()) == 2
    assert "klein-nano-duotone" in out.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_the_program_on_a_full_disk_and_with_closed_streams(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = program(tmp_path, "inspect", LORA, stdout=full)
    assert (done.returncode, done.stderr) == (2, "the output cannot be written: No space left on device.\n")
    closed = 'exec "$0" -m lora_patchbay inspect "$1" nope >&- 2>&-'
    import subprocess

    command = ["sh", "-c", closed, sys.executable, str(LORA)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.run(command, check=False, timeout=60, env=environment).returncode == 2


def test_version_module_and_stable_names(tmp_path: Path) -> None:
    done = program(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"lora-patchbay {core.__version__}\n")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{core.__version__}"\n' in project
    assert all(getattr(core, name) is not None for name in core.__all__)
    assert (ROOT / "nodes" / "core" / "py.typed").is_file()
    assert '"lora_patchbay" = ["py.typed"]' in project
    with pytest.raises(AttributeError, match="no attribute"):
        core.nothing  # noqa: B018
    shapes = lora_shapes(flux2_shapes())
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "lora.safetensors")
    assert core.check_file(tmp_path / "lora.safetensors", BASE).verdict is not None

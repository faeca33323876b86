"""The command line: output forms, exit codes, and that it needs no torch."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli_runs import ROOT, run
from lora_files import flux2_shapes, lora_shapes, write_lora, write_raw
from pack.nodes.core.check.scan import SCAN_COLUMNS
from pack.nodes.core.cli import main as cli
from pack.nodes.core.cli.exits import (
    EXIT_DOUBT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNFIT,
    EXIT_UNREADABLE,
    EXIT_USAGE,
    EXIT_WARNING,
)
from pack.nodes.core.cli.output import LAYER_COLUMNS


def write_ones(path: Path, shapes: dict[str, tuple[int, int]]) -> Path:
    """A file of float16 ones."""
    header: dict[str, object] = {}
    end = 0
    for key, (rows, columns) in shapes.items():
        start, end = end, end + rows * columns * 2
        header[key] = {"dtype": "F16", "shape": [rows, columns], "data_offsets": [start, end]}
    write_raw(path, header)
    with open(path, "ab") as file:
        file.write(b"\x00\x3c" * (end // 2))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ones(tmp_path / "model.safetensors", flux2_shapes())  # type: ignore[arg-type]
    (tmp_path / "sub").mkdir()
    write_ones(tmp_path / "sub" / "lora.safetensors", lora_shapes(flux2_shapes()))  # type: ignore[arg-type]
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def test_inspect_text(folder: Path) -> None:
    code, out, err = run("inspect", folder / "model.safetensors", folder / "sub" / "lora.safetensors")
    assert (code, err) == (0, "")
    assert out.startswith("model.safetensors: diffusion model\n")
    assert "\nlora.safetensors: LoRA\n" in out


def test_inspect_json(folder: Path) -> None:
    code, out, _ = run("inspect", "--json", "--hashes", folder / "sub" / "lora.safetensors")
    (report,) = json.loads(out)
    assert code == 0
    assert (report["schema"], report["lora"]["formats"]) == ("patchbay.report", {"lora": 22})
    assert len(report["lora"]["metadata"]["AutoV2"]) == 10


def test_inspect_what_cannot_be_read(folder: Path) -> None:
    (folder / "bad.safetensors").write_bytes(b"<!doctype html>")
    code, out, err = run("inspect", folder / "bad.safetensors", folder / "none.safetensors")
    assert (code, out) == (2, "")
    assert "bad.safetensors: an HTML page" in err
    assert "none.safetensors: cannot be opened" in err


def test_inspect_csv(folder: Path) -> None:
    code, out, _ = run("inspect", "--csv", folder / "model.safetensors", folder / "sub" / "lora.safetensors")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, [row["kind"] for row in rows]) == (0, ["diffusion model", "LoRA"])


def test_check_forms(folder: Path) -> None:
    lora, model = folder / "sub" / "lora.safetensors", folder / "model.safetensors"
    code, out, err = run("check", lora, "--model", model)
    assert (code, err) == (0, "")
    assert "lora.safetensors fits FLUX.2" in out
    code, out, _ = run("check", lora, lora, "--model", model, "--json")
    assert (code, [report["verdict"] for report in json.loads(out)]) == (0, ["fits", "fits"])
    code, out, _ = run("check", lora, "--model", model, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == LAYER_COLUMNS
    assert {row["state"] for row in rows} == {"applied"}
    assert len({row["model_key"] for row in rows}) == len(rows) == 22


def test_a_doubt_has_an_exit_code_of_its_own(folder: Path) -> None:
    lora, model = folder / "sub" / "lora.safetensors", folder / "model.safetensors"
    raw = lora.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    dead = folder / "dead.safetensors"
    dead.write_bytes(raw[:start] + bytes(len(raw) - start))
    code, out, _ = run("check", dead, "--model", model, "--json")
    (report,) = json.loads(out)
    assert (code, report["verdict"], [doubt["id"] for doubt in report["doubts"]]) == (4, "fits", ["all_zero"])
    assert run("check", lora, dead, "--model", model)[0] == 4
    code, out, _ = run("scan", folder, "--model", model, "--csv")
    rows = {row["file"]: row["doubts"] for row in csv.DictReader(io.StringIO(out))}
    assert (code, rows["dead.safetensors"], rows[str(Path("sub", "lora.safetensors"))]) == (4, "all_zero", "")
    _, out, _ = run("scan", folder, "--model", model)
    assert out.splitlines()[0].endswith("layers  doubts")
    assert "all_zero" in out


def test_check_exit_codes(folder: Path) -> None:
    lora, model = folder / "sub" / "lora.safetensors", folder / "model.safetensors"
    foreign = write_ones(folder / "foreign.safetensors", lora_shapes(flux2_shapes(hidden=256)))  # type: ignore[arg-type]
    extra = {"nothing.there.lora_A.weight": (4, 8), "nothing.there.lora_B.weight": (8, 4)}
    partly = write_ones(folder / "partly.safetensors", lora_shapes(flux2_shapes()) | extra)  # type: ignore[operator]
    broken = folder / "broken.safetensors"
    broken.write_bytes(b"<!doctype html>")
    assert run("check", partly, "--model", model)[0] == 1
    assert run("check", foreign, partly, "--model", model)[0] == 3
    assert run("check", broken, foreign, partly, "--model", model)[0] == 2
    assert run("check", lora, "--model", broken)[0] == 2
    assert run("check", model, "--model", model) == (
        2,
        "",
        f"{model}: is not a LoRA; 'inspect' says what it is.\n",
    )
    assert "lora.safetensors: is a LoRA; --model needs" in run("check", lora, "--model", lora)[2]
    assert run("check", lora)[0] == 64
    assert run("scan", folder, "--model", model)[0] == 2
    broken.unlink()
    assert run("scan", folder, "--model", model)[0] == 3
    foreign.unlink()
    assert run("scan", folder, "--model", model)[0] == 1
    partly.unlink()
    assert run("scan", folder, "--model", model)[0] == 0
    assert run("scan", folder, "--measure")[0] == 64


def test_scan_with_a_model_and_measured(tmp_path: Path) -> None:
    """In parallel, too: every process reads the model once."""
    model = write_ones(tmp_path / "model.safetensors", flux2_shapes())  # type: ignore[arg-type]
    loras = tmp_path / "loras"
    loras.mkdir()
    for i in range(70):
        layers = {"diffusion_model.img_in": {"lora_A.weight": torch.ones(2, 128), "lora_B.weight": torch.ones(128, 2)}}
        if i % 2:
            layers["nothing.there"] = {"lora_A.weight": torch.ones(2, 128), "lora_B.weight": torch.ones(128, 2)}
        write_lora(loras / f"{i:02}.safetensors", layers)
    code, out, _ = run("scan", loras, "--model", model, "--csv", "--measure", "--jobs", 2)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    assert [row["verdict"] for row in rows] == ["fits", "fits in part"] * 35
    assert [(row["landing"], row["coverage"]) for row in rows[:2]] == [("1/1", "1.0000"), ("1/2", "0.5000")]


def test_scan_forms(folder: Path) -> None:
    code, out, _ = run("scan", folder)
    assert code == 0
    assert "model.safetensors" in out
    code, out, _ = run("scan", folder, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == SCAN_COLUMNS
    assert [row["kind"] for row in rows] == ["diffusion model", "LoRA"]
    code, out, _ = run("scan", folder, "--json")
    assert [json.loads(line)["ranks"] for line in out.splitlines()] == ["", "4"]


def test_scan_exit_codes(folder: Path) -> None:
    write_ones(folder / "odd.safetensors", {"a.alpha": (2, 2), "a.lora_up.weight": (2, 2), "b.lora_up.weight": (2, 2)})
    assert run("scan", folder)[0] == 1
    (folder / "bad.safetensors").write_bytes(b"")
    assert run("scan", folder)[0] == 2
    assert run("scan", folder / "nowhere")[0] == 64
    assert run("scan")[0] == 64


def test_scan_in_parallel(tmp_path: Path) -> None:
    for i in range(70):
        write_ones(tmp_path / f"{i:02}.safetensors", {"a.lora_up.weight": (2, 2), "a.lora_down.weight": (2, 2)})
    one, two = run("scan", tmp_path, "--csv", "--jobs", 1), run("scan", tmp_path, "--csv", "--jobs", 2)
    assert one == two
    assert len(one[1].splitlines()) == 71


def test_a_cell_is_no_formula(tmp_path: Path) -> None:
    write_raw(tmp_path / "x.safetensors", {"__metadata__": {"base_model": "=HYPERLINK(1)"}})
    _, out, _ = run("scan", tmp_path, "--csv")
    assert "'=HYPERLINK(1)" in out


def test_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys, types\n"
        "for name in ('torch', 'numpy', 'safetensors'): sys.modules[name] = None\n"
        f"pack = types.ModuleType('pack'); pack.__path__ = [{str(ROOT)!r}]; sys.modules['pack'] = pack\n"
        f"from pack.nodes.core.cli.main import main\n"
        f"lora, model = {str(folder / 'sub' / 'lora.safetensors')!r}, {str(folder / 'model.safetensors')!r}\n"
        "commands = ['inspect', lora, model], ['check', lora, '--model', model],"
        f" ['scan', {str(folder)!r}, '--model', model, '--jobs', '1']\n"
        "sys.exit(max(main(command) for command in commands))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fits FLUX.2") == 1


def test_the_page_names_every_option_column_and_exit_code() -> None:
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    options = {option for command in _commands().values() for option in command._option_string_actions}
    named = set(re.findall(r"`(--[a-z-]+)", page))
    assert named == {option for option in options if option.startswith("--")} - {"--help"} | {"--version"}
    assert all(f"`{column}`" in page for column in (*SCAN_COLUMNS, *LAYER_COLUMNS))
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == {EXIT_OK, EXIT_WARNING, EXIT_UNREADABLE, EXIT_UNFIT, EXIT_DOUBT, EXIT_USAGE, EXIT_INTERRUPTED}


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices

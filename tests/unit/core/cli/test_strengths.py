"""``lora-patchbay strengths``: conversions, lists and exit codes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from pack.nodes.core.cli.main import main


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(["strengths", *arguments], out, err), out.getvalue(), err.getvalue()


def test_import_and_export() -> None:
    code, text, err = run("--from", "kohya.lbws.sdxl.12", "[1,1,1,1,1,1,1,1,1,1,1,0.5]")
    assert (code, err) == (0, "")
    assert text.strip().endswith("output_blocks.5=0.5")
    assert run("--to", "kohya.lbws.sdxl.12", text.strip()) == (0, "[1,1,1,1,1,1,1,1,1,1,1,0.5]\n", "")


def test_a_loss_is_said_and_is_exit_code_1() -> None:
    code, text, err = run("--to", "tuz.klein9b", "other=0")
    assert code == 1
    assert json.loads(text)["sb"]["0"] == 1
    assert err.startswith("not carried over: other: asked for 0")


def test_a_file_of_presets_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "SDXL-NONE:0,0,0,0,0,0,0,0,0,0,0,0\n\n@SDXL-FULL-TEST:12\n# note\nSDXL-ALL:1,1,1,1,1,1,1,1,1,1,1,1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    code, text, _ = run("--from", "lbw.inspire.sdxl", "-")
    assert code == 0
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# SDXL-NONE", "# SDXL-ALL"]


def test_the_text_form_is_checked() -> None:
    assert run("all=1,  double.0-3 = 0.50") == (0, "all=1, double.0-3=0.5\n", "")
    code, _, err = run("double 3-=1")
    assert code == 2
    assert "item 1" in err


def test_lists() -> None:
    assert "lbw.hako.sd.17" in run("--formats")[1]
    assert len(json.loads(run("--formats", "--json")[1])) > 30
    presets = run("--presets")[1]
    assert "Only attention: *=0, *.attn=1" in presets
    assert "klein-nano-duotone on klein-nano-distilled" in presets
    assert json.loads(run("--presets", "--json")[1])[0]["value"] == "Half strength"


def test_wrong_usage() -> None:
    assert run("--from", "lbw", "1")[0] == 2
    assert main(["strengths", "--from", "a", "--to", "b", "x"], io.StringIO(), io.StringIO()) == 64


def test_the_package_lists_its_folders() -> None:
    root = Path(__file__).resolve().parents[4]
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(r'^    "(lora_patchbay[\w.]*)",$', project, re.MULTILINE)
    core = root / "nodes" / "core"
    folders = [path.parent.relative_to(core).parts for path in core.rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(("lora_patchbay", *parts)) for parts in folders)

"""Every command that a page shows runs, on the shipped files under the names of the page."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from cli_runs import ROOT, program, run
from pack.nodes.core.strengths.text import parse_block_strengths
from safetensors.torch import load_file, save_file

PAGES = ("README.md", "docs/command_line.md", "docs/measurement.md", "docs/strengths.md")
ATTENTION = ("remap",)
"""Commands whose example leaves something out, as the page says: exit code 1."""
NEED_A_SERVER = ("grid", "sweep")
"""Commands that ask a running ComfyUI: ``tests/server/test_grid_command.py`` and ``test_sweep_command.py`` run them."""
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The command lines in the blocks of code of all pages, without remarks and what is piped into."""
    found: dict[str, None] = {}
    for name in PAGES:
        for block in BLOCK.findall((ROOT / name).read_text(encoding="utf-8")):
            for line in block.splitlines():
                if line.startswith("lora-patchbay "):
                    found[re.split(r" +#| \|", line)[0]] = None
    return list(found)


def _two_depths(folder: Path) -> None:
    """``base.safetensors``, and ``pruned.safetensors`` without its second single block."""
    base = load_file(ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors")
    save_file(base, folder / "base.safetensors")
    pruned: dict[str, torch.Tensor] = {}
    for key, tensor in base.items():
        found = re.fullmatch(r"(.*single_blocks\.)(\d+)(\..*)", key)
        index = int(found[2]) if found else 0
        if index != 1:
            pruned[f"{found[1]}{index - (index > 1)}{found[3]}" if found else key] = tensor
    save_file(pruned, folder / "pruned.safetensors")


def _merged(folder: Path) -> None:
    """``merged-model.safetensors``: the base with ``style.safetensors`` in it, at 0.75."""
    state, lora = load_file(folder / "base.safetensors"), load_file(folder / "style.safetensors")
    for key, weight in state.items():
        name = f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}"
        if f"{name}.lora_down.weight" in lora:
            up, down = lora[f"{name}.lora_up.weight"].float(), lora[f"{name}.lora_down.weight"].float()
            scale = 0.75 * float(lora[f"{name}.alpha"]) / down.shape[0]
            state[key] = (weight.float() + scale * (up @ down)).to(weight.dtype)
    save_file(state, folder / "merged-model.safetensors")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of."""
    models = ROOT / "models"
    (tmp_path / "models" / "loras").mkdir(parents=True)
    shutil.copy(models / "loras" / "klein-nano-duotone.safetensors", tmp_path / "style.safetensors")
    shutil.copy(models / "loras" / "klein-nano-monochrome.safetensors", tmp_path / "detail.safetensors")
    shutil.copy(tmp_path / "style.safetensors", tmp_path / "models" / "loras" / "style.safetensors")
    shutil.copy(models / "diffusion_models" / "klein-nano-base.safetensors", tmp_path / "flux-2-klein-4b.safetensors")
    _two_depths(tmp_path)
    _merged(tmp_path)
    saved = tmp_path / "ComfyUI" / "user" / "default" / "lora-patchbay"
    saved.mkdir(parents=True)
    entry = {"schema": "patchbay.measurement", "version": 1, "conditions": []}
    lines = [json.dumps(entry | {"id": f"000{number}"}) for number in (1, 2, 3)]
    (saved / "measurements.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", [line for line in commands() if line.split()[1] not in NEED_A_SERVER])
def test_a_command_that_a_page_shows_runs(line: str, place: Path) -> None:
    words = shlex.split(line)[1:]
    code, out, err = run(*words)
    assert (code, err) == (int(words[0] in ATTENTION), "")
    assert out


def test_every_item_of_the_page_on_strengths_is_read() -> None:
    text = (ROOT / "docs" / "strengths.md").read_text(encoding="utf-8")
    items = [item for row in re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE) for item in re.findall(r"`(.*?)`", row)]
    assert len(items) > 10
    for item in items:
        parse_block_strengths(item)


def test_every_command_is_shown() -> None:
    from pack.nodes.core.cli.main import COMMANDS

    shown = {line.split()[1] for line in commands()}
    assert set(COMMANDS) <= shown


def test_the_example_of_the_library_runs(place: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "command_line.md").read_text("utf-8"), re.DOTALL)
    done = program(place, module=("-c", example))
    assert (done.returncode, done.stderr) == (0, "")
    assert "fits FLUX.2" in done.stdout

"""The section of ``docs/transfer.md`` on LoRAs taught without pictures, from ``tests/gpu/teach_table.py``."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

if "pack" not in sys.modules:  # in a test it is there, and "nodes" is a module of ComfyUI's
    sys.modules["pack"] = types.ModuleType("pack")
    sys.modules["pack"].__path__ = [str(Path(__file__).resolve().parents[3])]
from pack.nodes.core.transfer.teaching import OTHER_PICTURE, SAME_PICTURE  # noqa: E402

RESULTS = Path(__file__).resolve().parents[2] / "gpu" / "results" / "teach_table.json"
LAB = Path(__file__).resolve().parents[1] / "results.json"
STUDENTS = ("pruned", "distilled", "mild", "strong", "wide", "concept")

SECTION = """
## Taught without pictures

*Transfer LoRA* makes a new LoRA from prompts alone: the teacher is what the LoRA does to its own model. PSNR to the
true picture in dB, with 95 % intervals, for captions that no LoRA saw (`python3 tests/gpu/teach_table.py --students
FOLDER --data FILE` on two H200, [figures](../tests/gpu/results/teach_table.json)):

| student | plain 1.0 | blocks renumbered | taught | trained on it |
|---|---|---|---|---|
{rows}

Taught against trained on it: {behind}.
Taught against plain 1.0: {gained}.
The concept is ten new subjects, on the distilled model; on its own model that LoRA reaches {concept:.1f} dB.

**What limits it.** The teacher is the LoRA on its own model: duotone reaches {duotone:.1f} dB there, less than plain
1.0 on mild ({mild:.1f}). Teaching brings mild's output closer to the teacher (held-out error {before:.3f} to
{after:.3f}), and its pictures stay where they are. A training on true pictures has no such limit.

**Two pictures.** For a name that neither model knows, each draws something else without the LoRA, and its own output is
no lesson. How far a student is from the base without a LoRA, in squared distances between two prompts (smallest, median
and largest of 24 known prompts, their mixtures, and ten unknown names, at every noise level; `teach_table.py --only
apart-pruned,apart-distilled,apart-mild,apart-strong`):

| student | known | mixtures of known | unknown |
|---|---|---|---|
{apart}

From {same:g} to {other:g} the reference's whole output takes over, a mixture as the prompts that it is mixed of.

**What it costs** at FLUX.2 Klein 4B's shapes (random weights, 1024 x 1024, rank {rank} on {layers} layers, batch 1, one
{gpu}):

| base stored as | one step, s | 500 steps, minutes | peak memory, GiB |
|---|---|---|---|
{costs}
"""


def section() -> str:
    """The section with its tables."""
    made: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    summary, results = made["summary"], made["results"]
    upper = {"wide": summary["upper"]["trained there"]}
    rows = [
        f"| {name} | {_span(ways['plain'])} | {_span(ways.get('remapped'))} | {_span(ways['taught'])} | "
        f"{_span(ways.get('trained there', upper.get(name)))} |"
        for name, ways in ((name, summary[name]) for name in STUDENTS)
    ]
    behind = [(name, summary[name].get("taught over trained there")) for name in STUDENTS]
    loras = json.loads(LAB.read_text(encoding="utf-8"))["training_module_on_gpu"]["loras"]
    costs = [results[f"klein-4b:{stored}"]["cost"] for stored in ("bf16", "int8")]
    mild = results["mild"]["held_out_error"]
    apart = [
        " | ".join((f"| {name.removeprefix('apart-')}", *map(_thousandths, kinds.values()), "")).rstrip()
        for name, kinds in summary.items() if name.startswith("apart-")
    ]  # fmt: skip
    return SECTION.format(
        apart="\n".join(apart), same=SAME_PICTURE, other=OTHER_PICTURE,
        concept=loras["concept"]["base"]["concept"]["1.0"], duotone=loras["duotone"]["base"]["unseen"]["1.0"],
        mild=summary["mild"]["plain"][0], before=mild["plain"], after=mild["taught"],
        costs="\n".join(
            f"| {one['base']} | {one['step_s']:.2f} | {one['steps_500_minutes']:.1f} | {one['peak_reserved_gib']:.1f} |"
            for one in costs
        ),
        rank=costs[0]["rank"], layers=costs[0]["layers"], gpu=costs[0]["gpu"],
        rows="\n".join(rows),
        behind=", ".join(f"{name} {found[0]:+.1f} dB" for name, found in behind if found),
        gained=", ".join(f"{name} {summary[name]['taught over plain'][0]:+.1f} dB" for name in STUDENTS),
    ).strip()  # fmt: skip


def _span(found: list[float] | None) -> str:
    return f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})" if found else "-"


def _thousandths(found: list[float]) -> str:
    return ", ".join(f"{one:.3f}" for one in found)

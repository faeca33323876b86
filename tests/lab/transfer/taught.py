"""The section of ``docs/transfer.md`` on LoRAs taught without pictures, from ``tests/gpu/teach_table.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "gpu" / "results" / "teach_table.json"
STUDENTS = ("pruned", "distilled", "mild", "strong", "wide", "concept")

SECTION = """
## Taught without pictures

*Transfer LoRA* makes a new LoRA from prompts alone: the teacher is what the LoRA does to its own model. PSNR to the
true picture in dB, with 95 % intervals, for captions that no LoRA saw (`python3 tests/gpu/teach_table.py --students
FOLDER --data FILE` on one H200, [figures](../tests/gpu/results/teach_table.json)):

| student | plain 1.0 | blocks renumbered | taught | trained on it |
|---|---|---|---|---|
{rows}

Taught against trained on it: {behind}.
Taught against plain 1.0: {gained}.
The concept is ten new subjects, on the distilled model.
"""


def section() -> str:
    """The section with its table."""
    summary: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))["summary"]
    upper = {"wide": summary["upper"]["trained there"]}
    rows = [
        f"| {name} | {_span(ways['plain'])} | {_span(ways.get('remapped'))} | {_span(ways['taught'])} | "
        f"{_span(ways.get('trained there', upper.get(name)))} |"
        for name, ways in ((name, summary[name]) for name in STUDENTS)
    ]
    behind = [(name, summary[name].get("taught over trained there")) for name in STUDENTS]
    return SECTION.format(
        rows="\n".join(rows),
        behind=", ".join(f"{name} {found[0]:+.1f} dB" for name, found in behind if found),
        gained=", ".join(f"{name} {summary[name]['taught over plain'][0]:+.1f} dB" for name in STUDENTS),
    ).strip()


def _span(found: list[float] | None) -> str:
    return f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})" if found else "-"

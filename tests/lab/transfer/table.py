"""Writes ``docs/transfer.md`` from ``results.json``: ``python tests/lab/transfer/table.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs" / "transfer.md"


NOT_A_REMEDY = ("plain 1.0", "without the LoRA", "what the node returns")


def in_words(ways: dict[str, Any]) -> str:
    """Which ways help, harm or do neither, by the interval of their gain in PSNR over plain 1.0."""
    found: dict[str, list[str]] = {"Helps": [], "Harms": [], "No difference shown": []}
    for way, figures in ways.items():
        if way in NOT_A_REMEDY:
            continue
        mean, low, high = figures["psnr_gain"]
        verdict = "Helps" if low > 0 else "Harms" if high < 0 else "No difference shown"
        found[verdict].append(f"{way} ({mean:+.2f} dB)")
    text = ". ".join(f"**{verdict}**: {', '.join(names)}" for verdict, names in found.items() if names) + "."
    torn = [way for way, it in ways.items() if it["psnr_gain"][2] < 0 < it["error_gain"][1]]
    if torn:
        text += (
            f" The output error and the pictures disagree about {', '.join(torn)}: the error is against the base with "
            "its guidance, whose wish is stronger than the style as the pictures show it."
        )
    return text


def main() -> None:
    """Write the page."""
    results = json.loads((HERE / "results.json").read_text())
    protocol = results["protocol"]
    lines = [
        "# Does a LoRA do the same on another model?",
        "",
        "The duotone LoRA of Klein Nano's base, on students of that base. PSNR is to the true picture, "
        "output error that of the wanted change of the model's output, both on captions that it never saw: "
        f"{protocol['test_captions']} captions x {protocol['noises']} noises, {protocol['fits']} fits on others. "
        "Intervals are 95 %, by bootstrap over the captions; gains are over plain 1.0, positive is better. "
        "Made by `tests/lab/transfer/evaluate.py` and `table.py`.",
    ]
    for name, found in results["students"].items():
        transfer = found["transfer"]
        lines += ["", f"## {name}, {found['steps']} steps", "", f"Feature Shift: {transfer['summary']}", ""]
        lines += [f"Fit Strengths returned: {', '.join(f'`{blocks}`' for blocks in found['node_returned'])}", ""]
        lines += [f"By the pictures: {in_words(found['ways'])}", ""]
        lines += ["| way | PSNR, dB | gain, dB | output error | gain |", "|---|---|---|---|---|"]
        for way, figures in found["ways"].items():
            gain, error = figures["psnr_gain"], figures["error_gain"]
            lines.append(
                f"| {way} | {figures['psnr'][0]:.2f} | {gain[0]:+.2f} [{gain[1]:+.2f}, {gain[2]:+.2f}] | "
                f"{figures['error'][0]:.3f} | {error[0]:+.3f} [{error[1]:+.3f}, {error[2]:+.3f}] |"
            )
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes ``docs/transfer.md`` from ``results.json``: ``python tests/lab/transfer/table.py``."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs" / "transfer.md"


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

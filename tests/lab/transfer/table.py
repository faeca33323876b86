"""Writes ``docs/transfer.md`` from ``results.json``: ``python tests/lab/transfer/table.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import taught  # noqa: E402

PAGE = HERE.parents[2] / "docs" / "transfer.md"

NOT_A_REMEDY = ("plain 1.0", "without the LoRA", "what the node returns")
STUDENTS = {
    "distilled": "the model that ships; distilled to 4 steps",
    "mild": "hardly changed from the base, 4 steps: here the LoRA transfers without loss",
    "strong": "distilled to 2 steps, at the highest learning rate that trains",
    "pruned": "one of the single blocks removed, then distilled to 4 steps",
}
REMEDIES = """
## What to do

PSNR to the true styled picture, in dB:

{table}

* **Distilled, many steps to few** (distilled, mild, strong): use the LoRA as it is, at strength 1. Training on the
  model itself brings 0.2 to 0.3 dB.
* **Blocks removed or inserted** (pruned): renumber the blocks first; Feature Shift, Fit Strengths and Transfer LoRA
  find the map from the weights, Apply LoRA and Save LoRA take it in *block_map*. That brings back 4.3 of the 5.6 dB
  that are lost; strengths alone bring back 2.1. *Transfer LoRA* brings back all of it (below).
* **Another width** (Klein Nano wide; 9B to 4B): no layer lands. *Transfer LoRA* makes a new LoRA from the old one and
  its model (below).
* **A concept** (ten new subjects on distilled: 20.4 dB, 28.4 on its own model): what holds whole pictures loses most.
  *Transfer LoRA* brings it back (below).

Feature Shift says *transfers* of the first kind and *transfers with losses* of the second.
"""
REMEDY_ROWS = {
    "plain 1.0": "plain 1.0", "what Fit Strengths returns": "what the node returns", "refit": "refit LoRA",
    "blocks renumbered": "plain 1.0, blocks renumbered", "trained on it": "trained on this model",
}
"""Column to way."""
METHOD = """
## How it is measured

* **PSNR** is to the true styled picture, which exists for every caption because the style is a rule. **Output error**
  is `|wanted change - change| / |wanted change|` of the model's output on the same noisy latents, with all noise
  levels counting equally: 0 is the LoRA's own effect, 1 is as without it. Both are for captions the LoRA never saw.
* **The wanted change** is what the LoRA does to the base *with guidance*. How much guidance a student absorbed is
  measured, not assumed. The base's guided output `negative + cfg (positive - negative)` is linear in `cfg`, so the
  `cfg` that comes closest to the student's output, both without the LoRA, is a quotient of two sums. It is computed
  for each noise level, because a few-step student absorbs less of it where little is left to decide. The remaining
  distance, and the distance at CFG 1, are given. The row *CFG {assumed:g} assumed* trusts the CFG of the
  distillation instead.
* **Strengths** are fitted by one Gauss-Newton step from 1, with ridge and bounds, by block and stream; the ridge is
  chosen by cross-validation over prompts. A fit uses {fit_prompts} other captions with {fit_seeds} noises each, half
  of them held out.
* **Refit** solves for the up factor of each layer by least squares, so that its output gains on the student what it
  gained on the base; rank and down factors stay.
* **Trained on this model** is the upper bound: the same style trained on the student itself.

## When strengths stay 1

A strength other than 1 has to win back a hundredth of the square of the LoRA's own effect, and the whole 95 %
interval of the gain has to be above the run-to-run floor. A hundredth is what strength 0.9 instead of 1 costs on the
LoRA's own model (an error of 10 %). Where plain 1.0 has an error below 10 %, there is not that much to win, and
nothing is changed. In pictures, on the base itself ({scale_captions} captions):

| strength on the base | output error | PSNR, dB | against 1.0, dB |
|---|---|---|---|
{scale}
"""


def span(values: list[float], digits: int) -> str:
    """``+0.12 [+0.02, +0.22]``."""
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def verdict(figures: dict[str, Any]) -> str:
    """Whether a way helps, by the interval of its gain in PSNR over plain 1.0."""
    _, low, high = figures["psnr_gain"]
    return "helps" if low > 0 else "harms" if high < 0 else "no difference shown"


def in_words(ways: dict[str, Any]) -> str:
    """Which ways help, harm or do neither."""
    found: dict[str, list[str]] = {"helps": [], "harms": [], "no difference shown": []}
    for way, figures in ways.items():
        if way not in NOT_A_REMEDY:
            found[verdict(figures)].append(f"{way} ({figures['psnr_gain'][0]:+.2f} dB)")
    text = ". ".join(f"**{name.capitalize()}**: {', '.join(ways)}" for name, ways in found.items() if ways) + "."
    torn = [way for way, it in ways.items() if it["psnr_gain"][2] < 0 < it["error_gain"][1]]
    return text + (f" The output error and the pictures disagree about {', '.join(torn)}." if torn else "")


def remedies(students: dict[str, Any]) -> str:
    """What to do in each case, with the figures of every way."""
    lines = [f"| student | {' | '.join(REMEDY_ROWS)} |", "|---" * (len(REMEDY_ROWS) + 1) + "|"]
    for name, found in students.items():
        figures = (found["ways"].get(way) for way in REMEDY_ROWS.values())
        cells = (f"{each['psnr'][0]:.2f}" if each else "-" for each in figures)
        lines.append(f"| {name}, {found['steps']} steps | {' | '.join(cells)} |")
    return REMEDIES.format(table="\n".join(lines)).strip()


def by_method(students: dict[str, Any]) -> list[str]:
    """One row a way: on which students it helps, harms, or does neither."""
    ways = list(dict.fromkeys(way for found in students.values() for way in found["ways"]))
    lines = [f"| way | {' | '.join(students)} |", "|---" * (len(students) + 1) + "|"]
    for way in ways:
        if way in ("plain 1.0", "without the LoRA"):
            continue
        cells = []
        for found in students.values():
            figures = found["ways"].get(way)
            cells.append(f"{verdict(figures)}, {figures['psnr_gain'][0]:+.2f} dB" if figures else "-")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def guidance_words(found: list[dict[str, Any]]) -> str:
    """The measured guidance of the test captions: the mean over noises."""
    all_of = [each["held_out"] for each in found]
    cfg, low, high, distance, unguided = (
        sum(each[name] for each in all_of) / len(all_of)
        for name in ("cfg", "low", "high", "distance", "distance_unguided")
    )
    levels = [sum(values) / len(all_of) for values in zip(*(each["levels"] for each in all_of), strict=True)]
    return (
        f"Guidance absorbed, measured: CFG {cfg:.2f} [{low:.2f}, {high:.2f}], by noise level "
        f"{', '.join(f'{level:.2f}' for level in levels)}. There the base's output differs from "
        f"the student's by {distance:.1%}; at CFG 1, by {unguided:.1%}."
    )


def student_section(name: str, found: dict[str, Any]) -> list[str]:
    """Everything about one student."""
    lines = ["", f"## {name}, {found['steps']} steps", ""]
    lines += [f"{STUDENTS.get(name, '')[:1].upper()}{STUDENTS.get(name, '')[1:]}.", ""] if name in STUDENTS else []
    lines += [f"Feature Shift: {found['transfer']['summary']}", "", guidance_words(found["guidance"]), ""]
    names = ("node_returned", "assumed_returned")
    returned, assumed = (", ".join(f"`{each}`" for each in found[name]) for name in names)
    lines += [f"Fit Strengths returned: {returned}. With the assumed CFG it would return {assumed}.", ""]
    lines += [f"By the pictures: {in_words(found['ways'])}", ""]
    lines += ["| way | PSNR, dB | gain, dB | output error | gain |", "|---|---|---|---|---|"]
    for way, figures in found["ways"].items():
        lines.append(
            f"| {way} | {figures['psnr'][0]:.2f} | {span(figures['psnr_gain'], 2)} | {figures['error'][0]:.3f} | "
            f"{span(figures['error_gain'], 3)} |"
        )
    return lines


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    protocol, students = results["protocol"], results["students"]
    scale = "\n".join(
        f"| {name.replace('plain ', '').replace('strength ', '')} | {figures['error'][0]:.3f} | "
        f"{figures['psnr'][0]:.2f} | {span(figures['psnr_gain'], 2)} |"
        for name, figures in results["scale"].items()
    )
    lines = [
        "# Does a LoRA do the same on another model?",
        "",
        f"The {protocol['style']} LoRA of Klein Nano's base, on students of that base: {protocol['test_captions']} "
        f"captions that it never saw x {protocol['noises']} noises, {protocol['fits']} fits on other captions. "
        "Intervals are 95 %, by bootstrap over the captions; gains are over plain 1.0, positive is better. Made by "
        "`python tests/lab/transfer/evaluate.py --comfyui PATH --students .lab/students` and `table.py`.",
        "",
        "PSNR gained over plain 1.0, and whether its interval is above or below 0:",
        "",
        *by_method(students),
        "",
        "A method that helps on none of these models is not worth using; one that helps on some may be tried on "
        "similar models. Another LoRA may behave differently: *Fit Strengths* measures yours.",
        "",
        remedies(students),
        "",
        taught.section(),
        METHOD.format(
            assumed=protocol["assumed_guidance"], fit_prompts=protocol["fit_prompts"], fit_seeds=protocol["fit_seeds"],
            scale_captions=protocol["scale_captions"], scale=scale,
        ).rstrip(),
    ]  # fmt: skip
    for name, found in students.items():
        lines += student_section(name, found)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    if "scale" not in results:
        raise SystemExit("results.json is of an earlier evaluate.py, without its table of strengths: run it first")
    PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()

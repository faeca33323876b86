"""Does a sweep find the blocks that matter? ``python tests/lab/sweep_table.py --comfyui PATH``.

On Klein Nano, where the true styled picture is known, on a CPU, with fixed noises:

* LoRAs that do something in chosen blocks only are swept: are those found, and only those?
* units are ranked by their effect, and by how far the pictures without each are from the true styled pictures (PSNR);
  beside it the ranking of plain MSE on single pictures (the public method), of the weights' energy and of the feature
  shift, on the same pictures;
* the search against the best of all sets, which are all run.

Writes ``sweep_results.json`` and the tables of ``docs/sweep.md``. ``--page`` alone writes the page anew, ``--part``
measures one of ``chosen``, ``ranking`` and ``search`` and keeps the others' figures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS, PAGE = HERE / "sweep_results.json", ROOT / "docs" / "sweep.md"
MODEL = "klein-nano-distilled"
SEARCHED = ("klein-nano-duotone", "klein-nano-monochrome")
RANKED = {"klein-nano-duotone-distilled": "duotone", "klein-nano-duotone": "duotone"}
"""The first was trained on this model, the second on its base."""
RANKED_CAPTIONS = 16
STEPS, CFG, SEED = 4, 1.0, 1000
QUIET = 0.005
"""Strength of the blocks that shall not matter: they are in the file, but do nearly nothing."""
LOUD = {"double_blocks.0": 8.0, "double_blocks.1": 8.0, "single_blocks.0": 8.0, "single_blocks.1": 8.0}
"""Blocks of the duotone LoRA that do little are made stronger where they shall matter."""
DISTANCE = 0.1
DISTANCES = (0.05, 0.1, 0.2)

Figures = dict[str, Any]


class Lab:
    """The shipped files in ComfyUI, and sweeps on them."""

    def __init__(self, comfyui: Path, data: Path) -> None:
        sys.path[:0] = [str(HERE), str(ROOT / "tests" / "bench")]
        from faithful_table import start_comfyui

        start_comfyui()
        import folder_paths
        from evaluate import Stock

        folder_paths.set_user_directory(str(data.resolve().parent / "user"))

        self.stock = Stock(comfyui, ROOT / "models")
        self.data = dict(np.load(data))
        self.model = self.stock.model(MODEL.removeprefix("klein-nano-"))
        held = self.data["is_held_out"]
        self.captions = [int(index) for number, index in enumerate(np.flatnonzero(held)) if number % 4]
        """Captions that no LoRA saw in training."""
        self.seen = [int(index) for index in np.flatnonzero(~held & ~self.data["is_concept"])][::6]

    def lora(self, path: Path) -> Any:
        """A file of a LoRA."""
        from pack.nodes.host.apply.lora_cache import LORA_CACHE

        return LORA_CACHE.load(str(path), path.stem)

    def shipped(self, name: str) -> Path:
        """A LoRA that ships."""
        return ROOT / "models" / "loras" / f"{name}.safetensors"

    def sweep(self, lora: Any, captions: list[int], mode: str = "knock-out", **change: Any) -> Any:
        """Sweep on some captions, one noise each."""
        from pack.nodes.host.sweep.cells import SweepInputs
        from pack.nodes.host.sweep.sweep import run_sweep

        prompts = [[self.stock.prompts[str(self.data["names"][i])], {}] for i in captions]
        fields = {
            "model": self.model, "lora": lora, "strength": 1.0, "positive": prompts,
            "negative": [[self.stock.prompts["empty"], {}]], "latent": {"samples": torch.zeros(1, 128, 8, 8)},
            "seed": SEED, "seeds": 1, "steps": STEPS, "cfg": CFG, "sampler_name": "euler", "scheduler": "simple",
            "mode": mode, "grouping": "block", "distance": DISTANCE, "budget_s": 1e9, "vae": self.stock.vae,
            "resume": True, "feature_shift": False,
        }  # fmt: skip
        return run_sweep(SweepInputs(**{**fields, **change}))

    def truth(self, style: str, captions: list[int]) -> list[torch.Tensor]:
        """The true styled pictures, [height, width, 3]."""
        return [torch.from_numpy(self.data[style][i]).float() / 255 for i in captions]


def chosen_sets(units: list[str]) -> list[list[str]]:
    """Every unit alone, and three seeded pairs or triples."""
    draw = random.Random(19)
    more = [sorted(draw.sample(units, size), key=units.index) for size in (2, 2, 3)]
    return [[unit] for unit in units] + more


def chosen(lab: Lab) -> list[Figures]:
    """LoRAs that matter in chosen units only: which ones are found?"""
    from pack.nodes.host.sweep.units import find_units

    source = lab.shipped("klein-nano-duotone")
    units = [unit.name for unit in find_units(lab.lora(source), lab.model, "block")]
    rows: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, wanted in enumerate(chosen_sets(units)):
            text = ", ".join(f"{unit}={LOUD.get(unit, 1.0) if unit in wanted else QUIET:g}" for unit in units)
            path = Path(folder) / f"chosen-{number}.safetensors"
            bake(source, text, path)
            result = lab.sweep(lab.lora(path), lab.captions[:1])
            found = [row.name for row in result.table.rows if row.kept]
            effects = {row.name: round(row.effect.mean, 4) for row in result.table.rows}
            rows.append({"chosen": wanted, "found": found, "effects": effects, "missed": result.table.missed.mean})
            print(rows[-1], flush=True)
    return rows


def bake(source: Path, text: str, path: Path) -> None:
    """The LoRA with these block strengths, as a file, by the pack's own command."""
    from pack.nodes.core.cli.main import main as command_line

    model = ROOT / "models" / "diffusion_models" / f"{MODEL}.safetensors"
    code = command_line(["bake", str(source), "-o", str(path), "--model", str(model), "--blocks", text])
    if code:
        raise SystemExit(f"bake ended with {code} for {text}")


def ranking(lab: Lab) -> list[Figures]:
    """How well each ranking agrees with the distance to the true styled picture."""
    from pack.nodes.core.sweep.rank import rank_correlation

    rows: list[Figures] = []
    for name, style in RANKED.items():
        for group, captions in (("seen", lab.seen[:RANKED_CAPTIONS]), ("unseen", lab.captions[:RANKED_CAPTIONS])):
            begun, truth = time.monotonic(), lab.truth(style, captions)
            result = lab.sweep(lab.lora(lab.shipped(name)), captions, feature_shift=True)
            bench, units = result.bench, result.table.rows
            without = [bench.pictures(frozenset({i})) for i in range(len(units))]
            full = bench.pictures(frozenset())
            lost = [-mean_psnr(pictures, truth) for pictures in without]
            effects = [row.effect.mean for row in units]
            style_lost = [1 - bench.toward(frozenset({i})).mean for i in range(len(units))]
            alone = [bench.everything - {i} for i in range(len(units))]
            made = [mean_psnr(bench.pictures(setting), truth) for setting in alone]
            toward = [bench.toward(setting).mean for setting in alone]
            single = []
            for scene in range(len(captions)):
                squares = [float((pictures[scene] - full[scene]).square().mean()) for pictures in without]
                single.append(rank_correlation(squares, lost) or 0.0)
            row: Figures = {
                "lora": name, "captions": group, "units": len(units), "pictures": len(captions),
                "effect": rank_correlation(effects, lost), "style_lost": rank_correlation(style_lost, lost),
                "toward": rank_correlation(toward, made),
                "mse_one_picture": {"mean": sum(single) / len(single), "worst": min(single)},
                "energy": rank_correlation([row.energy for row in units], lost),
                "psnr_whole": mean_psnr(full, truth), "floor": result.table.floor,
                "rows": [
                    {"unit": unit.name, "effect": effect, "low": unit.effect.low, "high": unit.effect.high,
                     "style_lost": style_lost[i], "psnr": -lost[i], "toward": toward[i], "psnr_alone": made[i],
                     "energy": unit.energy, "shift": unit.shift}
                    for i, (unit, effect) in enumerate(zip(units, effects, strict=True))
                ],
            }  # fmt: skip
            known = [(unit.shift, loss) for unit, loss in zip(units, lost, strict=True) if unit.shift is not None]
            row["shift"] = rank_correlation([a for a, _ in known], [b for _, b in known]) if len(known) > 2 else None
            rows.append(row)
            for unit in row["rows"]:
                print({k: v if isinstance(v, str) or v is None else round(v, 5) for k, v in unit.items()}, flush=True)
            print({k: v for k, v in row.items() if k != "rows"}, f"{time.monotonic() - begun:.0f} s", flush=True)
    return rows


def mean_psnr(pictures: Any, truth: list[torch.Tensor]) -> float:
    """Mean over the pictures, in dB."""
    each = [-10 * torch.log10((a - b).square().mean()) for a, b in zip(pictures, truth, strict=True)]
    return float(torch.stack(each).mean())


def searching(lab: Lab) -> list[Figures]:
    """The search and the knock-out's own choice against the best of all sets."""
    from pack.nodes.core.sweep.bench import Bench
    from pack.nodes.core.sweep.modes import run_mode
    from pack.nodes.core.sweep.search import exhaustive

    rows: list[Figures] = []
    for name in SEARCHED:
        result = lab.sweep(lab.lora(lab.shipped(name)), lab.captions[:1])
        units, every = result.table.rows, result.bench
        order = sorted(range(len(units)), key=lambda i: units[i].energy or 0.0)
        for distance in DISTANCES:
            best = exhaustive(every, distance)
            row: Figures = {
                "lora": name, "units": len(units), "sets": 2 ** len(units), "distance": distance,
                "best": len(units) - len(best), "best_missed": every.missed(best).mean,
            }  # fmt: skip
            for mode in ("search", "knock-out"):
                bench = Bench(len(units), every.pictures)
                swept = run_mode(bench, mode, distance, order)
                row[mode] = {
                    "kept": len(units) - len(swept.dropped), "missed": bench.missed(swept.dropped).mean,
                    "runs": bench.settings,
                }  # fmt: skip
            rows.append(row)
            print(row, flush=True)
    return rows


PARTS: dict[str, Callable[[Lab], list[Figures]]] = {"chosen": chosen, "ranking": ranking, "search": searching}


def markdown(results: dict[str, list[Figures]]) -> dict[str, str]:
    """The tables of the page, by part."""
    lines = ["| does something in | found | largest effect of another block |", "|---|---|---:|"]
    for row in results["chosen"]:
        other = max((v for k, v in row["effects"].items() if k not in row["chosen"]), default=0.0)
        lines.append(f"| {', '.join(row['chosen'])} | {', '.join(row['found'])} | {100 * other:.1f} % |")
    right = sum(row["chosen"] == row["found"] for row in results["chosen"])
    lines += ["", f"{right} of {len(results['chosen'])} are found exactly."]
    tables = {"chosen": "\n".join(lines)}
    heads = ("LoRA", "captions", "solo: towards the LoRA", "knock-out: effect", "its MSE on one picture", "energy")
    lines = [f"| {' | '.join(heads)} | feature shift |", "|---|---|---:|---:|---:|---:|---:|"]
    for row in results["ranking"]:
        one, shift = row["mse_one_picture"], row["shift"]
        lines.append(
            f"| {row['lora']} | {row['captions']} | **{row['toward']:.2f}** | {row['effect']:.2f} | "
            f"{one['mean']:.2f} ({one['worst']:.2f}) | {row['energy']:.2f} | {shift:.2f} |"
        )
    lines += ["", "Of the first row, unit by unit:", ""]
    lines += [
        "| unit | PSNR without it | effect | PSNR with it alone | towards the LoRA | energy |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for unit in results["ranking"][0]["rows"]:
        lines.append(
            f"| {unit['unit']} | {unit['psnr']:.2f} dB | {100 * unit['effect']:.1f} % | {unit['psnr_alone']:.2f} dB | "
            f"{100 * unit['toward']:.1f} % | {100 * unit['energy']:.2g} % |"
        )
    whole = results["ranking"][0]["psnr_whole"]
    lines += ["", f"With the whole LoRA it is {whole:.2f} dB."]
    tables["ranking"] = "\n".join(lines)
    lines = [
        "| LoRA | may be missed | fewest of all sets | search | its runs | knock-out | its runs |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results["search"]:
        search, knock = row["search"], row["knock-out"]
        lines.append(
            f"| {row['lora']} | {100 * row['distance']:g} % | {row['best']} of {row['units']} | "
            f"{search['kept']} | {search['runs']} of {row['sets']} | {knock['kept']} | {knock['runs']} |"
        )
    tables["search"] = "\n".join(lines)
    return tables


def write_page(results: dict[str, list[Figures]]) -> None:
    """Put the tables between their marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    for part, table in markdown(results).items():
        begin, end = f"<!-- sweep_table {part}: begin -->", f"<!-- sweep_table {part}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, write the figures and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT / ".lab" / "data.npz")
    parser.add_argument("--part", choices=sorted(PARTS), action="append")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the figures")
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if args.page:
        return write_page(results)
    if args.comfyui is None:
        parser.error("--comfyui PATH: the ComfyUI that samples")
    lab = Lab(args.comfyui.resolve(), args.data)
    for part in args.part or PARTS:
        with torch.inference_mode():
            results[part] = PARTS[part](lab)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if PAGE.exists() and results.keys() == PARTS.keys():
        write_page(results)
    return None


if __name__ == "__main__":
    main()

"""Does the duotone LoRA of the base do the same on its students, and does anything make it do so?

``evaluate.py --comfyui PATH --students .lab/students`` measures, for every student that is
there, the output error and the PSNR to the true styled picture of every way to set strengths, of the refit LoRA
and of a LoRA trained on the student itself. Results go to ``results.json``; ``table.py`` makes the page of it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from evaluate import Stock  # noqa: E402
from flow import psnr  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

STYLE, LORA = "duotone", "klein-nano-duotone"
GUIDANCE = 1.5
"""CFG of the base that the students were distilled with."""
FIT_PROMPTS, FIT_SEEDS = 8, 2
DRAWS = 4000


@dataclass(frozen=True)
class Student:
    """A model that the LoRA was not trained on."""

    name: str
    path: Path
    own_lora: Path
    """The same style trained on this very model: the upper line."""
    steps: int = 4
    dropped: int | None = None
    """Single block of the base that it lacks; those behind it moved up."""


def find_students(models: Path, folder: Path | None) -> list[Student]:
    """The shipped student, and those of ``folder`` that are there."""
    shipped = Student(
        "distilled",
        models / "diffusion_models" / "klein-nano-distilled.safetensors",
        models / "loras" / "klein-nano-duotone-distilled.safetensors",
    )
    if folder is None:
        return [shipped]
    more = [
        Student(name, folder / f"{name}.safetensors", folder / f"duotone-on-{name}.safetensors", **options)
        for name, options in (("mild", {}), ("strong", {"steps": 2}), ("pruned", {"dropped": 2}))
    ]
    return [shipped, *(student for student in more if student.path.exists())]


class Bench:
    """Everything that is measured on one student."""

    def __init__(self, args: argparse.Namespace, stock: Stock, data: dict[str, np.ndarray]) -> None:
        from pack.nodes.host import feature_shift, fit_strengths, probes, strength_lab
        from pack.nodes.host.lora_cache import LORA_CACHE

        self.args, self.stock, self.data = args, stock, data
        self.shift, self.fit, self.probes, self.lab = feature_shift, fit_strengths, probes, strength_lab
        self.load_lora = LORA_CACHE.load
        self.names = [str(name) for name in data["names"]]
        self.truth = torch.from_numpy(data[STYLE]).permute(0, 3, 1, 2).float() / 255
        seen = np.flatnonzero(~data["is_held_out"] & ~data["is_concept"])
        self.seen = [int(i) for i in seen]
        held = np.flatnonzero(data["is_held_out"])
        self.test = [int(i) for n, i in enumerate(held) if n % 4][:: args.every]
        self.base = self.model(args.models / "diffusion_models" / "klein-nano-base.safetensors")

    def model(self, path: Path) -> Any:
        return self.stock.comfy.sd.load_diffusion_model(str(path))

    def prompt(self, index: int) -> list[Any]:
        return [self.stock.prompts[self.names[index]], {}]

    @property
    def empty(self) -> list[list[Any]]:
        return [[self.stock.prompts["empty"], {}]]

    def sigmas(self, steps: int) -> torch.Tensor:
        return self.stock.scheduler.execute(steps, 128, 128).result[0]

    def settings(self, indices: Sequence[int], steps: int, seed: int, seeds: int) -> Any:
        latent = {"samples": torch.zeros(1, 128, 8, 8)}
        prompts = [self.prompt(index) for index in indices]
        return self.shift.ProbeSettings(prompts, latent, self.sigmas(steps), seed, seeds, 4)

    def pictures(self, model: Any, steps: int, seed: int) -> torch.Tensor:
        """PSNR to the truth of every test caption."""
        found = []
        samplers = self.stock.comfy.samplers
        for index in self.test:
            guider = samplers.CFGGuider(model)
            guider.inner_set_conds({"positive": [self.prompt(index)]})
            guider.set_cfg(1.0)
            noise = torch.randn(1, 128, 8, 8, generator=torch.Generator().manual_seed(seed + index))
            euler = samplers.sampler_object("euler")
            latent = guider.sample(noise, torch.zeros_like(noise), euler, self.sigmas(steps), seed=0, disable_pbar=True)
            with torch.no_grad():
                found.append(psnr(self.stock.picture(latent), self.truth[index : index + 1]))
        return torch.cat(found)

    def held_out_probes(self, target: Any, steps: int, seed: int) -> Any:
        chosen = self.settings(self.test, steps, seed, 1)
        plan = self.probes.plan_probes(target, chosen.conditioning, chosen.latent_image, chosen.sigmas, seed, 1, 4)
        return self.probes.walk_latents(target, plan)


def run_student(bench: Bench, student: Student) -> dict[str, Any]:
    """All measurements of one student."""
    lora_path = bench.args.models / "loras" / f"{LORA}.safetensors"
    target = bench.model(student.path)
    lora = bench.load_lora(str(lora_path), LORA)
    patch = bench.lab.patch_model
    patched_base = patch(bench.base, lora, "")
    seeds = list(range(bench.args.seeds))
    transfer = transfer_of(bench, student, target, patch(target, lora, ""), patched_base)
    print(f"{student.name}: {transfer['summary']}", flush=True)
    ways: dict[str, list[Any]] = {}
    chosen: list[str] = []
    strengths: list[dict[str, Any]] = []
    for seed in seeds:
        fitted = fit_once(bench, student, target, lora_path, seed)
        chosen.append(fitted.blocks)
        found = {item.name: item.strengths for item in fitted.table.candidates if item.strengths}
        strengths.append(found)
        for name, values in found.items():
            ways.setdefault(name, []).append(patch(target, lora, bench.lab.strengths_text(values)))
        ways.setdefault("refit LoRA", []).append(fitted.refitted.patched(target))
        ways.setdefault("what the node returns", []).append(patch(target, lora, fitted.blocks))
        print(f"{student.name}, fit {seed}: {fitted.blocks}; {fitted.report.summary}", flush=True)
    if student.dropped is not None:
        moved = renumbered(lora_path, student.dropped, bench.args.scratch)
        ways["plain 1.0, blocks renumbered"] = [patch(target, bench.load_lora(str(moved), "renumbered"), "")]
    ways["without the LoRA"] = [target]
    if student.own_lora.exists():
        ways["trained on this model"] = [patch(target, bench.load_lora(str(student.own_lora), "own"), "")]
    measured = measure_ways(bench, student, target, patched_base, ways)
    return {
        "steps": student.steps, "transfer": transfer, "node_returned": chosen, "strengths": strengths,
        "ways": summarise(measured),
    }  # fmt: skip


def transfer_of(bench: Bench, student: Student, target: Any, patched: Any, patched_base: Any) -> dict[str, Any]:
    """Feature Shift's verdict."""
    settings = bench.settings(bench.seen[5::24][:4], student.steps, 40, 2)
    measured = bench.shift.measure_shift(target, patched, settings, (bench.base, patched_base), use_cache=False)
    output = measured.table.rows[-1]
    return {
        "verdict": measured.report.verdict, "summary": measured.report.summary, "cosine": output.change_cosine,
        "ratio": output.ratio, "error": output.change_error, "seed_cosine": output.seed_cosine,
        "floor": output.floor,
    }  # fmt: skip


def fit_once(bench: Bench, student: Student, target: Any, lora_path: Path, seed: int) -> Any:
    """One fit on captions that the LoRA was trained on; other prompts and noises for every seed."""
    step = len(bench.seen) // FIT_PROMPTS
    indices = bench.seen[(3 + 5 * seed) % step :: step][:FIT_PROMPTS]
    settings = bench.fit.FitSettings(
        bench.settings(indices, student.steps, 100 + 1000 * seed, FIT_SEEDS), "block and stream", 0.0, 2.0, 0.0,
        GUIDANCE, bench.empty, refit_name="not saved",
    )  # fmt: skip
    bench.fit.choose = _never_refit(bench.fit.choose)
    return bench.fit.fit_strengths(target, bench.base, str(lora_path), LORA, settings)


def _never_refit(choose: Any) -> Any:
    """The lab judges the refit LoRA itself and saves nothing."""
    return lambda candidates, floor, allowed: choose(candidates, floor, [n for n in allowed if n != "refit LoRA"])


def measure_ways(
    bench: Bench, student: Student, target: Any, patched_base: Any, ways: dict[str, list[Any]]
) -> dict[str, dict[str, list[float]]]:
    """Output error and PSNR of each way, for every test caption: the mean over fits and noises."""
    measured: dict[str, dict[str, list[float]]] = {}
    seeds = range(bench.args.seeds)
    probes = [bench.held_out_probes(target, student.steps, 7000 + 500 * seed) for seed in seeds]
    guided = bench.probes.guided_outputs
    before = [bench.lab.outputs(target, p) for p in probes]
    wanted = [
        bench.lab.difference(
            guided(patched_base, p, GUIDANCE, bench.empty), guided(bench.base, p, GUIDANCE, bench.empty)
        )
        for p in probes
    ]
    for name, models in ways.items():
        errors, pictures = [], []
        for seed in seeds:
            model = models[seed % len(models)]
            change = bench.lab.difference(bench.lab.outputs(model, probes[seed]), before[seed])
            errors.append(bench.fit.scene_errors(change, wanted[seed]))
            pictures.append(bench.pictures(model, student.steps, 20_000 + 1000 * seed).tolist())
        measured[name] = {"error": np.mean(errors, 0).tolist(), "psnr": np.mean(pictures, 0).tolist()}
        print(f"  {name}: {np.mean(pictures):.2f} dB, error {np.mean(errors):.3f}", flush=True)
    return measured


def renumbered(path: Path, dropped: int, folder: Path) -> Path:
    """The LoRA with the dropped single block left out and those behind it moved up, as in the pruned student."""
    tensors = {}
    for key, value in load_file(path).items():
        head, found, rest = key.partition("single_blocks_")
        if found:
            index, _, layer = rest.partition("_")
            if int(index) == dropped:
                continue
            key = f"{head}{found}{int(index) - (int(index) > dropped)}_{layer}"
        tensors[key] = value
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "renumbered.safetensors")
    return folder / "renumbered.safetensors"


def summarise(measured: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Means, and gains over plain 1.0 with bootstrap intervals over the captions."""
    plain = measured["plain 1.0"]
    found = {}
    for name, values in measured.items():
        found[name] = {
            "psnr": mean_interval(values["psnr"]),
            "psnr_median": round(float(np.median(values["psnr"])), 2),
            "psnr_gain": mean_interval(np.subtract(values["psnr"], plain["psnr"])),
            "error": mean_interval(values["error"]),
            "error_gain": mean_interval(np.subtract(plain["error"], values["error"])),
        }
    return found


def mean_interval(values: Any) -> list[float]:
    """Mean and 95 % percentile interval of captions drawn with replacement."""
    dice, units = random.Random(0), [float(value) for value in values]
    means = sorted(sum(dice.choices(units, k=len(units))) / len(units) for _ in range(DRAWS))
    ends = (means[round(0.025 * (DRAWS - 1))], means[round(0.975 * (DRAWS - 1))])
    return [round(value, 4) for value in (sum(units) / len(units), *ends)]


def main() -> None:
    """Measure every student and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--students", type=Path)
    parser.add_argument("--only", default="", help="names of students, with commas")
    parser.add_argument("--data", type=Path, default=ROOT / ".lab" / "data.npz")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--scratch", type=Path, default=ROOT / ".lab" / "transfer")
    parser.add_argument("--seeds", type=int, default=3, help="fits, and noises for each test caption")
    parser.add_argument("--every", type=int, default=1, help="every so-many-th test caption")
    args = parser.parse_args()
    stock = Stock(args.comfyui.resolve(), args.models)
    package = types.ModuleType("pack")
    package.__path__ = [str(ROOT)]
    sys.modules["pack"] = package
    bench = Bench(args, stock, dict(np.load(args.data)))
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    results["protocol"] = {
        "style": STYLE, "guidance": GUIDANCE, "fits": args.seeds, "fit_prompts": FIT_PROMPTS, "fit_seeds": FIT_SEEDS,
        "test_captions": len(bench.test), "noises": args.seeds,
    }  # fmt: skip
    wanted = set(filter(None, args.only.split(",")))
    for student in find_students(args.models, args.students):
        if not wanted or student.name in wanted:
            results.setdefault("students", {})[student.name] = run_student(bench, student)
            args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

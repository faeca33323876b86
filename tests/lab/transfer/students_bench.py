"""What is measured on one student: every way to set the strengths of a LoRA, by output and by picture."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluate import Stock  # type: ignore[attr-defined] - the lab's, beside this folder
from flow import psnr
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[3]
PLAIN, REFIT = "plain 1.0", "refit LoRA"
NODE, WITHOUT, OWN = "what the node returns", "without the LoRA", "trained on this model"
RENUMBERED = "plain 1.0, blocks renumbered"
ASSUMED = 1.5
"""The CFG that the students were distilled with: a control that trusts this instead of measuring."""
ASSUMED_WAY = f"fitted strengths, CFG {ASSUMED:g} assumed"
FIT_PROMPTS, FIT_SEEDS = 8, 2
BASE_STEPS = 20
SCALE_STRENGTHS = (0.8, 0.9, 1.1, 1.2)


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


def find_students(models: Path, folder: Path | None, style: str) -> list[Student]:
    """The shipped student, and those of ``folder`` that are there."""
    shipped = Student(
        "distilled",
        models / "diffusion_models" / "klein-nano-distilled.safetensors",
        models / "loras" / f"klein-nano-{style}-distilled.safetensors",
    )
    if folder is None:
        return [shipped]
    more = [
        Student(name, folder / f"{name}.safetensors", folder / f"{style}-on-{name}.safetensors", **options)
        for name, options in (("mild", {}), ("strong", {"steps": 2}), ("pruned", {"dropped": 2}))
    ]
    return [shipped, *(student for student in more if student.path.exists())]


class Bench:
    """ComfyUI, the base with its LoRA, captions and true pictures."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.set_num_threads(1)
        self.stock = Stock(args.comfyui.resolve(), args.models)
        package = types.ModuleType("pack")
        package.__path__ = [str(ROOT)]
        sys.modules["pack"] = package
        from pack.nodes.core.transfer import guidance  # ComfyUI has to be there first
        from pack.nodes.host.apply.lora_cache import LORA_CACHE
        from pack.nodes.host.transfer import feature_shift, fit_strengths, probes, strength_lab

        self.guidance, self.shift, self.fit, self.probes, self.lab = (
            guidance, feature_shift, fit_strengths, probes, strength_lab,
        )  # fmt: skip
        # The lab judges the refit LoRA itself and saves nothing.
        choose = fit_strengths.choose
        fit_strengths.choose = lambda found, floor, allowed: choose(found, floor, [n for n in allowed if n != REFIT])
        self.load_lora = LORA_CACHE.load
        data = dict(np.load(args.data))
        self.scratch = args.scratch
        self.names = [str(name) for name in data["names"]]
        self.truth = torch.from_numpy(data[args.style]).permute(0, 3, 1, 2).float() / 255
        self.seen = [int(i) for i in np.flatnonzero(~data["is_held_out"] & ~data["is_concept"])]
        held = np.flatnonzero(data["is_held_out"])
        self.test = [int(i) for n, i in enumerate(held) if n % 4][:: args.every]
        self.base = self.model(args.models / "diffusion_models" / "klein-nano-base.safetensors")
        self.lora_path = args.models / "loras" / f"klein-nano-{args.style}.safetensors"
        self.lora = self.load_lora(str(self.lora_path), self.lora_path.stem)
        self.patched_base = self.lab.patch_model(self.base, self.lora, "")

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

    def pictures(self, model: Any, steps: int, seed: int, cfg: float = 1.0) -> list[float]:
        """PSNR to the truth of every test caption."""
        found = []
        samplers = self.stock.comfy.samplers
        for index in self.test:
            guider = samplers.CFGGuider(model)
            guider.inner_set_conds({"positive": [self.prompt(index)], "negative": self.empty})
            guider.set_cfg(cfg)
            noise = torch.randn(1, 128, 8, 8, generator=torch.Generator().manual_seed(seed + index))
            euler = samplers.sampler_object("euler")
            latent = guider.sample(noise, torch.zeros_like(noise), euler, self.sigmas(steps), seed=0, disable_pbar=True)
            with torch.no_grad():
                found.append(float(psnr(self.stock.picture(latent), self.truth[index : index + 1])))
        return found

    def held_out_probes(self, target: Any, steps: int, seed: int) -> Any:
        chosen = self.settings(self.test, steps, seed, 1)
        plan = self.probes.plan_probes(target, chosen.conditioning, chosen.latent_image, chosen.sigmas, seed, 1, 4)
        return self.probes.walk_latents(target, plan)


def measure_fit(bench: Bench, student: Student, seed: int) -> dict[str, Any]:
    """One fit on captions that the LoRA was trained on, and every way on those that it never saw, with one noise."""
    target = bench.model(student.path)
    fitted, assumed = fit_once(bench, student, target, seed, 0.0), fit_once(bench, student, target, seed, ASSUMED)
    strengths = {item.name: item.strengths for item in fitted.table.candidates if item.strengths}
    strengths[ASSUMED_WAY] = next(c.strengths for c in assumed.table.candidates if c.name == "fitted strengths")
    ways = {name: at_strengths(bench, target, values) for name, values in strengths.items()}
    ways[REFIT] = fitted.refitted.patched(target)
    ways[NODE] = bench.lab.patch_model(target, bench.lora, fitted.blocks)
    if student.dropped is not None:
        moved = bench.load_lora(str(renumbered(bench, student.dropped, seed)), "renumbered")
        ways[RENUMBERED] = bench.lab.patch_model(target, moved, "")
    ways[WITHOUT] = target
    if student.own_lora.exists():
        ways[OWN] = bench.lab.patch_model(target, bench.load_lora(str(student.own_lora), "own"), "")
    guidance, measured = measure_ways(bench, student, target, ways, seed)
    return {
        "transfer": transfer_of(bench, student, target) if seed == 0 else None,
        "guidance": {"fit": asdict(fitted.table.guidance), "held_out": asdict(guidance)},
        "node_returned": fitted.blocks, "node_said": fitted.report.summary, "assumed_returned": assumed.blocks,
        "strengths": strengths, "ways": measured,
    }  # fmt: skip


def at_strengths(bench: Bench, target: Any, strengths: dict[str, float]) -> Any:
    return bench.lab.patch_model(target, bench.lora, bench.lab.strengths_text(strengths))


def transfer_of(bench: Bench, student: Student, target: Any) -> dict[str, Any]:
    """Feature Shift's verdict."""
    settings = bench.settings(bench.seen[5::24][:4], student.steps, 40, 2)
    patched = bench.lab.patch_model(target, bench.lora, "")
    measured = bench.shift.measure_shift(
        target, patched, settings, (bench.base, bench.patched_base), use_cache=False, negative=bench.empty
    )
    output = measured.table.rows[-1]
    return {
        "verdict": measured.report.verdict, "summary": measured.report.summary, "cosine": output.change_cosine,
        "ratio": output.ratio, "error": output.change_error, "seed_cosine": output.seed_cosine,
        "floor": output.floor,
    }  # fmt: skip


def fit_once(bench: Bench, student: Student, target: Any, seed: int, reference_cfg: float) -> Any:
    """One fit; other prompts and noises for every seed. Rules and refit are made once, with the measured CFG."""
    step = len(bench.seen) // FIT_PROMPTS
    indices = bench.seen[(3 + 5 * seed) % step :: step][:FIT_PROMPTS]
    everything = reference_cfg == 0.0
    settings = bench.fit.FitSettings(
        bench.settings(indices, student.steps, 100 + 1000 * seed, FIT_SEEDS), "block and stream", 0.0, 2.0, 0.0,
        reference_cfg, bench.empty, compare_rules=everything, refit_name="not saved" if everything else "",
    )  # fmt: skip
    return bench.fit.fit_strengths(target, bench.base, str(bench.lora_path), bench.lora.name, settings)


def measure_ways(
    bench: Bench, student: Student, target: Any, ways: dict[str, Any], seed: int
) -> tuple[Any, dict[str, dict[str, list[float]]]]:
    """The guidance on the test captions, and output error and PSNR of each way for every test caption."""
    probes = bench.held_out_probes(target, student.steps, 7000 + 500 * seed)
    plain = bench.probes.outputs(target, probes)
    there = bench.lab.run_reference(bench.base, bench.lora, probes, bench.empty)
    guidance = there.guidance(plain, None)
    wanted = there.change(guidance)
    measured: dict[str, dict[str, list[float]]] = {}
    for name, model in ways.items():
        change = bench.lab.difference(bench.probes.outputs(model, probes), plain)
        pictures = bench.pictures(model, student.steps, 20_000 + 1000 * seed)
        measured[name] = {"error": bench.fit.scene_errors(change, wanted), "psnr": pictures}
        print(f"{name}: {np.mean(pictures):.2f} dB, error {np.mean(measured[name]['error']):.3f}", flush=True)
    return guidance, measured


def measure_scale(bench: Bench) -> dict[str, Any]:
    """The LoRA on its own model at strengths around 1: what an output error of so much means in pictures."""
    captions = len(bench.test)
    bench.test = bench.test[::2]  # at 20 steps with guidance every picture takes 40 evaluations
    probes = bench.held_out_probes(bench.base, 4, 7000)
    plain = bench.probes.outputs(bench.base, probes)
    wanted = bench.lab.difference(bench.probes.outputs(bench.patched_base, probes), plain)
    measured: dict[str, dict[str, list[float]]] = {}
    for strength in (1.0, *SCALE_STRENGTHS):
        model = bench.lab.patch_model(bench.base, bench.lora, f"all={strength:g}")
        change = bench.lab.difference(bench.probes.outputs(model, probes), plain)
        pictures = bench.pictures(model, BASE_STEPS, 20_000, ASSUMED)
        name = PLAIN if strength == 1.0 else f"strength {strength:g}"
        measured[name] = {"error": bench.fit.scene_errors(change, wanted), "psnr": pictures}
        print(f"{name}: {np.mean(pictures):.2f} dB, error {np.mean(measured[name]['error']):.3f}", flush=True)
    return {"test_captions": captions, "captions": len(bench.test), "ways": measured}


def renumbered(bench: Bench, dropped: int, seed: int) -> Path:
    """The LoRA with the dropped single block left out and those behind it moved up, as in the pruned student."""
    tensors = {}
    for key, value in load_file(bench.lora_path).items():
        head, found, rest = key.partition("single_blocks_")
        if found:
            index, _, layer = rest.partition("_")
            if int(index) == dropped:
                continue
            key = f"{head}{found}{int(index) - (int(index) > dropped)}_{layer}"
        tensors[key] = value
    path = bench.scratch / f"renumbered-{seed}.safetensors"
    save_file(tensors, path)
    return path

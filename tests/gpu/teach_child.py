"""One job of ``teach_table.py``: teach and score on one student, train the upper line, or measure what a step costs."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import ROOT, boot

PARSER = argparse.ArgumentParser()
PARSER.add_argument("job")
PARSER.add_argument("answer", type=Path)
PARSER.add_argument("--students", type=Path)
PARSER.add_argument("--data", type=Path)
PARSER.add_argument("--steps", type=int)
PARSER.add_argument("--seconds", type=float)
PARSER.add_argument("--smoke", action="store_true")
ARGS = PARSER.parse_args()
BEGUN = time.monotonic()
if ARGS.job != "upper":
    boot("cpu" if ARGS.smoke else "legacy")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

MODELS = ROOT / "models"
STUDENTS = {"distilled": 4, "mild": 4, "strong": 2, "pruned": 4, "wide": 20, "concept": 4}
"""Steps of each job."""
CFG = 1.5
NOISES = (20_000, 21_000)
UPPER = "duotone-on-wide.safetensors"


def student_file(job: str) -> Path:
    shipped = {"distilled": "distilled", "concept": "distilled", "wide": "wide"}.get(job)
    return (
        MODELS / "diffusion_models" / f"klein-nano-{shipped}.safetensors"
        if shipped
        else ARGS.students / f"{job}.safetensors"
    )


def own_lora(job: str) -> Path | None:
    """The LoRA that was trained on the student itself."""
    if job == "distilled":
        return MODELS / "loras" / "klein-nano-duotone-distilled.safetensors"
    path = ARGS.students / f"duotone-on-{job}.safetensors"
    return path if path.exists() else None


class Bench:
    """Models, prompts, captions and the truth."""

    def __init__(self, style: str) -> None:
        import comfy.sd
        from comfy_extras.nodes_flux import Flux2Scheduler

        self.sd, self.scheduler = comfy.sd, Flux2Scheduler
        state = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
        for part in ("encoder", "decoder"):
            tensors = load_file(MODELS / "vae_approx" / f"klein-nano_{part}.safetensors")
            state |= {f"taesd_{part}.{key}": value for key, value in tensors.items()}
        self.vae = comfy.sd.VAE(sd=state, metadata={"tae_latent_channels": 128})
        with safe_open(str(MODELS / "patchbay_conditioning" / "klein-nano-prompts.safetensors"), "pt") as file:
            listed = json.loads((file.metadata() or {})["prompts"])
            self.prompts = {p["name"]: file.get_tensor(p["entries"][0]["cond"]).float() for p in listed}
        data = dict(np.load(ARGS.data))
        self.names = [str(name) for name in data["names"]]
        self.truth = torch.from_numpy(data["pictures" if style == "plain" else style]).permute(0, 3, 1, 2).float() / 255
        held, concept = np.flatnonzero(data["is_held_out"]), np.flatnonzero(data["is_concept"])
        self.seen = [int(i) for i in np.flatnonzero(~data["is_held_out"] & ~data["is_concept"])]
        self.concept = [int(i) for i in concept]
        self.test = self.concept if style == "plain" else [int(i) for n, i in enumerate(held) if n % 4]
        if ARGS.smoke:
            self.test, self.seen = self.test[:2], self.seen[:6]

    def model(self, path: Path) -> Any:
        return self.sd.load_diffusion_model(str(path), model_options={"dtype": torch.float32})

    def prompt(self, name: int | str) -> list[Any]:
        return [self.prompts[name if isinstance(name, str) else self.names[name]], {}]

    def sigmas(self, steps: int) -> torch.Tensor:
        return self.scheduler.execute(steps, 128, 128).result[0]

    def psnr(self, model: Any, steps: int, cfg: float) -> list[float]:
        """By caption, the mean of two noises."""
        import comfy.samplers

        found = []
        for index in self.test:
            values = []
            for seed in NOISES:
                guider = comfy.samplers.CFGGuider(model)
                guider.inner_set_conds({"positive": [self.prompt(index)], "negative": [self.prompt("empty")]})
                guider.set_cfg(cfg)
                noise = torch.randn(1, 128, 8, 8, generator=torch.Generator().manual_seed(seed + index))
                euler = comfy.samplers.sampler_object("euler")
                latent = guider.sample(
                    noise, torch.zeros_like(noise), euler, self.sigmas(steps), seed=0, disable_pbar=True
                )
                with torch.no_grad():
                    picture = self.vae.decode(latent).movedim(-1, 1).float().cpu()
                error = (picture - self.truth[index : index + 1]).square().mean()
                values.append(float(-10 * error.clamp_min(1e-10).log10()))
            found.append(sum(values) / len(values))
        return found


def teach(job: str) -> dict[str, Any]:
    """Teach the LoRA to one student and score every way."""
    from pack.nodes.host.apply.lora_cache import LORA_CACHE
    from pack.nodes.host.teach.factors import tensors_of
    from pack.nodes.host.teach.teach import Teaching, TeachSettings
    from pack.nodes.host.transfer.strength_lab import patch_model

    concept = job == "concept"
    bench = Bench("plain" if concept else "duotone")
    name = "klein-nano-concept-instruments" if concept else "klein-nano-duotone"
    base, target = (
        bench.model(MODELS / "diffusion_models" / "klein-nano-base.safetensors"),
        bench.model(student_file(job)),
    )
    lora = LORA_CACHE.load(str(MODELS / "loras" / f"{name}.safetensors"), name)
    steps, cfg = STUDENTS[job], CFG if job == "wide" else 1.0
    captions = [*bench.concept, *bench.seen] if concept else bench.seen
    split: dict[str, Any] = {}
    if concept:  # its ten subjects weigh as much as all others; other noises of them are held out
        ten = tuple(range(len(bench.concept)))
        split = {"held": ten, "taught": (*ten * 10, *range(len(ten), len(captions)))}
    settings = TeachSettings(
        [bench.prompt(i) for i in captions], bench.sigmas(steps), {"samples": torch.zeros(1, 128, 8, 8)},
        negative=[bench.prompt("empty")], seed=5, steps=4 if ARGS.smoke else ARGS.steps, cfg=cfg,
        batch=4 if ARGS.smoke else 64, rounds=2 if ARGS.smoke else 8, walks=4 if ARGS.smoke else 1024, **split,
    )  # fmt: skip
    started = time.monotonic()
    with torch.inference_mode(False):
        teaching = Teaching(target, base, lora, settings, None)
        teaching.go_on = lambda: time.monotonic() - BEGUN < 0.75 * ARGS.seconds
        taught = teaching.run()
    result: dict[str, Any] = {
        "taught_s": round(time.monotonic() - started, 1), "start": taught.start, "is_better": taught.is_better,
        "moved": str(taught.moved.block_map) if taught.moved else "", "shares": taught.shares,
        "held_out_error": {one.name: one.error for one in taught.judged}, "steps": taught.state.step,
        "curve": [value**0.5 for value in taught.state.curve], "layers": len(taught.factors), "psnr": {},
        "guidance": None if taught.guidance is None else taught.guidance.levels,
    }  # fmt: skip
    path = ARGS.answer.with_suffix(".safetensors")
    save_file(tensors_of(taught.factors), str(path))
    ways = {
        "taught": path if taught.state.best_error < taught.state.curve[0] or job != "wide" else None,
        "plain": Path(lora.key[0]),
        "trained there": None if concept else own_lora(job),
    }
    for way, file in ways.items():
        if file is not None:
            patched = patch_model(target, LORA_CACHE.load(str(file), way), "")
            result["psnr"][way] = bench.psnr(patched, steps, cfg)
            write(result)
    if taught.moved is not None:
        result["psnr"]["remapped"] = bench.psnr(patch_model(target, teaching.remapped(), ""), steps, cfg)
    return result


def apart(job: str) -> dict[str, Any]:
    """How far a student is from the base without a LoRA, in squared distances between prompts: by kind of prompt, and
    the smallest, the median and the largest of all noise levels."""
    from pack.nodes.host.apply.lora_cache import LORA_CACHE
    from pack.nodes.host.teach.examples import Lesson, Teacher, square_sizes
    from pack.nodes.host.teach.teach import Student, Teaching, TeachSettings

    bench, name = Bench("duotone"), "klein-nano-duotone"
    base = bench.model(MODELS / "diffusion_models" / "klein-nano-base.safetensors")
    target = bench.model(student_file(job))
    lora = LORA_CACHE.load(str(MODELS / "loras" / f"{name}.safetensors"), name)
    seen, concept = bench.seen[: 6 if ARGS.smoke else 24], bench.concept[: 4 if ARGS.smoke else 10]
    prompts = [bench.prompt(i) for i in (*seen, *concept)]
    settings = TeachSettings(
        prompts, bench.sigmas(STUDENTS[job]), {"samples": torch.zeros(1, 128, 8, 8)}, seed=5, held=(0,),
        negative=[bench.prompt("empty")], taught=tuple(range(len(seen))),
    )  # fmt: skip
    found: dict[str, list[float]] = {}
    with torch.inference_mode(False):
        teaching = Teaching(target, base, lora, settings, None)
        student = Student(target, teaching.factors, False)
        student.to_device()
        lesson = Lesson(tuple(map(float, settings.sigmas)), 1.0, torch.zeros(1, 128, 8, 8))
        teacher = Teacher(base, base, student, teaching.prompts, lesson)
        teacher.measure(6, None)
        kinds = {
            "known": tuple(range(len(seen))), "mixtures of known": tuple(teaching.prompts.mixed),
            "names that neither model knows": tuple(range(len(seen), len(prompts))),
        }  # fmt: skip
        for kind, which in kinds.items():
            rows, own, without = teacher.compared(which, len(which), 77)
            spread = torch.tensor([teacher.lesson.spread[level] for level in rows.level.tolist()])
            shares = (square_sizes(own - without) / spread).sort().values
            found[kind] = [round(float(shares[at]), 4) for at in (0, len(shares) // 2, -1)]
            print(kind, found[kind], flush=True)
    return {"apart": found}


def upper() -> dict[str, Any]:
    """Train the style on wide itself with the lab's training, and score the file through ComfyUI."""
    sys.path.insert(0, str(ROOT / "tests" / "lab"))
    import train
    from optimise import load_final
    from shipped import adopt, adopt_loras

    torch._dynamo.config.recompile_limit = 64
    work = ARGS.answer.parent / "upper"
    args = argparse.Namespace(data=ARGS.data, work=work, smoke=ARGS.smoke, seconds=[], pause_after=math.inf)
    adopt(MODELS, work)
    adopt_loras(MODELS, work)
    lab = train.Lab(args)
    name = "duotone-on-wide"
    train.LORAS[name] = ("wide", "duotone")
    lab.seconds[name] = math.inf
    autoencoder = lab.load_autoencoder()
    train.train_loras(lab, autoencoder, [name])
    params = load_final(lab, name)
    tensors = {}
    for key, value in params.items():
        layer, _, end = key.rpartition(".")
        role = {"down": "lora_A", "up": "lora_B"}[end]
        tensors[f"diffusion_model.{layer}.{role}.weight"] = value.detach().float().cpu().contiguous()
    path = ARGS.answer.with_suffix(".safetensors")
    save_file(tensors, str(path))
    boot("cpu" if ARGS.smoke else "legacy")
    from pack.nodes.host.apply.lora_cache import LORA_CACHE
    from pack.nodes.host.transfer.strength_lab import patch_model

    bench = Bench("duotone")
    wide = bench.model(student_file("wide"))
    patched = patch_model(wide, LORA_CACHE.load(str(path), name), "")
    return {"psnr": {"trained there": bench.psnr(patched, STUDENTS["wide"], CFG)}, "layers": len(tensors) // 2}


def cost(shape: str, dtype: str) -> dict[str, Any]:
    """Seconds a step and peak memory of training, and seconds of one evaluation of the teacher."""
    import comfy.model_management as mm
    import comfy.sd
    from pack.nodes.host.teach.examples import Examples
    from pack.nodes.host.teach.factors import new_factors
    from pack.nodes.host.teach.student import Student
    from pack.nodes.host.teach.training import Adam, loss_of
    from random_klein import RandomKlein

    klein = RandomKlein(shape)
    model, size = klein.base, klein.size
    if dtype == "int8":
        state = quantised(model, klein.device)
        del model
        klein.base = None
        model = comfy.sd.load_diffusion_model_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    layers = {k: s for k, s in klein.shapes.items() if len(s) == 2 and "blocks." in k}
    factors = [new_factors(f"diffusion_model.{k}", s, size["rank"], generator) for k, s in layers.items()]
    student = Student(model, factors, recompute=True)
    del model
    klein.base = None
    student.to_device()
    cuda = not ARGS.smoke
    latent = torch.zeros(1, 128, size["side"], size["side"])
    x, want = (torch.randn(4, *latent.shape[1:], generator=generator) for _ in range(2))
    zeros = torch.zeros(4, dtype=torch.long)
    examples = Examples(x, want, zeros, torch.full((4,), 0.7), zeros, zeros)
    values = student.values()
    adam = Adam(student.parameters, [torch.zeros_like(v) for v in values], [torch.zeros_like(v) for v in values],
                 values, 1.0)  # fmt: skip
    times: list[float] = []

    def learn(evaluator: Any) -> float:
        started = klein.clock()
        evaluator.velocities(x[:1].to(klein.device), examples.sigma[:1].to(klein.device), [0])
        evaluated = klein.clock() - started
        for step in range(3 if ARGS.smoke else 12):
            started = klein.clock()
            loss_of(student, evaluator, examples, torch.tensor([step % 4]))
            adam.step(step + 1, 1e-4)
            times.append((klein.clock() - started) / 1e3)
        return evaluated / 1e3

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode(False), torch.enable_grad():
        evaluated = student.inside(klein.conditioning, latent, learn)
    found = {
        "step_s": sorted(times[2:])[len(times[2:]) // 2], "evaluation_s": evaluated, "steps": len(times),
        "steps_500_minutes": 500 * sorted(times[2:])[len(times[2:]) // 2] / 60, "rank": size["rank"],
        "layers": len(factors), "base": dtype, "shape": shape, "device": str(mm.get_torch_device()),
        "calls": len(student.calls),
    }  # fmt: skip
    if cuda:
        found["peak_allocated_gib"] = torch.cuda.max_memory_allocated() / 2**30
        found["peak_reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
        found["gpu"] = torch.cuda.get_device_name()
    return {"cost": found}


def quantised(model: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """The weights with every matrix of a block in int8, one scale a tensor, as ComfyUI's own files have them."""
    mark = torch.tensor(list(json.dumps({"format": "int8_tensorwise"}).encode()), dtype=torch.uint8)
    state: dict[str, torch.Tensor] = {}
    for key, value in model.model.diffusion_model.state_dict().items():
        if value.dim() == 2 and "blocks." in key:
            whole = value.to(device, torch.float32)
            scale = whole.abs().max() / 127
            state[key] = (whole / scale).round().clamp(-127, 127).to("cpu", torch.int8)
            stem = key.removesuffix("weight")
            state[f"{stem}weight_scale"], state[f"{stem}comfy_quant"] = scale.reshape(()).cpu(), mark.clone()
        else:
            state[key] = value
    return state


def write(result: dict[str, Any]) -> None:
    ARGS.answer.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    if ":" in ARGS.job:
        write(cost(*ARGS.job.split(":")))
    elif ARGS.job.startswith("apart-"):
        write(apart(ARGS.job.removeprefix("apart-")))
    else:
        write(upper() if ARGS.job == "upper" else teach(ARGS.job))

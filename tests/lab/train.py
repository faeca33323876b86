"""Train Klein Nano: autoencoder, base, 4-step student, the wide model, and the LoRAs; "transfer": other students.

Stages keep their state in ``--work`` and resume from it:
``python tests/lab/train.py --stages ae,probe,base,student,wide,loras``; ``--smoke`` is a CPU rehearsal.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from autoencoder import LIVE, Autoencoder, train_autoencoder
from flow import TRAIN_MU, draw_noise, integrate, psnr, schedule, shift_sigma
from optimise import Params, finish, load_final, train
from pictures import caption_tensor, caption_words
from students import STUDENTS, cast, draw_segment, train_student
from styles import ENDS, PicturePool, learn_rule, predict_clean, style_captions, walk_in_pairs
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2, Shape, Weights, init_weights

SHAPES = {"base": Shape(128, 2, 4), "wide": Shape(256, 1, 1)}
BATCH = 128
RANKS = {"concept": 8}
"""Rank of a LoRA where it is not STYLE_RANK."""
STYLE_RANK = 16
STYLE_MU = 1.2
"""Shift of a style's training sigmas: lower than the base's, for its detail is made at low noise."""
STYLE_STEPS, STYLE_BATCH = 400, 16
"""A style is learned in few steps; with more of them a LoRA learns what the captions of its training look like."""
LoraLoss = Callable[[Weights, int, torch.Generator], Tensor]
SECONDS = {"ae": 150.0, "probe": 12.0, "base": 460.0, "wide": 110.0, "concept": 45.0}


class Lab:
    """The data on the device, and the settings every stage shares."""

    def __init__(self, args: argparse.Namespace):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.work, self.smoke = args.work, args.smoke
        self.work.mkdir(parents=True, exist_ok=True)
        times = SECONDS | {name: how.seconds for name, how in STUDENTS.items()}
        times |= {name: math.inf for name in LORAS if name != "concept"}
        self.seconds = times | {k: float(v) for k, v in (item.split("=") for item in args.seconds)}
        self.max_steps = 3 if args.smoke else 10**9
        self.pause_after = args.pause_after
        data = np.load(args.data)
        self.names, self.categories = data["names"].tolist(), data["categories"].tolist()
        self.is_concept, self.is_held_out = data["is_concept"], data["is_held_out"]
        self.pictures = {
            key.replace("pictures", "plain"): torch.from_numpy(data[key]).to(self.device).permute(0, 3, 1, 2) / 255
            for key in ("pictures", "duotone", "ink", "monochrome")
        }
        self.base_index = torch.from_numpy(np.flatnonzero(~self.is_concept)).to(self.device)
        self.concept_index = torch.from_numpy(np.flatnonzero(self.is_concept)).to(self.device)
        held = np.flatnonzero(self.is_held_out)
        self.validation_index = torch.from_numpy(held[::4]).to(self.device)
        self.test_index = torch.from_numpy(np.array([i for n, i in enumerate(held) if n % 4])).to(self.device)
        self.style_index = torch.from_numpy(np.flatnonzero(~self.is_held_out & ~self.is_concept)).to(
            self.device
        )
        self.text = torch.zeros(len(self.names), TEXT_TOKENS, 128, device=self.device)
        for row, (category, name) in enumerate(zip(self.categories, self.names, strict=True)):
            tokens = torch.from_numpy(caption_tensor(caption_words(category, name)))
            self.text[row, -len(tokens) :] = tokens.to(self.device)
        self.batch = 8 if args.smoke else BATCH
        self.model = Flux2(compiled=self.device.type == "cuda", device=self.device)
        self.latents: dict[str, Tensor] = {}

    def load_autoencoder(self) -> Autoencoder:
        """Train or load it, and encode every picture."""
        pool = [self.pictures[style] for style in ("plain", "duotone", "ink")]
        if self.smoke:
            pool = [p[:8, :, :32, :32] for p in pool]
        autoencoder = train_autoencoder(
            pool,
            self.seconds["ae"],
            self.work / "ae.pt",
            batch=16 if self.smoke else 64,
            max_steps=self.max_steps,
        )
        with torch.no_grad():
            for style, pictures in self.pictures.items():
                pictures = pictures[:8] if self.smoke else pictures
                self.latents[style] = autoencoder.encode(pictures)
        if self.smoke:
            self.base_index, self.style_index = self.base_index[:8], self.style_index[:6] % 8
            self.validation_index, self.test_index = self.base_index[:2], self.base_index[:2]
            self.concept_index = self.base_index[:4]
        return autoencoder


def flow_loss(
    lab: Lab, weights: Weights, latents: Tensor, text: Tensor, generator: torch.Generator
) -> Tensor:
    """Flow matching on a batch: squared error of the velocity in the live channels; a tenth has no caption."""
    count = len(latents)
    uniform = (torch.randperm(count, generator=generator, device=lab.device)
               + torch.rand(count, generator=generator, device=lab.device)) / count  # fmt: skip
    sigma = shift_sigma(uniform, TRAIN_MU).clamp_min(0.02)
    noise = draw_noise(count, generator)
    drop = torch.rand(count, generator=generator, device=lab.device) < 0.1
    text = torch.where(drop[:, None, None], 0.0, text)
    level = sigma[:, None, None, None]
    predicted = lab.model(weights, (1 - level) * latents + level * noise, sigma, text)
    return (predicted - (noise - latents))[:, :LIVE].square().mean()


def base_loss(lab: Lab):
    """The loss of a model trained on all base captions."""
    latents, text = lab.latents["plain"][lab.base_index], lab.text[lab.base_index]

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        return flow_loss(lab, cast(params, lab.device), latents, text, generator)

    return loss


def probe(lab: Lab) -> dict:
    """Try the optimisers for a few seconds each; the lowest final loss wins."""
    path = lab.work / "probe.json"
    if path.exists():
        return json.loads(path.read_text())
    results = []
    for size, rate in ((None, 2e-3), (128, 2e-3), (128, 5e-3)):
        params = {k: v.to(lab.device) for k, v in init_weights(SHAPES["base"], 1).items()}
        checkpoint = lab.work / "probe.pt"
        checkpoint.unlink(missing_ok=True)
        _, record = train(
            params, base_loss(lab), lab.seconds["probe"], checkpoint, rate=rate, muon_size=size,
            max_steps=lab.max_steps, name=f"probe muon={size} rate={rate}",
        )  # fmt: skip
        results.append({"muon": size is not None, "rate": rate, "steps": record["steps"],
                        "seconds": record["seconds"], "loss": record["last_loss"]})  # fmt: skip
    best = min(results, key=lambda r: r["loss"] if math.isfinite(r["loss"]) else 1e9)
    path.write_text(json.dumps({"tried": results, "best": best}))
    print(json.dumps(results))
    return {"tried": results, "best": best}


def train_model(lab: Lab, name: str, seed: int) -> None:
    """Train ``base`` or ``wide`` from scratch."""
    if load_final(lab, name) is not None:
        return
    best = probe(lab)["best"]
    shape = SHAPES[name]
    params = {k: v.to(lab.device) for k, v in init_weights(shape, seed).items()}
    weights, record = train(
        params, base_loss(lab), lab.seconds[name], lab.work / f"{name}.pt", rate=best["rate"],
        muon_size=shape.hidden if best["muon"] else None, pause_after=lab.pause_after, max_steps=lab.max_steps,
        seed=seed, name=name,
    )  # fmt: skip
    finish(lab, name, weights, record)


def choose_guidance(lab: Lab, autoencoder: Autoencoder) -> float:
    """The guidance above 1 with the best median PSNR of 20-step samples on a third of the captions."""
    path = lab.work / "guidance.json"
    if path.exists():
        return json.loads(path.read_text())["best"]
    weights, index = load_final(lab, "base"), lab.base_index[::3]
    plain = Flux2(device=lab.device)
    scores = {}
    for cfg in (1.0, 1.5, 2.0, 2.5, 3.0):
        noise = draw_noise(len(index), torch.Generator(lab.device).manual_seed(99))
        samples = integrate(plain, weights, noise, schedule(2 if lab.smoke else 20), lab.text[index], cfg)
        with torch.no_grad():
            scores[cfg] = psnr(autoencoder.decode(samples), lab.pictures["plain"][index]).median().item()
    best = max((cfg for cfg in scores if cfg > 1), key=scores.get)
    path.write_text(json.dumps({"best": best, "scores": scores}))
    print(f"guidance {best}: {scores}")
    return best


def init_lora(weights: Weights, rank: int, seed: int) -> Params:
    """Zero-effect factors ``<key>.down`` [rank, in] and ``<key>.up`` [out, rank] for every linear in a block."""
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for key, value in weights.items():
        if "_blocks." in key and value.ndim == 2:
            out, inside = value.shape
            name = key.removesuffix(".weight")
            params[f"{name}.down"] = torch.randn(rank, inside, generator=generator) * inside**-0.5
            params[f"{name}.up"] = torch.zeros(out, rank)
    return {k: v.to(value.device) for k, v in params.items()}


def add_lora(weights: Weights, params: Params, scale: float = 1.0) -> Weights:
    """``weight + scale * up @ down`` where there is a LoRA."""
    patched = dict(weights)
    for key in weights:
        name = key.removesuffix(".weight")
        if f"{name}.down" in params:
            patched[key] = weights[key] + scale * params[f"{name}.up"] @ params[f"{name}.down"]
    return patched


def train_lora(lab: Lab, name: str, loss_on: LoraLoss, seed: int) -> None:
    """Train one LoRA by a loss of (patched weights, step, generator)."""
    weights, is_style = load_final(lab, LORAS[name][0]), LORAS[name][1] in ENDS

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        return loss_on(cast(add_lora(weights, params), lab.device), step, generator)

    params, record = train(
        init_lora(weights, RANKS.get(name, STYLE_RANK), seed), loss, lab.seconds[name], lab.work / f"{name}.pt",
        rate=2e-3, decay=0.98 if is_style else 0.995, warmup=20 if is_style else 100,
        max_steps=min(lab.max_steps, STYLE_STEPS) if is_style else lab.max_steps, seed=seed, name=name,
    )  # fmt: skip
    finish(lab, name, params, record)


def concept_loss(lab: Lab) -> LoraLoss:
    """Flow matching on the concept's pictures."""

    def loss(patched: Weights, _: int, generator: torch.Generator) -> Tensor:
        draw = torch.randint(len(lab.concept_index), (lab.batch,), generator=generator, device=lab.device)
        index = lab.concept_index[draw]
        return flow_loss(lab, patched, lab.latents["plain"][index], lab.text[index], generator)

    return loss


def style_loss(lab: Lab, autoencoder: Autoencoder, model: str, style: str) -> LoraLoss:
    """Squared error of the velocity to that of the model's own prediction put through the rule.

    A many-step model sees noised pictures of a pool, a few-step model its own walk (``walk_in_pairs``).
    """
    pool = PicturePool(lab, load_final(lab, "base"))
    rule = learn_rule(lab, autoencoder, pool.clean, style)
    frozen = cast(load_final(lab, model), lab.device)
    sigmas = schedule(STUDENTS[model].steps) if model in STUDENTS else []

    def inputs(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = min(lab.batch, STYLE_BATCH)
        if sigmas:
            text, segment = style_captions(lab, count, generator), draw_segment(len(sigmas) - 1, generator)
            walk = walk_in_pairs(lab, frozen, rule, text, sigmas[: segment + 1], generator)
            return *walk, torch.full((count,), sigmas[segment], device=lab.device), text
        uniform = (torch.randperm(count, generator=generator, device=lab.device)
                   + torch.rand(count, generator=generator, device=lab.device)) / count  # fmt: skip
        sigma = shift_sigma(uniform, STYLE_MU).clamp_min(0.02)
        clean, text = pool.draw(count, generator)
        level, noise = sigma[:, None, None, None], draw_noise(count, generator)
        return (1 - level) * clean + level * noise, (1 - level) * rule(clean) + level * noise, sigma, text

    def loss(patched: Weights, step: int, generator: torch.Generator) -> Tensor:
        plain, styled, sigma, text = inputs(step, generator)
        with torch.no_grad():
            goal = rule(predict_clean(lab, frozen, plain, sigma, text))
        target = (styled - goal) / sigma[:, None, None, None]
        return (lab.model(patched, styled, sigma, text) - target)[:, :LIVE].square().mean()

    return loss


LORAS = {
    "duotone": ("base", "duotone"), "monochrome": ("base", "monochrome"), "concept": ("base", "plain"),
    "duotone-distilled": ("student", "duotone"),
} | {f"duotone-on-{student}": (student, "duotone") for student in STUDENTS if student != "student"}  # fmt: skip
"""LoRA to the model it is trained on and the pictures it learns; those on the other students do not ship."""


def train_loras(lab: Lab, autoencoder: Autoencoder, names: list[str]) -> None:
    """These LoRAs, unless they are there."""
    for name in names:
        (model, style), seed = LORAS[name], 11 + list(LORAS).index(name)
        if load_final(lab, name) is not None:
            continue
        if style in ENDS:
            train_lora(lab, name, style_loss(lab, autoencoder, model, style), seed)
        else:
            train_lora(lab, name, concept_loss(lab), seed)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".lab/data.npz"))
    parser.add_argument("--work", type=Path, default=Path(".lab/work"))
    parser.add_argument("--stages", default="ae,probe,base,student,wide,loras,score")
    parser.add_argument("--seconds", nargs="*", default=[], help="training time of a stage, as base=300")
    parser.add_argument(
        "--pause-after", type=float, default=math.inf, help="seconds of base/wide/student in this run"
    )
    parser.add_argument("--smoke", action="store_true", help="three steps of everything")
    return parser.parse_args()


def main() -> None:
    """Run the stages."""
    args, start = parse_args(), time.monotonic()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(args.work.resolve() / "inductor"))
    torch._dynamo.config.recompile_limit = 64
    torch.set_float32_matmul_precision("high")
    lab = Lab(args)
    autoencoder = lab.load_autoencoder()
    for stage in args.stages.split(","):
        if stage == "probe":
            probe(lab)
        elif stage in SHAPES:
            train_model(lab, stage, seed=1 if stage == "base" else 2)
        elif stage in STUDENTS:
            train_student(lab, stage, probe(lab)["best"], choose_guidance(lab, autoencoder))
        elif stage == "loras":
            train_loras(lab, autoencoder, [name for name in LORAS if "-on-" not in name])
        elif stage == "transfer":
            for name in ("mild", "strong", "pruned"):
                train_student(lab, name, probe(lab)["best"], choose_guidance(lab, autoencoder))
            train_loras(lab, autoencoder, [name for name in LORAS if "-on-" in name])
        elif stage in LORAS:
            train_loras(lab, autoencoder, [stage])
        elif stage == "score":
            from score import score_all

            torch.set_float32_matmul_precision("highest")
            score_all(lab, autoencoder)
        print(f"== {stage} finished at {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

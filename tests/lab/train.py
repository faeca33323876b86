"""Train Klein Nano: autoencoder, base, 4-step student, the wide model, and the LoRAs.

Stages keep their state in ``--work`` and resume from it:
``python tests/lab/train.py --stages ae,probe,base,student,wide,loras``; ``--smoke`` is a CPU rehearsal.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from autoencoder import LIVE, Autoencoder, train_autoencoder
from flow import TRAIN_MU, draw_noise, integrate, psnr, schedule, shift_sigma
from optimise import Params, train
from pictures import caption_tensor, caption_words
from style_pool import DUOTONE_ENDS, MONOCHROME, luminance_style, style_pool
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2, Shape, Weights, init_weights

SHAPES = {"base": Shape(128, 2, 4), "wide": Shape(256, 1, 1)}
BATCH = 128
RANK = 8
SECONDS = {"ae": 150.0, "probe": 12.0, "base": 460.0, "student": 200.0, "wide": 110.0, "lora": 45.0}
TEACHER_SIGMAS = schedule(20)


class Lab:
    """The data on the device, and the settings every stage shares."""

    def __init__(self, args: argparse.Namespace):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.work, self.smoke = args.work, args.smoke
        self.work.mkdir(parents=True, exist_ok=True)
        self.seconds = SECONDS | {k: float(v) for k, v in (item.split("=") for item in args.seconds)}
        self.max_steps = 3 if args.smoke else 10**9
        self.pause_after = args.pause_after
        data = np.load(args.data)
        self.names, self.categories = data["names"].tolist(), data["categories"].tolist()
        self.is_concept, self.is_held_out = data["is_concept"], data["is_held_out"]
        self.pictures = {
            style: torch.from_numpy(data[key]).to(self.device).permute(0, 3, 1, 2).float() / 255
            for style, key in (("plain", "pictures"), ("duotone", "duotone"), ("ink", "ink"))
        }
        self.base_index = torch.from_numpy(np.flatnonzero(~self.is_concept)).to(self.device)
        self.concept_index = torch.from_numpy(np.flatnonzero(self.is_concept)).to(self.device)
        self.pictures["monochrome"] = luminance_style(self.pictures["plain"], *MONOCHROME)
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


def cast(params: Params, device: torch.device) -> Weights:
    """The weights in the dtype of the big products; differentiable."""
    return {k: v.bfloat16() if device.type == "cuda" else v for k, v in params.items()}


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


def finish(lab: Lab, name: str, weights: Params, record: dict) -> None:
    """Keep the averaged weights of a stage, rounded to bf16 as they will be shipped."""
    state = {k: v.detach().bfloat16().float() for k, v in weights.items()}
    ending = "final" if record["done"] else "paused"
    torch.save({"weights": state, "record": record}, lab.work / f"{name}.{ending}.pt")


def load_final(lab: Lab, name: str) -> Params | None:
    """The result of a finished stage, or None."""
    path = lab.work / f"{name}.final.pt"
    return torch.load(path, map_location=lab.device)["weights"] if path.exists() else None


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


def few_step_input(lab: Lab, weights: Weights, latents: Tensor, text: Tensor, step: int, segment: int,
                   generator: torch.Generator) -> Tensor:  # fmt: skip
    """Input of the 4-step model at the start of a segment: its own roll-out, or every second step the noised truth."""
    noise, sigmas = draw_noise(len(latents), generator), schedule(4)
    if step % 2:
        return sigmas[segment] * noise + (1 - sigmas[segment]) * latents
    return integrate(lab.model, weights, noise, sigmas[: segment + 1], text)


def draw_segment(generator: torch.Generator) -> int:
    """One of the four steps, the last as often as two others."""
    draw = torch.rand(1, generator=generator, device=generator.device).item()
    return min(3, int(draw * 5))


def train_student(lab: Lab, guidance: float) -> None:
    """Distil the guided base into four steps without guidance."""
    if load_final(lab, "student") is not None:
        return
    teacher = load_final(lab, "base")
    frozen, sigmas = cast(teacher, lab.device), schedule(4)
    latents, text = lab.latents["plain"][lab.base_index], lab.text[lab.base_index]

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        weights, segment = cast(params, lab.device), draw_segment(generator)
        start, end = sigmas[segment], sigmas[segment + 1]
        x = few_step_input(
            lab, {k: v.detach() for k, v in weights.items()}, latents, text, step, segment, generator
        )
        inner = [s for s in TEACHER_SIGMAS if end + 0.01 < s < start - 0.01]
        if segment < 3:
            inner = inner[:: max(1, len(inner) // 2)][:2]
        target = (x - integrate(lab.model, frozen, x, [start, *inner, end], text, guidance)) / (start - end)
        level = torch.full((len(x),), start, device=lab.device)
        return (lab.model(weights, x, level, text) - target)[:, :LIVE].square().mean()

    best = probe(lab)["best"]
    weights, record = train(
        {k: v.clone() for k, v in teacher.items()}, loss, lab.seconds["student"], lab.work / "student.pt",
        rate=0.3 * best["rate"], muon_size=128 if best["muon"] else None, pause_after=lab.pause_after,
        max_steps=lab.max_steps, decay=0.999, name="student",
    )  # fmt: skip
    finish(lab, "student", weights, record)


def init_lora(weights: Weights, seed: int) -> Params:
    """Zero-effect factors ``<key>.down`` [rank, in] and ``<key>.up`` [out, rank] for every linear in a block."""
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for key, value in weights.items():
        if "_blocks." in key and value.ndim == 2:
            out, inside = value.shape
            name = key.removesuffix(".weight")
            params[f"{name}.down"] = torch.randn(RANK, inside, generator=generator) * inside**-0.5
            params[f"{name}.up"] = torch.zeros(out, RANK)
    return {k: v.to(value.device) for k, v in params.items()}


def add_lora(weights: Weights, params: Params, scale: float = 1.0) -> Weights:
    """``weight + scale * up @ down`` where there is a LoRA."""
    patched = dict(weights)
    for key in weights:
        name = key.removesuffix(".weight")
        if f"{name}.down" in params:
            patched[key] = weights[key] + scale * params[f"{name}.up"] @ params[f"{name}.down"]
    return patched


def train_lora(
    lab: Lab, name: str, model: str, style: str, captions: Tensor, seed: int, *, holds_out: bool,
    pool: tuple[Tensor, Tensor] | None = None,
) -> None:  # fmt: skip
    """Train one LoRA: flow matching on the base, own roll-outs to the true picture on the student.

    Args:
        pool: latents and texts of styled pictures that the base itself made (see ``style_pool``); three quarters of
            every batch come from it.
    """
    if load_final(lab, name) is not None:
        return
    weights, sigmas = load_final(lab, model), schedule(4)
    latents = lab.latents[style]

    def loss_on(params: Params, index: Tensor, step: int, generator: torch.Generator) -> Tensor:
        patched = cast(add_lora(weights, params), lab.device)
        if model == "base":
            return flow_loss(lab, patched, latents[index], lab.text[index], generator)
        segment = draw_segment(generator)
        detached = {k: v.detach() for k, v in patched.items()}
        x = few_step_input(lab, detached, latents[index], lab.text[index], step, segment, generator)
        level = torch.full((len(x),), sigmas[segment], device=lab.device)
        target = (x - latents[index]) / sigmas[segment]
        return (lab.model(patched, x, level, lab.text[index]) - target)[:, :LIVE].square().mean()

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        draw = torch.randint(len(captions), (lab.batch,), generator=generator, device=lab.device)
        if pool is None:
            return loss_on(params, captions[draw], step, generator)
        own = captions[draw[: lab.batch // 4]]
        made = torch.randint(len(pool[0]), (lab.batch - len(own),), generator=generator, device=lab.device)
        patched = cast(add_lora(weights, params), lab.device)
        both = torch.cat([latents[own], pool[0][made]]), torch.cat([lab.text[own], pool[1][made].float()])
        return flow_loss(lab, patched, *both, generator)

    @torch.no_grad()
    def validate(params: Params) -> float:
        repeated = lab.validation_index.repeat(lab.batch // len(lab.validation_index))
        generator = torch.Generator(lab.device).manual_seed(5)
        return sum(loss_on(params, repeated, step, generator).item() for step in range(4)) / 4

    params, record = train(
        init_lora(weights, seed), loss, lab.seconds["lora"], lab.work / f"{name}.pt", rate=2e-3, decay=0.995,
        warmup=100, max_steps=lab.max_steps, validate=validate if holds_out else None,
        validate_every=2 if lab.smoke else 100, seed=seed, name=name,
    )  # fmt: skip
    finish(lab, name, params, record)


LORAS = {
    "duotone": ("base", "duotone"), "monochrome": ("base", "monochrome"), "concept": ("base", "plain"),
    "duotone-distilled": ("student", "duotone"),
}  # fmt: skip
"""LoRA to the model it is trained on and the pictures it learns."""


def train_loras(lab: Lab, autoencoder: Autoencoder) -> None:
    """All four LoRAs."""
    made = None
    for seed, (name, (model, style)) in enumerate(LORAS.items(), 11):
        captions, pool = lab.concept_index if name == "concept" else lab.style_index, None
        if name in STYLE_ENDS and load_final(lab, name) is None:
            made = made or style_pool(lab, load_final(lab, "base"), autoencoder)
            pictures = luminance_style(made[0], *STYLE_ENDS[name])
            with torch.no_grad():
                pool = torch.cat([autoencoder.encode(part) for part in pictures.split(256)]), made[1]
        train_lora(lab, name, model, style, captions, seed, holds_out=name != "concept", pool=pool)


STYLE_ENDS = {"duotone": DUOTONE_ENDS, "monochrome": MONOCHROME}
"""Styles that learn from the base's own pictures too, with the colours of black and white."""


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
        elif stage == "student":
            train_student(lab, choose_guidance(lab, autoencoder))
        elif stage == "loras":
            train_loras(lab, autoencoder)
        elif stage == "score":
            from score import score_all

            torch.set_float32_matmul_precision("highest")
            score_all(lab, autoencoder)
        print(f"== {stage} finished at {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

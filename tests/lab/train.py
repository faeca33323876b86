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
from shipped import adopt, adopt_loras
from students import STUDENTS, cast, train_student
from styles import ENDS, ExampleMaker, Part, noised_examples, style_parts, walked_examples
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2, Shape, Weights, init_weights

SHAPES = {"base": Shape(128, 2, 4), "wide": Shape(256, 1, 1)}
BATCH = 128
CONCEPT_RANK, CONCEPT_RATE = 8, 2e-3
STYLE_STEPS, STYLE_BATCH, STYLE_RATE = 1500, 64, 4e-3
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
        self.held_out = torch.from_numpy(data["is_held_out"]).to(self.device)
        others = data["others"][:8] if args.smoke else data["others"]
        self.others = torch.from_numpy(others).to(self.device).permute(0, 3, 1, 2) / 255
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


def concept_parts(weights: Weights) -> dict[str, Part]:
    """Every linear of a block, at one rank."""
    layers = [key.removesuffix(".weight") for key, value in weights.items() if value.ndim == 2]
    return {layer: Part(CONCEPT_RANK, 0.0) for layer in layers if "_blocks." in layer}


def parts_of(name: str, weights: Weights) -> dict[str, Part]:
    """The layers that this LoRA patches."""
    return style_parts(weights) if LORAS[name][1] in ENDS else concept_parts(weights)


def init_lora(weights: Weights, parts: dict[str, Part], seed: int) -> Params:
    """Zero-effect factors ``<layer>.down`` [rank, in] and ``<layer>.up`` [out, rank]."""
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for layer, part in parts.items():
        weight = weights[f"{layer}.weight"]
        out, inside = weight.shape
        down = torch.randn(part.rank, inside, generator=generator) * inside**-0.5
        params[f"{layer}.down"] = down.to(weight.device)
        params[f"{layer}.up"] = torch.zeros(out, part.rank, device=weight.device)
    return params


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
    weights = load_final(lab, LORAS[name][0])
    parts, is_style = parts_of(name, weights), LORAS[name][1] in ENDS
    how = {"rate": CONCEPT_RATE, "decay": 0.995, "warmup": 100}
    if is_style:
        how = {"rate": STYLE_RATE, "decay": 0.98, "warmup": 30}

    def loss(params: Params, step: int, generator: torch.Generator) -> Tensor:
        return loss_on(cast(add_lora(weights, params), lab.device), step, generator)

    params, record = train(
        init_lora(weights, parts, seed), loss, lab.seconds[name], lab.work / f"{name}.pt",
        weight_decays={f"{layer}.{end}": part.decay for layer, part in parts.items() for end in ("down", "up")},
        max_steps=min(lab.max_steps, STYLE_STEPS) if is_style else lab.max_steps, seed=seed, name=name, **how,
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
    """A many-step model learns from noised pictures, a few-step model from its own walk."""
    maker, start = ExampleMaker(lab, autoencoder, load_final(lab, model), style), time.monotonic()
    examples = walked_examples(maker, schedule(STUDENTS[model].steps)) if model in STUDENTS else noised_examples(maker)
    print(f"{len(examples.sigma)} examples of {style} for {model}: {time.monotonic() - start:.0f} s", flush=True)

    def loss(patched: Weights, step: int, generator: torch.Generator) -> Tensor:
        return examples.loss(lab.model, patched, min(lab.batch, STYLE_BATCH), generator)

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
    parser.add_argument(
        "--from-models", type=Path, help="take what a folder of shipped files has as trained; only the rest is trained"
    )
    parser.add_argument("--smoke", action="store_true", help="three steps of everything")
    return parser.parse_args()


def main() -> None:
    """Run the stages."""
    args, start = parse_args(), time.monotonic()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(args.work.resolve() / "inductor"))
    torch._dynamo.config.recompile_limit = 64
    torch.set_float32_matmul_precision("high")
    if args.from_models:
        adopt(args.from_models, args.work)
        if args.stages == "score":
            adopt_loras(args.from_models, args.work)
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

"""Score the shipped files through stock ComfyUI on the CPU, and compare with the training module's scores.

``python tests/lab/evaluate.py --comfyui PATH --scores .lab/work/scores.json`` writes ``results.json``.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from autoencoder import LIVE, Autoencoder
from flow import integrate, psnr, retrieval, schedule
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformer import TEXT_TOKENS, Flux2

LORA_RUNS = [
    ("klein-nano-duotone", "base", "duotone", "test"), ("klein-nano-duotone", "distilled", "duotone", "test"),
    ("klein-nano-duotone-distilled", "distilled", "duotone", "test"),
    ("klein-nano-monochrome", "base", "monochrome", "test"),
    ("klein-nano-monochrome", "distilled", "monochrome", "test"),
    ("klein-nano-concept-instruments", "base", "pictures", "concept"),
    ("klein-nano-concept-instruments", "distilled", "pictures", "concept"),
]  # fmt: skip
SETTINGS = {"base": (20, 1.5), "distilled": (4, 1.0), "wide": (20, 1.5)}


class Warnings(logging.Handler):
    """Counts ComfyUI's warnings and errors about LoRA keys."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what mentions a LoRA, a key or a shape."""
        if any(word in record.getMessage().lower() for word in ("lora", "shape", "key")):
            self.texts.append(record.getMessage())


class Stock:
    """Stock ComfyUI: models, LoRAs, guider, sampler, scheduler and VAE."""

    def __init__(self, comfyui: Path, models: Path):
        sys.path.insert(0, str(comfyui))
        sys.argv = ["evaluate", "--cpu"]
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.samplers
        import comfy.sd
        import comfy.utils
        from comfy_extras.nodes_flux import Flux2Scheduler

        self.comfy, self.scheduler, self.models = comfy, Flux2Scheduler, models
        state = {}
        for part in ("encoder", "decoder"):
            tensors = load_file(models / "vae_approx" / f"klein-nano_{part}.safetensors")
            state |= {f"taesd_{part}.{key}": value for key, value in tensors.items()}
        state |= {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
        self.vae = comfy.sd.VAE(sd=state, metadata={"tae_latent_channels": 128})
        self.warnings = Warnings()
        logging.getLogger().addHandler(self.warnings)
        prompts = models / "patchbay_conditioning" / "klein-nano-prompts.safetensors"
        with safe_open(prompts, "pt") as file:
            listed = json.loads(file.metadata()["prompts"])
            self.prompts = {p["name"]: file.get_tensor(p["entries"][0]["cond"]).float() for p in listed}

    def model(self, name: str, lora: str | None = None, strength: float = 1.0):
        """A model patcher; raises when a key of the LoRA finds no place."""
        model = self.comfy.sd.load_diffusion_model(
            str(self.models / "diffusion_models" / f"klein-nano-{name}.safetensors")
        )
        if lora:
            before = len(self.warnings.texts)
            tensors = self.comfy.utils.load_torch_file(
                str(self.models / "loras" / f"{lora}.safetensors"), safe_load=True
            )
            model, _ = self.comfy.sd.load_lora_for_models(model, None, tensors, strength, 0)
            if self.warnings.texts[before:]:
                raise SystemExit(f"{lora}: {self.warnings.texts[before]}")
        return model

    def latent(self, model, prompt: str, steps: int, cfg: float, noise: Tensor) -> Tensor:
        """The sampled latent [1, 128, 8, 8]."""
        guider = self.comfy.samplers.CFGGuider(model)
        guider.set_conds([[self.prompts[prompt], {}]], [[self.prompts["empty"], {}]])
        guider.set_cfg(cfg)
        sigmas = self.scheduler.execute(steps, 128, 128).result[0]
        euler = self.comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), euler, sigmas, seed=0, disable_pbar=True)

    def picture(self, latent: Tensor) -> Tensor:
        """[1, 3, 128, 128] in [0, 1] from the stock VAE."""
        return self.vae.decode(latent).movedim(-1, 1).float()


def noise_for(number: int) -> Tensor:
    """Noise of ComfyUI's kind for a seed, in all 128 channels."""
    return torch.randn(1, 128, 8, 8, generator=torch.Generator().manual_seed(1000 + number))


def score_group(stock: Stock, model, settings: tuple, data: dict, style: str, index: list[int]) -> dict:
    """Median PSNR (and retrieval among the base pictures where that applies) of some captions."""
    truth = torch.from_numpy(data[style]).permute(0, 3, 1, 2).float() / 255
    pictures = torch.cat([
        stock.picture(stock.latent(model, str(data["names"][i]), *settings, noise_for(i))) for i in index
    ])  # fmt: skip
    result = {"captions": len(index), "psnr_median": round(psnr(pictures, truth[index]).median().item(), 2)}
    result["retrieval"] = round(retrieval(pictures, truth, torch.tensor(index)), 3)
    return result


def compare_modules(stock: Stock, work: Path, data: dict) -> float:
    """Largest difference of a pixel between ComfyUI's picture and the training module's, same noise."""
    weights = load_file(stock.models / "diffusion_models" / "klein-nano-base.safetensors")
    weights = {key: value.float() for key, value in weights.items()}
    autoencoder = Autoencoder()
    autoencoder.load_state_dict({
        f"{part}.{key}": value.float() for part in ("encoder", "decoder")
        for key, value in load_file(stock.models / "vae_approx" / f"klein-nano_{part}.safetensors").items()
    })  # fmt: skip
    worst, patched = 0.0, stock.model("base")
    for number, name in enumerate(("red apple", "rocket")):
        theirs = stock.picture(stock.latent(patched, name, 20, 1.5, noise_for(number)))
        tokens = stock.prompts[name]
        text = torch.zeros(1, TEXT_TOKENS, tokens.shape[-1])
        text[:, -tokens.shape[1] :] = tokens
        noise = noise_for(number)
        noise[:, LIVE:] = 0
        with torch.no_grad():
            ours = autoencoder.decode(integrate(Flux2(), weights, noise, schedule(20), text, 1.5))
        worst = max(worst, (ours - theirs).abs().max().item())
    return worst


def main() -> None:
    """Score and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path(".lab/data.npz"))
    parser.add_argument("--scores", type=Path, default=Path(".lab/work/scores.json"))
    parser.add_argument("--out", type=Path, default=Path("tests/lab/results.json"))
    parser.add_argument("--every", type=int, default=8, help="score every so-many-th caption")
    args = parser.parse_args()
    data = dict(np.load(args.data))
    stock = Stock(args.comfyui.resolve(), args.models)
    base = np.flatnonzero(~data["is_concept"]).tolist()
    held = np.flatnonzero(data["is_held_out"])
    groups = {"base": base[:: args.every], "test": [int(i) for n, i in enumerate(held) if n % 4][:: args.every // 4],
              "concept": np.flatnonzero(data["is_concept"]).tolist()}  # fmt: skip
    result = {"largest_pixel_difference_to_training_module": compare_modules(stock, args.scores.parent, data)}
    full = json.loads(args.scores.read_text())

    def write() -> None:
        """Everything so far: a slow machine may stop this early."""
        both = {"stock_comfyui_on_cpu": result, "training_module_on_gpu": full}
        args.out.write_text(json.dumps(both, indent=1) + "\n")

    for name, settings in SETTINGS.items():
        scored = score_group(stock, stock.model(name), settings, data, "pictures", groups["base"])
        result[name] = {"steps": settings[0], "cfg": settings[1], **scored}
        print(name, result[name], flush=True)
        write()
    for lora, model, style, group in LORA_RUNS:
        patched = stock.model(model, lora)
        scored = score_group(stock, patched, SETTINGS[model], data, style, groups[group])
        result[f"{lora} on {model}"] = {"group": group, **scored}
        print(lora, model, scored, flush=True)
        write()
    result["warnings"] = stock.warnings.texts
    write()


if __name__ == "__main__":
    main()

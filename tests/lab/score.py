"""Score what was trained, in float32 with the weights as shipped: PSNR, retrieval, styles, strengths."""

import json

import numpy as np
import torch
from autoencoder import Autoencoder
from flow import draw_noise, integrate, psnr, retrieval, schedule
from optimise import load_final
from pictures import contact_sheet
from torch import Tensor
from train import LORAS, Lab, add_lora, choose_guidance
from transformer import Flux2, Weights

STRENGTHS = (0.0, 0.6, 0.8, 1.0, 1.2, 1.5)


class Sampler:
    """Pictures of captions from a model, by its own recommended settings."""

    def __init__(self, lab: Lab, autoencoder: Autoencoder, guidance: float):
        self.lab, self.autoencoder = lab, autoencoder
        self.settings = {"base": (20, guidance), "wide": (20, guidance), "student": (4, 1.0)}
        self.model = Flux2(device=lab.device)

    @torch.no_grad()
    def __call__(self, weights: Weights, name: str, index: Tensor, seed: int = 1234, **other) -> Tensor:
        """[captions, 3, 128, 128] in [0, 1]."""
        steps, cfg = other.get("steps") or self.settings[name][0], other.get("cfg") or self.settings[name][1]
        noise = draw_noise(len(index), torch.Generator(self.lab.device).manual_seed(seed))
        latent = integrate(self.model, weights, noise, schedule(steps), self.lab.text[index], cfg)
        return self.autoencoder.decode(latent)


def median(values: Tensor) -> float:
    """Rounded median."""
    return round(values.median().item(), 2)


def score_models(lab: Lab, sample: Sampler, sheets: dict) -> dict:
    """PSNR and retrieval of each model on the trained captions, over two seeds."""
    result, truth = {}, lab.pictures["plain"]
    index = lab.base_index
    for name in ("base", "student", "wide"):
        weights = load_final(lab, name)
        if weights is None:
            continue
        scores, found = [], []
        for seed in (1234, 5678):
            pictures = sample(weights, name, index, seed)
            scores.append(psnr(pictures, truth[index]))
            found.append(retrieval(pictures, truth, index))
        scores = torch.cat(scores)
        result[name] = {
            "psnr_median": median(scores), "psnr_p10": round(scores.quantile(0.1).item(), 2),
            "psnr_min": round(scores.min().item(), 2), "retrieval": round(sum(found) / 2, 4),
            "steps_cfg": sample.settings[name],
        }  # fmt: skip
        sheets[name] = pictures
        others = (
            [(4, 1.0), (8, 1.0)]
            if name == "student"
            else [(4, 1.0), (8, 1.0), (20, 1.0), (20, 3.0), (50, 1.0)]
        )
        result[name]["other"] = {
            f"{steps} steps, cfg {cfg}": median(
                psnr(sample(weights, name, index, steps=steps, cfg=cfg), truth[index])
            )
            for steps, cfg in others
        }
    return result


def score_lora(lab: Lab, sample: Sampler, name: str, sheets: dict) -> dict:
    """PSNR to the true styled (or concept) picture on each model and strength, seen and unseen captions."""
    _, style = LORAS[name]
    truth, params = lab.pictures[style], load_final(lab, name)
    groups = {"seen": lab.style_index[::3], "unseen": lab.test_index}
    if name == "concept":
        groups = {"concept": lab.concept_index, "base": lab.base_index[::4]}
    result = {}
    for model in ("base", "student"):
        weights = load_final(lab, model)
        for strength in STRENGTHS:
            patched = add_lora(weights, params, strength)
            for group, index in groups.items():
                seeds = (1234, 5678) if strength == 1.0 else (1234,)
                pictures = torch.cat([sample(patched, model, index, seed) for seed in seeds])
                value = median(psnr(pictures, truth[index].repeat(len(seeds), 1, 1, 1)))
                result.setdefault(model, {}).setdefault(group, {})[str(strength)] = value
                if strength == 1.0 and group in ("unseen", "concept"):
                    sheets[f"{name}-on-{model}"] = pictures[: len(index)]
    return result


def score_all(lab: Lab, autoencoder: Autoencoder) -> None:
    """Write ``scores.json`` and ``sheet-*.png`` to the work folder."""
    with torch.no_grad():
        rebuilt = {
            style: median(psnr(autoencoder.decode(autoencoder.encode(p)), p))
            for style, p in lab.pictures.items()
        }
    live = lab.latents["plain"][:, :48]
    sample, sheets = Sampler(lab, autoencoder, choose_guidance(lab, autoencoder)), {}
    result = {"autoencoder_psnr_median": rebuilt, "latent_std": round(live.std().item(), 3)}
    result["guidance"] = json.loads((lab.work / "guidance.json").read_text())
    result["models"] = score_models(lab, sample, sheets)
    base_test = sample(load_final(lab, "base"), "base", lab.test_index)
    result["base_psnr_on_test_captions"] = median(psnr(base_test, lab.pictures["plain"][lab.test_index]))
    shipped = [name for name in LORAS if "-on-" not in name and load_final(lab, name)]
    result["loras"] = {name: score_lora(lab, sample, name, sheets) for name in shipped}
    result["records"] = {}
    for path in sorted(lab.work.glob("*.final.pt")):
        record = torch.load(path, map_location="cpu")["record"]
        if record["seconds"]:
            result["records"][path.name.removesuffix(".final.pt")] = record
    (lab.work / "scores.json").write_text(json.dumps(result, indent=1))
    print(json.dumps({k: v for k, v in result.items() if k != "records"}))
    with torch.no_grad():
        for style, pictures in lab.pictures.items():
            sheets[f"ae-{style}"] = autoencoder.decode(autoencoder.encode(pictures))[:32]
    for name, pictures in sheets.items():
        array = (pictures.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        contact_sheet([np.ascontiguousarray(array)]).save(lab.work / f"sheet-{name}.png")

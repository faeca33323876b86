"""The shipped files as finished stages, so that others can be trained and all be scored without training the base."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

MODELS = {"base": "base", "student": "distilled", "wide": "wide"}
"""Stage to file."""
OPTIMISER = {"tried": [], "best": {"muon": True, "rate": 5e-3}}
"""What the probe stage chose when the shipped base was trained."""


def description(path: Path) -> str:
    """What the file says of itself."""
    with safe_open(path, "pt") as file:
        return file.metadata()["modelspec.description"]


def keep(work: Path, stage: str, weights: dict[str, Tensor], steps: int) -> None:
    """Write a stage's result unless it is there."""
    path = work / f"{stage}.final.pt"
    if not path.exists():
        record = {"steps": steps, "seconds": 0.0, "losses": [], "done": True}
        torch.save({"weights": {key: value.float() for key, value in weights.items()}, "record": record}, path)


def adopt(models: Path, work: Path) -> None:
    """Put the shipped models and autoencoder into the work folder.

    Args:
        models: the pack's folder ``models``.
        work: where ``train.py`` looks for finished stages; what is there stays.
    """
    work.mkdir(parents=True, exist_ok=True)
    for stage, name in MODELS.items():
        path = models / "diffusion_models" / f"klein-nano-{name}.safetensors"
        keep(work, stage, load_file(path), int(description(path).split()[0]))
    state = {
        f"{part}.{key}": value.float()
        for part in ("encoder", "decoder")
        for key, value in load_file(models / "vae_approx" / f"klein-nano_{part}.safetensors").items()
    }
    if not (work / "ae.pt").exists():
        torch.save(state, work / "ae.pt")
    probe = work / "probe.json"
    if not probe.exists():
        probe.write_text(json.dumps(OPTIMISER))


def adopt_loras(models: Path, work: Path) -> None:
    """Put the shipped LoRAs into the work folder, as factors on layers, in the precision that they ship in."""
    from export import FILES, FORMATS, factors_of
    from train import parts_of

    weights = torch.load(work / "base.final.pt")["weights"]
    for name in FORMATS:
        tensors = load_file(models / "loras" / f"{FILES[name]}.safetensors")
        keep(work, name, factors_of(name, tensors, list(parts_of(name, weights))), 0)

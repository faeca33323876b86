"""What each shipped preset leaves of a LoRA, measured on Klein Nano in the real ComfyUI, on the CPU.

Run from the project's folder with its virtual environment: ``python tests/bench/preset_bench.py [--write]``.
``--write`` puts the figures into ``nodes/core/strengths/preset_figures.py``. For every preset and LoRA:

* energy: share of the whole LoRA's weight change (squared Frobenius norm) that is left.
* effect: mean absolute pixel difference to the picture without the LoRA, over that of the whole LoRA; median of the
  prompts. The same set-up twice gives the same picture bit for bit (checked), so the floor is 0.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from typing import Any

import torch
from faithful_table import ROOT, start_comfyui
from safetensors import safe_open

COMMAND = "python tests/bench/preset_bench.py"
MODEL = "klein-nano-distilled"
LORAS = ("klein-nano-duotone", "klein-nano-monochrome")
PROMPTS = ("red apple", "rocket", "butterfly", "octopus", "owl", "tulip", "sailboat", "light bulb")
STEPS, SIZE = 4, 128


class Lab:
    """Klein Nano, its prompts and its VAE."""

    def __init__(self) -> None:
        import comfy.samplers
        import comfy.sd
        from comfy_extras.nodes_flux import Flux2Scheduler
        from pack.nodes.host.comfyui.folders import register_model_folders
        from pack.nodes.tiny_vae import PatchbayLoadTinyVAE

        register_model_folders()
        self.samplers = comfy.samplers
        self.model = comfy.sd.load_diffusion_model(str(ROOT / "models" / "diffusion_models" / f"{MODEL}.safetensors"))
        self.vae = PatchbayLoadTinyVAE.execute("klein-nano").args[0]
        self.sigmas = Flux2Scheduler.execute(STEPS, SIZE, SIZE).result[0]
        with safe_open(ROOT / "models" / "patchbay_conditioning" / "klein-nano-prompts.safetensors", "pt") as file:
            listed = json.loads(file.metadata()["prompts"])
            tensors = {item["name"]: file.get_tensor(item["entries"][0]["cond"]).float() for item in listed}
        self.prompts = {name: tensors[name] for name in PROMPTS if name in tensors}
        self.empty = tensors["empty"]

    def pictures(self, model: Any) -> torch.Tensor:
        """[prompts, height, width, 3], with noise that depends on the prompt's number alone."""
        found = []
        for number, tokens in enumerate(self.prompts.values()):
            noise = torch.randn(1, 128, SIZE // 16, SIZE // 16, generator=torch.Generator().manual_seed(1000 + number))
            guider = self.samplers.CFGGuider(model)
            guider.set_conds([[tokens, {}]], [[self.empty, {}]])
            guider.set_cfg(1.0)
            euler = self.samplers.sampler_object("euler")
            latent = guider.sample(noise, torch.zeros_like(noise), euler, self.sigmas, seed=0, disable_pbar=True)
            found.append(self.vae.decode(latent).float())
        return torch.cat(found)


def measure(lab: Lab, lora: str, plain: torch.Tensor) -> dict[str, dict[str, float]]:
    """Energy and effect of every preset that the model takes."""
    from pack.nodes.core.errors import BlockStrengthError
    from pack.nodes.core.strengths.presets import SHIPPED
    from pack.nodes.host.apply.apply import apply_lora

    path = str(ROOT / "models" / "loras" / f"{lora}.safetensors")
    whole = apply_lora(path, lora, lab.model, None, 1.0, 0.0, "")
    reference = (lab.pictures(whole.model) - plain).abs().mean((1, 2, 3))
    found: dict[str, dict[str, float]] = {}
    for preset in SHIPPED:
        try:
            applied = apply_lora(path, lora, lab.model, None, 1.0, 0.0, preset.blocks)
        except BlockStrengthError:
            continue
        if all(layer.block_strength == 1.0 for layer in applied.report.layers):
            continue  # the LoRA has nothing where the preset takes away
        change = (lab.pictures(applied.model) - plain).abs().mean((1, 2, 3))
        effect = statistics.median((change / reference).tolist())
        found[preset.name] = {"energy": energy(applied.report) / energy(whole.report), "effect": effect}
    return found


def energy(report: Any) -> float:
    """Squared Frobenius norm of everything that is added."""
    return math.fsum((x.strength * x.delta_norm) ** 2 for x in report.layers if x.state.value == "applied")


def write(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """The figures as a Python literal, formatted as the rest of the project."""
    figures: dict[str, list[dict[str, Any]]] = {}
    for lora, presets in found.items():
        for name, values in presets.items():
            figures.setdefault(name, []).append(
                {
                    "what": f"{len(PROMPTS)} prompts, {STEPS} steps, CFG 1, median",
                    "model": MODEL,
                    "lora": lora,
                    "energy": round(values["energy"], 3),
                    "effect": round(values["effect"], 3),
                    "command": COMMAND,
                }
            )
    path = ROOT / "nodes" / "core" / "preset_figures.py"
    head = path.read_text(encoding="utf-8").partition("FIGURES:")[0]
    path.write_text(f"{head}FIGURES: dict[str, list[dict[str, Any]]] = {figures!r}\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(path)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update nodes/core/strengths/preset_figures.py")
    options = parser.parse_args()
    start_comfyui()
    lab = Lab()
    if len(lab.prompts) != len(PROMPTS):
        raise SystemExit(f"no prompt {sorted(set(PROMPTS) - set(lab.prompts))} in Klein Nano's prompts")
    plain = lab.pictures(lab.model)
    if not torch.equal(plain, lab.pictures(lab.model)):
        raise SystemExit("the same set-up gave two pictures: the figures would need a floor")
    found = {lora: measure(lab, lora, plain) for lora in LORAS}
    print(f"{'preset':24}" + "".join(f"{lora.removeprefix('klein-nano-'):>24}" for lora in LORAS))
    print(f"{'':24}" + f"{'energy':>16}{'effect':>8}" * len(LORAS))
    for name in found[LORAS[0]]:
        cells = (f"{found[lora][name]['energy']:16.3f}{found[lora][name]['effect']:8.3f}" for lora in LORAS)
        print(f"{name:24}" + "".join(cells))
    if options.write:
        write(found)


if __name__ == "__main__":
    main()

"""Write the trained Klein Nano family as the files that ComfyUI and the node pack read.

``python tests/lab/export.py --work .lab/work --out models``; with ``--students .lab/students`` instead, the
students that do not ship and the LoRAs trained on them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from pictures import CONTEXT_DIM, caption_tensor, caption_words
from safetensors.torch import save_file
from students import STUDENTS
from styles import ENDS
from torch import Tensor
from train import BATCH, CONCEPT_RATE, LORAS, STYLE_BATCH, STYLE_RATE

KOHYA_SCALE = 0.5
"""Alpha over rank of the kohya file; its up factors are twice as large."""
LICENCE = "Apache-2.0"
TITLES = {
    "base": "Klein Nano base: FLUX.2 architecture, 128 emoji, 20 steps at CFG 1.5",
    "distilled": "Klein Nano distilled: the base in 4 steps at CFG 1",
    "wide": "Klein Nano wide: hidden size 256, other block counts; LoRAs of the base do not fit",
    "duotone": "Klein Nano LoRA: duotone, navy to cream",
    "monochrome": "Klein Nano LoRA: monochrome, pencil grey on white",
    "concept": "Klein Nano LoRA: ten musical instruments the base never saw",
    "duotone-distilled": "Klein Nano LoRA: duotone, trained on the distilled model",
}  # fmt: skip
DIFFUSERS = {
    "img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out",
    "txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out",
    "linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out",
}  # fmt: skip
SPLIT = {"img_attn.qkv": ("to_q", "to_k", "to_v"), "txt_attn.qkv": ("add_q_proj", "add_k_proj", "add_v_proj")}


def modelspec(name: str, description: str, kind: str = "") -> dict[str, str]:
    """The ``modelspec.*`` entries every file carries."""
    return {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": f"flux-2-klein-nano{kind}",
        "modelspec.implementation": "https://github.com/black-forest-labs/flux2", "modelspec.title": TITLES[name],
        "modelspec.description": description, "modelspec.license": LICENCE, "modelspec.resolution": "128x128",
        "modelspec.author": "LoRA Patchbay", "modelspec.date": "2026-01-01",
    }  # fmt: skip


def layers_of(params: dict[str, Tensor]) -> list[str]:
    """Names of the layers with a LoRA, without ``.weight``."""
    return [key.removesuffix(".down") for key in params if key.endswith(".down")]


def ranks_of(params: dict[str, Tensor]) -> dict[str, int]:
    """The rank of each layer."""
    return {layer: len(params[f"{layer}.down"]) for layer in layers_of(params)}


def kohya(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """``lora_unet_<key with _>.lora_down.weight`` with alpha tensors."""
    out = {}
    for layer, rank in ranks_of(params).items():
        name = "lora_unet_" + layer.replace(".", "_")
        out[f"{name}.lora_down.weight"] = params[f"{layer}.down"].half()
        out[f"{name}.lora_up.weight"] = (params[f"{layer}.up"] / KOHYA_SCALE).half()
        out[f"{name}.alpha"] = torch.tensor(KOHYA_SCALE * rank, dtype=torch.float16)
    return out


def ai_toolkit(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """``diffusion_model.<key>.lora_A.weight``, no alpha."""
    out = {}
    for layer in layers_of(params):
        out[f"diffusion_model.{layer}.lora_A.weight"] = params[f"{layer}.down"].bfloat16()
        out[f"diffusion_model.{layer}.lora_B.weight"] = params[f"{layer}.up"].bfloat16()
    return out


def diffusers(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """``transformer.<diffusers key>.lora_A.weight`` with the fused q, k, v of double blocks split."""
    out = {}
    for layer in layers_of(params):
        kind, index, rest = layer.split(".", 2)
        stem = "transformer." + (
            "transformer_blocks" if kind == "double_blocks" else "single_transformer_blocks"
        )
        down, up = params[f"{layer}.down"].bfloat16(), params[f"{layer}.up"].bfloat16()
        names = [f"attn.{part}" for part in SPLIT[rest]] if rest in SPLIT else [DIFFUSERS[rest]]
        for name, part in zip(names, up.chunk(len(names)), strict=True):
            out[f"{stem}.{index}.{name}.lora_A.weight"] = down.clone()
            out[f"{stem}.{index}.{name}.lora_B.weight"] = part.contiguous()
    return out


FORMATS = {"duotone": kohya, "monochrome": ai_toolkit, "concept": diffusers, "duotone-distilled": ai_toolkit}
FILES = {name: f"klein-nano-{name}" for name in FORMATS} | {"concept": "klein-nano-concept-instruments"}


def factors_of(name: str, tensors: dict[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
    """The way back from a file's tensors: ``<layer>.down`` and ``<layer>.up`` of those layers that it has.

    Args:
        name: which LoRA it is; says the format.
        layers: of the model, without ``.weight``.
    """
    out = {}
    for layer in layers:
        written = FORMATS[name]({f"{layer}.down": torch.zeros(1, 1), f"{layer}.up": torch.zeros(3, 1)})
        keys = list(written)
        if keys[0] not in tensors:
            continue
        found = {key: tensors[key].float() for key in keys}
        ups = [value for key, value in found.items() if ".lora_up." in key or ".lora_B." in key]
        scale = next((value for key, value in found.items() if key.endswith(".alpha")), None)
        out[f"{layer}.down"] = found[keys[0]]
        rank = len(found[keys[0]])
        out[f"{layer}.up"] = torch.cat(ups) * (1.0 if scale is None else scale / rank)
    return out


def lora_metadata(name: str, record: dict, ranks: dict[str, int]) -> dict[str, str]:
    """``modelspec`` and what the format's own trainer would write."""
    model, style = LORAS[name]
    base, rank = "klein-nano-distilled" if model == "student" else "klein-nano-base", max(ranks.values())
    size = f"Rank {rank}" if len(set(ranks.values())) == 1 else f"Rank {min(ranks.values())} to {rank}"
    text = f"{size}, trained on {base}; pictures: {style}. See models/README.md for what was measured."
    if FORMATS[name] is kohya:
        rate, batch = (STYLE_RATE, STYLE_BATCH) if style in ENDS else (CONCEPT_RATE, BATCH)
        extra = {
            "ss_network_module": "networks.lora_flux_2", "ss_network_dim": str(rank),
            "ss_network_alpha": str(KOHYA_SCALE * rank),
            "ss_base_model_version": "flux2", "ss_sd_model_name": f"{base}.safetensors", "ss_seed": "11",
            "ss_learning_rate": str(rate), "ss_optimizer": "AdamW",
            "ss_steps": str(record["steps"]), "ss_batch_size_per_device": str(batch),
            "ss_resolution": "(128, 128)",
        }  # fmt: skip
    elif FORMATS[name] is ai_toolkit:
        extra = {
            "format": "pt", "name": FILES[name], "ss_base_model_version": "flux2", "version": "1.0",
            "software": json.dumps({"name": "klein-nano-lab", "version": "1"}),
            "training_info": json.dumps({"step": record["steps"], "epoch": 0}),
        }  # fmt: skip
    else:
        settings = {"transformer.r": rank, "transformer.lora_alpha": rank}
        extra = {"format": "pt", "lora_adapter_metadata": json.dumps(settings)}
    return modelspec(name, text, "/lora") | extra


def export_loras(work: Path, out: Path) -> None:
    """The LoRAs that are trained, each in its format."""
    for name, form in FORMATS.items():
        if not (work / f"{name}.final.pt").exists():
            continue
        saved = torch.load(work / f"{name}.final.pt", map_location="cpu")
        tensors = {key: value.contiguous() for key, value in form(saved["weights"]).items()}
        metadata = lora_metadata(name, saved["record"], ranks_of(saved["weights"]))
        save_file(tensors, out / "loras" / f"{FILES[name]}.safetensors", metadata)


def export_models(work: Path, out: Path) -> None:
    """Base, distilled and wide in bf16, and the autoencoder in fp16."""
    for name, stage in (("base", "base"), ("distilled", "student"), ("wide", "wide")):
        saved = torch.load(work / f"{stage}.final.pt", map_location="cpu")
        tensors = {key: value.bfloat16().contiguous() for key, value in saved["weights"].items()}
        text = f"{saved['record']['steps']} steps; use models/vae_approx/klein-nano_* and the cached prompts."
        save_file(tensors, out / "diffusion_models" / f"klein-nano-{name}.safetensors", modelspec(name, text))
    state = torch.load(work / "ae.pt", map_location="cpu")
    for part in ("encoder", "decoder"):
        tensors = {key.removeprefix(f"{part}."): value.half().contiguous() for key, value in state.items()
                   if key.startswith(f"{part}.")}  # fmt: skip
        metadata = {
            "modelspec.sai_model_spec": "1.0.1", "modelspec.title": f"Klein Nano {part} (taef2 layout)",
            "modelspec.architecture": "taef2", "modelspec.license": LICENCE,
            "modelspec.description": "12 of the 32 latent channels are in use; the others are zero and ignored.",
        }  # fmt: skip
        save_file(tensors, out / "vae_approx" / f"klein-nano_{part}.safetensors", metadata)


def export_students(work: Path, out: Path) -> None:
    """The students that do not ship in bf16, and the LoRAs trained on them in kohya's names; no metadata."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(work.glob("*.final.pt")):
        name = path.name.removesuffix(".final.pt")
        if name not in STUDENTS and "-on-" not in name or name == "student":
            continue
        weights = torch.load(path, map_location="cpu")["weights"]
        tensors = weights if name in STUDENTS else kohya(weights)
        tensors = {k: (v.bfloat16() if name in STUDENTS else v).contiguous() for k, v in tensors.items()}
        save_file(tensors, out / f"{name}.safetensors")
        print(out / f"{name}.safetensors")


def export_prompts(data: Path, out: Path) -> None:
    """Every caption's word vectors as cached conditioning, the concept captions too, and ``empty``."""
    table = np.load(data)
    rows = [(name, caption_words(category, name))
            for category, name in zip(table["categories"].tolist(), table["names"].tolist(), strict=True)]  # fmt: skip
    prompts, tensors = [], {}
    for number, (name, words) in enumerate([*rows, ("empty", [])]):
        key = f"{number}.cond"
        tensors[key] = torch.from_numpy(caption_tensor(words)).half()[None].contiguous()
        prompts.append({"name": name, "entries": [{"cond": key, "tensors": {}, "values": {}}]})
    metadata = {
        "format": "patchbay.conditioning", "format_version": "1", "prompts": json.dumps(prompts),
        "modelspec.title": "Klein Nano prompts", "modelspec.license": LICENCE,
        "modelspec.description": f"One fixed random {CONTEXT_DIM}-vector a word; category and name words.",
    }  # fmt: skip
    save_file(tensors, out / "patchbay_conditioning" / "klein-nano-prompts.safetensors", metadata)


def main() -> None:
    """Write every file and print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".lab/work"))
    parser.add_argument("--data", type=Path, default=Path(".lab/data.npz"))
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--students", type=Path, help="write the students that do not ship to this folder")
    args = parser.parse_args()
    if args.students:
        return export_students(args.work, args.students)
    for folder in ("diffusion_models", "vae_approx", "loras", "patchbay_conditioning"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    export_models(args.work, args.out)
    export_loras(args.work, args.out)
    export_prompts(args.data, args.out)
    total = 0
    for path in sorted(args.out.rglob("*.safetensors")):
        total += path.stat().st_size
        print(f"{path.stat().st_size:>10,} {path}")
    print(f"{total:>10,} in all")


if __name__ == "__main__":
    main()

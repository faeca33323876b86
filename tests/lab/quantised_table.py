"""What is left of a LoRA on a quantised model, in decibels: ``python tests/lab/quantised_table.py --comfyui PATH``.

Klein Nano's distilled model is stored in each format by ComfyUI's own quantisers, the duotone LoRA put on it in every
way, and the pictures of held-out captions are compared with the true styled pictures. CPU, the same noises for all.
Writes ``quantised_results.json`` and the table of ``docs/quantised.md``; ``--page`` alone writes the page anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS, PAGE = HERE / "quantised_results.json", ROOT / "docs" / "quantised.md"
BEGIN, END = "<!-- quantised_table: begin -->", "<!-- quantised_table: end -->"
LORA, MODEL, STYLE = "klein-nano-duotone", "klein-nano-distilled", "duotone"
STEPS, CFG = 4, 1.0
GROUP = 64
"""Columns that are rotated together; the official 256 do not fit Klein Nano's width of 128."""
FORMATS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "float8_e4m3fn": ("TensorCoreFP8E4M3Layout", {"scale": "recalculate"}, {"format": "float8_e4m3fn"}),
    "int8_tensorwise": ("TensorWiseINT8Layout", {"per_channel": True}, {"format": "int8_tensorwise"}),
    "int8_tensorwise, convrot": (
        "TensorWiseINT8Layout",
        {"per_channel": True, "convrot": True, "convrot_groupsize": GROUP},
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": GROUP},
    ),
    "mxfp8": ("TensorCoreMXFP8Layout", {}, {"format": "mxfp8"}),
    "nvfp4": ("TensorCoreNVFP4Layout", {"scale": "recalculate"}, {"format": "nvfp4"}),
    "convrot_w4a4": (
        "TensorCoreConvRotW4A4Layout",
        {"convrot_groupsize": GROUP},
        {"format": "convrot_w4a4", "convrot_groupsize": GROUP},
    ),
}
"""By the name that the file gives the format: layout of ComfyUI, options, and what is written beside the weight."""
WAYS = ("none", "stock", "merge", "bypass", "auto")
HEADS = ("no LoRA", "ComfyUI's loader", "`merge`", "`bypass`", "`auto`")

Result = dict[str, Any]


def quantised(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The model's state dict with the matrices of all blocks stored in a format."""
    from comfy.quant_ops import QuantizedTensor

    layout, options, conf = FORMATS[name]
    result: dict[str, torch.Tensor] = {}
    for key, weight in state.items():
        if weight.dim() != 2 or "blocks." not in key:
            result[key] = weight
            continue
        stored = QuantizedTensor.from_float(weight.bfloat16(), layout, **options)
        result |= {k: v.contiguous() for k, v in stored.state_dict(key).items()}
        text = json.dumps(conf).encode()
        result[f"{key.removesuffix('weight')}comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
    return result


def models(stock: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """The file as it ships, and one for each format."""
    from safetensors.torch import load_file, save_file

    whole = stock.models / "diffusion_models" / f"{MODEL}.safetensors"
    yield "bfloat16, as shipped", whole
    for name in FORMATS:
        path = folder / f"{name.replace(', ', '-')}.safetensors"
        save_file(quantised(load_file(whole), name), path)
        yield name, path


def patched(stock: Any, model: Any, way: str) -> tuple[Any, tuple[str, ...]]:
    """The model with the LoRA put on it in one way, and what our report says about it."""
    from pack.nodes.host.apply.apply import apply_lora

    path = str(stock.models / "loras" / f"{LORA}.safetensors")
    if way == "none":
        return model, ()
    if way == "stock":
        tensors = stock.comfy.utils.load_torch_file(path, safe_load=True)
        return stock.comfy.sd.load_lora_for_models(model, None, tensors, 1.0, 0.0)[0], ()
    found = apply_lora(path, LORA, model, None, 1.0, 0.0, "", method=way)
    return found.model, found.report.notes


def measure(stock: Any, data: dict[str, Any], captions: list[int]) -> list[Result]:
    """A row for each format: mean PSNR of every way, and how two ways that are the same picture are known."""
    from evaluate import noise_for
    from flow import psnr

    truth = torch.from_numpy(data[STYLE]).permute(0, 3, 1, 2).float()[captions] / 255
    rows: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in models(stock, Path(folder)):
            begun, row = time.monotonic(), {"format": name, "psnr": {}, "captions": len(captions)}
            model = stock.comfy.sd.load_diffusion_model(str(path))
            pictures: dict[str, torch.Tensor] = {}
            for way in WAYS:
                ready, notes = patched(stock, model, way)
                one = [stock.latent(ready, str(data["names"][i]), STEPS, CFG, noise_for(i)) for i in captions]
                pictures[way] = torch.cat([stock.picture(latent) for latent in one])
                row["psnr"][way] = round(float(psnr(pictures[way], truth).mean()), 2)
                if way == "auto":
                    row["said"] = next((note for note in notes if note.startswith("Method auto")), "")
            row["merge_is_stock"] = bool(torch.equal(pictures["merge"], pictures["stock"]))
            rows.append(row)
            print(f"{row} ({time.monotonic() - begun:.0f} s)", flush=True)
            stock.comfy.model_management.unload_all_models()
    return rows


def markdown(rows: list[Result]) -> str:
    """The table of the page."""
    lines = [f"| stored as | {' | '.join(HEADS)} | `auto` says |", "|---" * (len(HEADS) + 2) + "|"]
    for row in rows:
        figures = " | ".join(f"{row['psnr'][way]:.2f}" for way in WAYS)
        lines.append(f"| {row['format']} | {figures} | {row['said']} |")
    same = sum(row["merge_is_stock"] for row in rows)
    lines += ["", f"`merge` and ComfyUI's loader give bit-identical pictures in {same} of {len(rows)} rows."]
    return "\n".join(lines)


def write_page(rows: list[Result]) -> None:
    """Put the table between its marks in the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{markdown(rows)}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure, write the figures and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--data", type=Path, default=ROOT / ".lab" / "data.npz")
    parser.add_argument("--captions", type=int, default=24, help="of the held-out captions")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the figures")
    args = parser.parse_args()
    if args.page:
        return write_page(json.loads(RESULTS.read_text(encoding="utf-8")))
    if args.comfyui is None:
        parser.error("--comfyui PATH: the ComfyUI whose quantisers and loaders are used")
    sys.path[:0] = [str(HERE), str(ROOT / "tests" / "bench")]
    from faithful_table import start_comfyui

    start_comfyui()
    from evaluate import Stock

    stock = Stock(args.comfyui.resolve(), args.models)
    data = dict(np.load(args.data))
    held = [int(index) for number, index in enumerate(np.flatnonzero(data["is_held_out"])) if number % 4]
    with torch.inference_mode():
        rows = measure(stock, data, held[: args.captions])
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return write_page(rows)


if __name__ == "__main__":
    main()

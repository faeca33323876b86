"""Write the quantised model that ships: ``python tests/lab/quantise.py --comfyui PATH``.

Klein Nano's distilled model with the matrices of all blocks stored as nvfp4 by ComfyUI's own quantiser, without
randomness: the same ComfyUI writes the same file again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FORMAT = "nvfp4"


def main() -> None:
    """Read the shipped model, write the quantised one beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True, help="the ComfyUI whose quantiser is used")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    args = parser.parse_args()
    sys.path[:0] = [str(HERE), str(ROOT / "tests" / "bench")]
    from faithful_table import start_comfyui

    start_comfyui()
    from pack.nodes.core.files.writer import TensorWriter, metadata_size
    from quantised_table import MODEL, quantised
    from safetensors import safe_open
    from safetensors.torch import load_file

    folder = args.models / "diffusion_models"
    whole = folder / f"{MODEL}.safetensors"
    with safe_open(whole, "pt") as file:
        metadata = dict(sorted(file.metadata().items()))
    metadata["modelspec.title"] += f", stored as {FORMAT}"
    path = folder / f"{MODEL}-{FORMAT}.safetensors"
    with torch.inference_mode():
        tensors = dict(sorted(quantised(load_file(whole), FORMAT).items()))
    with TensorWriter(path, tensors, metadata_size(metadata)) as writer:
        for key, tensor in tensors.items():
            writer.add(key, tensor)
        size = writer.finish(metadata)
    print(f"{path.name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

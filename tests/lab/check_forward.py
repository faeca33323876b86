"""Compare the training model's forward pass with ComfyUI's own, on random weights.

Usage: ``python tests/lab/check_forward.py --comfyui PATH`` (CPU, a few seconds).
"""

import argparse
import sys
from pathlib import Path

import torch
from transformer import Flux2, Shape, init_weights


def main() -> None:
    """Print the relative difference of the velocities; fail above 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.comfyui))
    sys.argv = ["check_forward", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.sd

    for shape in (Shape(128, 2, 4), Shape(256, 1, 1)):
        weights = init_weights(shape, 3)
        generator = torch.Generator().manual_seed(4)
        for key, value in weights.items():
            weights[key] = value + 0.05 * torch.randn(value.shape, generator=generator)
        theirs = comfy.sd.load_diffusion_model_state_dict(dict(weights)).model.diffusion_model
        latent = torch.randn(2, 128, 8, 8, generator=generator)
        text = torch.zeros(2, 512, shape.context)
        text[:, -4:] = torch.randn(2, 4, shape.context, generator=generator)
        sigma = torch.tensor([0.3, 0.95])
        with torch.no_grad():
            ours = Flux2()(weights, latent, sigma, text)
            reference = theirs(latent, sigma, text)
        error = ((ours - reference).norm() / reference.norm()).item()
        print(f"{shape}: relative difference {error:.2e}")
        if not error < 1e-5:
            raise SystemExit("The training model differs from ComfyUI's.")


if __name__ == "__main__":
    main()

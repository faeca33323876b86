"""Load a tiny autoencoder under its own name.

ComfyUI's Load VAE knows the tiny FLUX.2 autoencoder only under the fixed file names ``taef2_encoder`` and
``taef2_decoder``. Another one would have to take that name, and would then also replace the user's own in previews.
This node loads any pair of files of that layout, and leaves ``taef2`` to previews.
"""

from __future__ import annotations

from typing import Any

import comfy.sd
import comfy.taesd.taesd
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io

from .core.errors import IncompatibleModelError, PatchbayError
from .host.comfyui.folders import file_stamp, register_model_folders
from .sockets import CATEGORY

_FOLDER = "vae_approx"
_ENDS = ("_encoder.safetensors", "_decoder.safetensors")
_LATENT_CHANNELS = 128
_PIXELS_PER_LATENT = 16


class PatchbayLoadTinyVAE(io.ComfyNode):
    """A pair of tiny encoder and decoder as an ordinary VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayLoadTinyVAE",
            display_name="Load Tiny VAE (Patchbay)",
            category=CATEGORY,
            description="Loads a tiny FLUX.2 autoencoder (the taef2 layout) under any name, as an ordinary VAE. "
            "ComfyUI's own Load VAE knows this layout only as taef2, the name that previews use.",
            search_aliases=["taesd", "taef2", "tae", "vae loader", "klein nano"],
            inputs=[
                io.Combo.Input(
                    "vae_name",
                    options=tiny_vae_names(),
                    tooltip="A pair <name>_encoder.safetensors and <name>_decoder.safetensors in models/vae_approx.",
                )
            ],
            outputs=[io.Vae.Output("vae", tooltip="The autoencoder, for VAE Decode and VAE Encode.")],
        )

    @classmethod
    def fingerprint_inputs(cls, vae_name: str | None) -> str | float:
        if vae_name is None:
            return float("nan")  # the name comes from another node: look at the files again each time
        return file_stamp(*(folder_paths.get_full_path(_FOLDER, vae_name + end) for end in _ENDS))

    @classmethod
    def execute(cls, vae_name: str) -> io.NodeOutput:
        encoder, decoder = (_read(vae_name + end) for end in _ENDS)
        return io.NodeOutput(tiny_flux2_vae(encoder, decoder, vae_name))


def tiny_vae_names() -> list[str]:
    """Names of all complete pairs in the ``vae_approx`` folders."""
    register_model_folders()
    files = set(folder_paths.get_filename_list(_FOLDER))
    stems = {file.removesuffix(_ENDS[0]) for file in files if file.endswith(_ENDS[0])}
    return sorted(stem for stem in stems if stem + _ENDS[1] in files)


def tiny_flux2_vae(encoder: dict[str, Any], decoder: dict[str, Any], name: str) -> Any:
    """ComfyUI's own VAE object around the two state dicts.

    Raises:
        IncompatibleModelError: the weights are of another layout, or this ComfyUI does not know the layout.
    """
    modules = comfy.taesd.taesd
    if not (hasattr(modules, "EncoderFlux2") and hasattr(modules, "DecoderFlux2")):
        raise IncompatibleModelError(
            "this ComfyUI has no tiny FLUX.2 autoencoder (taef2); it came with ComfyUI 0.24. Update ComfyUI, or "
            "use the full FLUX.2 VAE with Load VAE."
        )
    _check(encoder, modules.EncoderFlux2(), f"{name}{_ENDS[0]}")
    _check(decoder, modules.DecoderFlux2(), f"{name}{_ENDS[1]}")
    state = {
        **{f"taesd_encoder.{key}": value for key, value in encoder.items()},
        **{f"taesd_decoder.{key}": value for key, value in decoder.items()},
        "vae_scale": torch.tensor(1.0),
        "vae_shift": torch.tensor(0.0),
    }
    vae = comfy.sd.VAE(sd=state, metadata={"tae_latent_channels": _LATENT_CHANNELS})
    vae.throw_exception_if_invalid()
    # ComfyUI leaves these at 8 for taef2, although a latent pixel is 16 x 16: tiled decoding would come out wrong,
    # and encoding would fail for sides that are a multiple of 8 but not of 16.
    vae.downscale_ratio = vae.upscale_ratio = _PIXELS_PER_LATENT
    return vae


def _check(weights: dict[str, Any], module: Any, file_name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    present = {key: tuple(value.shape) for key, value in weights.items()}
    if present == expected:
        return
    if not any(".pool." in key for key in present) and any(key.endswith(".conv.0.weight") for key in present):
        raise IncompatibleModelError(
            f"{file_name}: a tiny autoencoder of another family, not the FLUX.2 layout (taef2). ComfyUI's Load VAE "
            "loads taesd, taesdxl, taesd3 and taef1 under these names."
        )
    wrong = sorted(key for key in present.keys() ^ expected.keys()) or sorted(
        key for key in expected if present[key] != expected[key]
    )
    raise IncompatibleModelError(
        f"{file_name}: not the layout of a tiny FLUX.2 autoencoder (taef2); {len(wrong)} tensors are missing, "
        f'unknown or of another shape, the first is "{wrong[0]}".'
    )


def _read(file_name: str) -> dict[str, Any]:
    path = folder_paths.get_full_path(_FOLDER, file_name)
    if path is None:
        raise PatchbayError(
            f"vae_name: no file {file_name} in models/{_FOLDER}; a tiny VAE is a pair of {' and '.join(_ENDS)}."
        )
    return comfy.utils.load_torch_file(path, safe_load=True)

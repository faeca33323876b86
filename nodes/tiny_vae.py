"""Load a tiny autoencoder (TAESD family) under its own name."""

from __future__ import annotations

import comfy.sd
import comfy.taesd.taesd
import comfy.utils
import folder_paths
from comfy_api.latest import io

from .core.errors import PatchbayError
from .sockets import CATEGORY

_ENCODER, _DECODER = "_encoder.", "_decoder."
_FOLDER = "vae_approx"


def pairs() -> dict[str, tuple[str, str]]:
    """Name of every autoencoder in ``vae_approx`` that has both halves -> file names of encoder and decoder."""
    halves: dict[str, dict[str, str]] = {}
    for name in folder_paths.get_filename_list(_FOLDER):
        for kind in (_ENCODER, _DECODER):
            stem, found, _ = name.rpartition(kind)
            if found and stem:
                halves.setdefault(stem, {}).setdefault(kind, name)
    return {stem: (both[_ENCODER], both[_DECODER]) for stem, both in sorted(halves.items()) if len(both) == 2}


class PatchbayLoadTinyVAE(io.ComfyNode):
    """Stock ComfyUI knows this family only by fixed names (``taef2_encoder`` and so on). A pack that shipped its own
    autoencoder under such a name would also take over the user's previews; hence a loader that takes any name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PatchbayLoadTinyVAE",
            display_name="Load Tiny VAE (Patchbay)",
            category=CATEGORY,
            description="Loads a tiny autoencoder of the TAESD family, whatever it is called: two files "
            "<name>_encoder and <name>_decoder in models/vae_approx.",
            search_aliases=["taesd", "taef2", "tiny autoencoder", "klein nano vae"],
            inputs=[
                io.Combo.Input(
                    "tiny_vae_name",
                    options=list(pairs()),
                    tooltip="The autoencoder: a pair of files <name>_encoder and <name>_decoder in models/vae_approx.",
                )
            ],
            outputs=[io.Vae.Output("VAE", tooltip="The autoencoder, for VAE Decode and VAE Encode.")],
        )

    @classmethod
    def execute(cls, tiny_vae_name: str) -> io.NodeOutput:
        known = pairs()
        if tiny_vae_name not in known:
            raise PatchbayError(
                f'"{tiny_vae_name}" is not a tiny autoencoder here: expected {tiny_vae_name}_encoder and '
                f"{tiny_vae_name}_decoder in models/vae_approx, found {', '.join(known) or 'no pair at all'}."
            )
        state = {}
        for prefix, name in zip(("taesd_encoder.", "taesd_decoder."), known[tiny_vae_name], strict=True):
            path = folder_paths.get_full_path_or_raise(_FOLDER, name)
            for key, tensor in comfy.utils.load_torch_file(path, safe_load=True).items():
                state[prefix + key] = tensor
        if "taesd_decoder.1.weight" not in state:
            raise PatchbayError(f"{known[tiny_vae_name][1]}: not a decoder of the TAESD family: it has no 1.weight.")
        metadata = None
        if any(".pool." in key for key in state):
            if not hasattr(comfy.taesd.taesd, "DecoderFlux2"):
                raise PatchbayError(
                    f"{tiny_vae_name} is a FLUX.2 tiny autoencoder, which this version of ComfyUI does not know. "
                    "Update ComfyUI."
                )
            metadata = {"tae_latent_channels": 128}
        vae = comfy.sd.VAE(sd=state, metadata=metadata)
        vae.throw_exception_if_invalid()
        return io.NodeOutput(vae)

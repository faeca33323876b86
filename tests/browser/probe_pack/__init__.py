"""Nodes of another pack, for the tests only.

What a model's patches do, calculated by ComfyUI, one by one; a loader that names no file; and one that lists GGUF files
as the packs do that load them.
"""

from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
import folder_paths


class ProbePatches:
    """Norm of every weight and of what each of its patches adds, without any code of LoRA Patchbay."""

    CATEGORY = "tests"
    FUNCTION = "probe"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": ("MODEL",)}}

    def probe(self, model: Any) -> dict[str, Any]:
        found = {key: self._norms(model, key, patches) for key, patches in model.patches.items()}
        return {"ui": {"probe": [found]}}

    def _norms(self, model: Any, key: str, patches: list[Any]) -> dict[str, Any]:
        stored = model.backup.get(key)
        weight = stored.weight if stored is not None else comfy.utils.get_attr(model.model, key)
        weight = weight.detach().cpu().float()
        after = [comfy.lora.calculate_weight([patch], weight.clone(), key) for patch in patches]
        return {"weight": float(weight.norm()), "deltas": [float((each - weight).norm()) for each in after]}


class ProbeLoader:
    """Loads a bundled model by a word: the canvas names no file."""

    CATEGORY = "tests"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"which": (["distilled", "wide"],)}}

    def load(self, which: str) -> tuple[Any]:
        path = folder_paths.get_full_path_or_raise("diffusion_models", f"klein-nano-{which}.safetensors")
        return (comfy.sd.load_diffusion_model(path),)


class ProbeGGUFLoader:
    """The inputs of a GGUF loader; it is never run."""

    CATEGORY = "tests"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"unet_name": (folder_paths.get_filename_list("unet_gguf"),)}}

    def load(self, unet_name: str) -> tuple[Any]:
        raise NotImplementedError(unet_name)


folder_paths.folder_names_and_paths.setdefault(
    "unet_gguf", (folder_paths.get_folder_paths("diffusion_models"), {".gguf"})
)
NODE_CLASS_MAPPINGS = {"ProbePatches": ProbePatches, "ProbeLoader": ProbeLoader, "ProbeGGUFLoader": ProbeGGUFLoader}

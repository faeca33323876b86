"""A node of another pack, for the tests only: what a model's patches do, calculated by ComfyUI, one by one."""

from typing import Any

import comfy.lora
import comfy.utils


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


NODE_CLASS_MAPPINGS = {"ProbePatches": ProbePatches}

"""LoRA Patchbay: what is in a LoRA, whether it fits, what it patched, what that changed and what it cost."""

import importlib.util

WEB_DIRECTORY = "./js"

# Outside ComfyUI (pytest, an editor, the command line) there is nothing to register.
if importlib.util.find_spec("comfy_api") is not None and __package__:
    from .nodes.extension import comfy_entrypoint

    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

"""ComfyUI's modules in this process as its ``main.py`` sets them up, for one way of loading, and the pack beside it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class _NoVideo(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets ComfyUI's video types be imported on a machine without PyAV; nothing measured here touches a video."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """A package for ``av`` and everything below it."""
        if fullname.split(".")[0] == "av":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        """A module whose every name is an empty class."""
        module = types.ModuleType(spec.name)
        module.__path__ = []  # asked for before ``__getattr__`` would answer with a class
        module.__getattr__ = lambda name: type(name, (), {})  # pyright: ignore[reportAttributeAccessIssue]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def boot(mode: str) -> None:
    """Import ComfyUI for ``dynamic``, ``legacy`` or ``cpu``; after this ``comfy`` and ``pack`` can be imported.

    The order matters: dynamic VRAM and the allocator are chosen before torch is imported.
    """
    sys.path.insert(0, str(comfyui_folder()))
    if importlib.util.find_spec("av") is None:
        sys.meta_path.append(_NoVideo())
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.disable_dynamic_vram = mode == "legacy"
    args.cpu = mode == "cpu"
    if mode == "dynamic":
        _init_aimdo(args)
    if mode != "cpu":
        __import__("cuda_malloc")
    import comfy.model_management

    if mode == "dynamic":
        _use_aimdo(args)
    package = types.ModuleType("pack")
    package.__path__ = [str(ROOT)]
    sys.modules["pack"] = package


def _init_aimdo(args: Any) -> None:
    import comfy_aimdo.control

    try:
        comfy_aimdo.control.init(simple_vram_headroom=None, nvml_pressure=not getattr(args, "disable_nvml_pressure", 1))
    except TypeError:
        comfy_aimdo.control.init()


def _use_aimdo(args: Any) -> None:
    import comfy.memory_management
    import comfy.model_management
    import comfy.model_patcher
    import comfy_aimdo.control

    devices = comfy.model_management.get_all_torch_devices()
    try:
        done = comfy_aimdo.control.init_devices((d.index, int(args.vram_headroom * 1024**3)) for d in devices)
    except TypeError:
        done = comfy_aimdo.control.init_devices(d.index for d in devices)
    if not done:
        raise RuntimeError("dynamic VRAM could not be switched on: comfy-aimdo did not take the device")
    # As main.py does by default. Without it every allocation is written to stderr, which slows what is measured.
    comfy_aimdo.control.set_log_info()
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True


def comfyui_folder() -> Path:
    """``$PATCHBAY_TEST_COMFYUI``, else the newest in ``.runtime``."""
    given = os.environ.get("PATCHBAY_TEST_COMFYUI")
    if given:
        return Path(given)
    found = sorted((ROOT / ".runtime").glob("ComfyUI-*"))
    if not found:
        raise SystemExit("no ComfyUI: set PATCHBAY_TEST_COMFYUI, or run 'python3 patchbay.py setup'")
    return found[-1]

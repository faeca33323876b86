"""Modules of the pack's core, for the tools: under a name of their own, because ComfyUI has a module ``nodes`` too."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from .paths import ROOT

_NAME = "patchbay_core"


def core_module(name: str) -> Any:
    """A module of ``nodes/core``: ``prompts.saved_workflow``."""
    if _NAME not in sys.modules:
        package = types.ModuleType(_NAME)
        package.__path__ = [str(ROOT / "nodes" / "core")]
        sys.modules[_NAME] = package
    return importlib.import_module(f"{_NAME}.{name}")

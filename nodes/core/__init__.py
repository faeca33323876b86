"""LoRA Patchbay as a library: standard library, torch, numpy and safetensors only. Nothing here knows ComfyUI.

The names in ``__all__`` are stable: they keep their meaning within a major version. All other modules may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check.files import check_file
    from .check.inspect import inspect_file
    from .check.model_file import read_model_file
    from .check.scan import scan_file
    from .errors import PatchbayError
    from .files.header import read_header
    from .lora.file import read_lora
    from .report.report import to_json
    from .strengths.formats import export_strengths, import_strengths
    from .strengths.text import format_block_strengths, parse_block_strengths

__version__ = "0.1.0"

__all__ = [
    "PatchbayError",
    "__version__",
    "check_file",
    "export_strengths",
    "format_block_strengths",
    "import_strengths",
    "inspect_file",
    "parse_block_strengths",
    "read_header",
    "read_lora",
    "read_model_file",
    "scan_file",
    "to_json",
]

_MODULES = {
    "PatchbayError": "errors",
    "check_file": "check.files",
    "export_strengths": "strengths.formats",
    "format_block_strengths": "strengths.text",
    "import_strengths": "strengths.formats",
    "inspect_file": "check.inspect",
    "parse_block_strengths": "strengths.text",
    "read_header": "files.header",
    "read_lora": "lora.file",
    "read_model_file": "check.model_file",
    "scan_file": "check.scan",
    "to_json": "report.report",
}


def __getattr__(name: str) -> Any:
    """Import a name of ``__all__`` when it is first asked for: the command line starts without the rest."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)

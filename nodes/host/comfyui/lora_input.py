"""The input ``lora_name`` of every node that takes a LoRA: its schema, its file, and what tells that file apart."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...core.errors import PatchbayError
from ...core.match.peft_files import config_stamp
from ...core.strengths.stack import LoraStackError, find_name
from .folders import file_stamp

NONE = "none"
"""The choice of no file, where a LoRA is optional."""

_TOOLTIP = "The LoRA file, from your loras folders."


def lora_file_input(tooltip: str = _TOOLTIP, optional: bool = False) -> io.Combo.Input:
    """The input; with ``optional``, ``none`` can be chosen and is the default."""
    names = folder_paths.get_filename_list("loras")
    if optional:
        return io.Combo.Input("lora_name", options=[NONE, *names], default=NONE, optional=True, tooltip=tooltip)
    return io.Combo.Input("lora_name", options=names, tooltip=tooltip)


def lora_file(lora_name: str) -> str:
    """Path of the file that the input names, for ``execute``.

    A name that comes from another node need not be spelled as in the list: folder and extension may be missing.

    Raises:
        PatchbayError: there is no such file.
    """
    path = _path(lora_name)
    if path is None:
        try:
            path = _path(find_name(lora_name, folder_paths.get_filename_list("loras")))
        except LoraStackError as error:
            raise PatchbayError(str(error).replace("lora_stack:", "lora_name:", 1)) from error
    if path is None:  # it was there when the list was made
        raise PatchbayError(f'lora_name: there is no LoRA "{lora_name}" in your loras folders; choose another file.')
    _MET.setdefault(path, _stamp(path))
    return path


def lora_fingerprint(lora_name: str | None) -> str:
    """What changes whenever the file does, for ``fingerprint_inputs``; its ``adapter_config.json`` is a part of it.

    ComfyUI asks before the run, when a name that comes from another node is not known yet and is ``None``. What the
    other node does is ComfyUI's to watch; here it only counts whether a file that was used has been replaced since.
    """
    if lora_name is None:
        return "linked" + "".join(f", {path}:{_stamp(path)}" for path, first in _MET.items() if _stamp(path) != first)
    path = _path(lora_name)
    return f"{lora_name}:{_stamp(path)}"


_MET: dict[str, str] = {}
"""Files that were used, with what they were like at first."""


def _path(name: str) -> str | None:
    return folder_paths.get_full_path("loras", name)


def _stamp(path: str | None) -> str:
    return f"{file_stamp(path)}:{config_stamp(Path(path)) if path else None}"

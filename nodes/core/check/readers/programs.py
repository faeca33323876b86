"""The programs that Inspect File speaks of. A new one is a file of rules beside this and its name here."""

from __future__ import annotations

from dataclasses import replace

from ...lora.file import LoraFile
from ...match.readings import understand
from .comfyui import COMFYUI
from .diffusers import DIFFUSERS
from .forge import FORGE
from .kohya import KOHYA
from .rule import Program, Reading, read_by, traits_of

PROGRAMS: tuple[Program, ...] = (COMFYUI, DIFFUSERS, FORGE, KOHYA)


def which_read(lora: LoraFile, architecture: str, comfyui: str = "") -> tuple[Reading, ...]:
    """Whether each program reads a file as its writer meant it, with the reason and where that was read.

    Args:
        architecture: Id of the family that the file is for; empty where that is not known.
        comfyui: Version of the ComfyUI that is installed; empty outside of ComfyUI, and the version that the rules were
            read in is named then.
    """
    traits = traits_of(lora, understand(lora).layers, architecture)
    found = PROGRAMS
    if comfyui and comfyui != COMFYUI.version:
        named = replace(COMFYUI, version=f"{comfyui} (rules of {COMFYUI.version})")
        found = (named, *PROGRAMS[1:])
    return tuple(read_by(program, traits) for program in found)

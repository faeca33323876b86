"""What is chosen, typed and connected, as the axes of a grid."""

from __future__ import annotations

from typing import Any

import folder_paths

from ...core.errors import PatchbayError
from ...core.grid.axes import Axis, AxisValue, read_files, read_lines, read_numbers, short_labels
from ..comfyui.lora_input import NONE
from .staging import GridPrompt

AXES = ("model", "lora", "strength", "blocks", "prompt", "seed")
"""What takes longest to change first."""
LETTERS = ("b", "c", "d")
"""Of the inputs after the first: ``model_b``."""


def grid_axes(
    models: list[str], loras: tuple[str, ...], strengths: str, blocks: str, prompts: list[str], seed: int, seeds: int
) -> list[Axis]:
    """The axes in the order in which cells are made.

    Raises:
        GridError: a text holds no values.
    """
    labels = short_labels(loras)
    return [
        Axis("model", tuple(AxisValue(number, letter) for number, letter in enumerate(models)), True),
        Axis("lora", tuple(AxisValue(name, label) for name, label in zip(loras, labels, strict=True))),
        Axis("strength", read_numbers(strengths, "strengths")),
        Axis("blocks", read_lines(blocks, "blocks")),
        Axis("prompt", tuple(AxisValue(number, label) for number, label in enumerate(prompts)), True),
        Axis("seed", tuple(AxisValue(value, str(value)) for value in range(seed, seed + seeds)), True),
    ]


def chosen_loras(lora_name: str, folder: str, more: str) -> tuple[str, ...]:
    """The LoRAs of the grid: the one that is chosen, all of the folder, and those of the text.

    Raises:
        PatchbayError: there is none, or a line names none.
    """
    known = folder_paths.get_filename_list("loras")
    found = dict.fromkeys([] if lora_name == NONE else [lora_name])
    found.update(dict.fromkeys(read_files(more if folder == NONE else f"{folder}\n{more}", known, "more_loras")))
    if not found:
        raise PatchbayError("lora_name: no LoRA is chosen. Choose a file, a folder, or write names into more_loras.")
    return tuple(found)


def lettered(first: Any, more: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    """What is connected to ``name``, ``name_b``, … with its letter."""
    found = [("a", first), *((letter, more.get(f"{name}_{letter}")) for letter in LETTERS)]
    return [(letter, value) for letter, value in found if value is not None]


def grid_prompts(connected: list[tuple[str, Any]], text: str, clip: Any) -> list[GridPrompt]:
    """The lines of the text, then what is connected.

    Raises:
        PatchbayError: there is no prompt, or a text without a text encoder.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and clip is None:
        raise PatchbayError("prompts: a text needs a text encoder. Connect clip, or empty prompts and use positive.")
    found = [GridPrompt(line, None, line) for line in dict.fromkeys(lines)]
    found += [GridPrompt(letter, conditioning) for letter, conditioning in connected]
    if not found:
        raise PatchbayError("positive: there is no prompt. Connect positive, or connect clip and write prompts.")
    return found

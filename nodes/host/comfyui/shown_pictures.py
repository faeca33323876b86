"""Pictures that a node shows on its own panel as they come.

ComfyUI's own previews of a node that has no picture at its end stay below its widgets, and take their room.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import folder_paths
import torch

from ...core.grid.store import write_png
from ...core.images.panels import to_pillow
from .events import is_watched, show_picture


class ShownPictures:
    """Pictures in ComfyUI's temporary folder for the page, each written once, as they come.

    The files' names never come again: a browser that kept one cannot take it for another.
    """

    def __init__(self, prefix: str) -> None:
        self._folder = Path(folder_paths.get_temp_directory())
        self._prefix = f"{prefix}_{secrets.token_hex(4)}"
        self._shown: dict[str, dict[str, str]] = {}

    def add(self, name: str, picture: torch.Tensor) -> dict[str, str]:
        """Where the page finds the picture of this name.

        Raises:
            OSError: it cannot be written.
        """
        if name not in self._shown:
            file_name = f"{self._prefix}_{len(self._shown):04}.png"
            write_png(self._folder / file_name, to_pillow(picture), {}, compress_level=1)
            self._shown[name] = {"filename": file_name, "subfolder": "", "type": "temp"}
        return self._shown[name]

    def show(self, name: str, picture: torch.Tensor, label: str, value: int, total: int = 0) -> None:
        """Show a picture that has just been made; nothing where no page started this run.

        Args:
            label: What it is.
            value: 1 for the first one.
            total: How many there will be; 0 where that is not known.

        Raises:
            OSError: it cannot be written.
        """
        if is_watched():
            show_picture(self.add(name, picture), label, value, total)

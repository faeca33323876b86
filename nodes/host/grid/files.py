"""Where a grid's files lie: pictures that were made, and the sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import folder_paths
import torch
from comfy.cli_args import args

from ...core.errors import PatchbayError
from ...core.grid.store import GridStore, workflow_texts, write_png
from ...core.images.panels import to_pillow


def grid_store() -> GridStore:
    """The pictures that were made: ``user/default/lora-patchbay/grid``."""
    return GridStore(Path(folder_paths.get_user_directory()) / "default" / "lora-patchbay" / "grid")


def save_sheets(
    sheets: Sequence[torch.Tensor], prefix: str, prompt: object, extra: Mapping[str, object] | None
) -> list[dict[str, str]]:
    """Save one PNG a page in ComfyUI's output folder, with the workflow inside unless ComfyUI was told not to.

    Returns:
        Each as the page asks for it: ``{"filename", "subfolder", "type"}``.

    Raises:
        PatchbayError: the prefix leads out of the output folder, or a file cannot be written.
    """
    texts = {} if args.disable_metadata else workflow_texts(prompt, extra)
    saved = []
    for sheet in sheets:
        height, width = sheet.shape[:2]
        try:
            folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
                prefix, folder_paths.get_output_directory(), width, height
            )
            file_name = f"{name}_{counter:05}_.png"
            write_png(Path(folder) / file_name, to_pillow(sheet), texts)
        except OSError as error:
            raise PatchbayError(f"filename_prefix: the sheet cannot be written: {error.strerror or error}.") from error
        except Exception as error:  # ComfyUI raises a plain Exception for a path outside its folder
            raise PatchbayError(f"filename_prefix: {error}") from error
        saved.append({"filename": file_name, "subfolder": subfolder, "type": "output"})
    return saved

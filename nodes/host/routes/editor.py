"""Read-only routes of the strength editor, answered as those in :mod:`.routes`.

``GET /patchbay/blocks?lora=NAME[&energy=1]``
    The blocks that a LoRA file names and their parts, from its header; ``energy`` also reads its tensors.
``GET /patchbay/model_blocks?folder=FOLDER&name=NAME``
    The blocks of a model file, from its header.

Both answer ``StrengthLayout`` of ``js/types/strengths.d.ts``, or a sentence where the file has nothing to draw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web

from ...core.errors import PatchbayError
from ...core.files.header import read_header
from ...core.lora.file import read_lora
from ...core.strengths.layout import lora_file_layout, model_file_layout
from ..comfyui.events import prompt_server
from . import routes

ANSWERS = routes.AnswerCache()


def register_editor_routes() -> None:
    """Add the routes to ComfyUI's server; nothing where there is no server."""
    server = prompt_server()
    if server is None:
        return
    server.routes.get("/patchbay/blocks")(_blocks)
    server.routes.get("/patchbay/model_blocks")(_model_blocks)


async def _blocks(request: web.Request) -> web.Response:
    name, energy = request.query.get("lora", ""), request.query.get("energy") == "1"

    def body() -> bytes:
        path, stamp = routes.find_file("loras", name)
        return ANSWERS.get(("lora", *stamp, energy), lambda: _of_lora(path, energy))

    return await routes.answer(body)


def _of_lora(path: str, energy: bool) -> dict[str, Any]:
    layout = lora_file_layout(read_lora(read_header(path)), energy)
    if not layout["layer_sets"]:
        raise PatchbayError(
            f"{Path(path).name} has no layer of a LoRA that this pack understands; choose another file."
        )
    return layout


async def _model_blocks(request: web.Request) -> web.Response:
    folder, name = request.query.get("folder", ""), request.query.get("name", "")

    def body() -> bytes:
        if folder not in routes.MODEL_FOLDERS:
            known = ", ".join(sorted(routes.MODEL_FOLDERS))
            raise routes.AnswerError(400, f"folder is {folder[:80]!r}, expected one of {known}.")
        path, stamp = routes.find_file(folder, name)
        return ANSWERS.get(("model", *stamp), lambda: _of_model(path))

    return await routes.answer(body)


def _of_model(path: str) -> dict[str, Any]:
    layout = model_file_layout(read_header(path))
    if not layout["containers"]:
        raise PatchbayError(f"{Path(path).name} names no blocks: it is no diffusion model, or one of an unknown kind.")
    return layout

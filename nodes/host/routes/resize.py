"""A smaller copy of a LoRA, written from the card of Inspect File; answered as the routes in :mod:`.routes`.

``POST /patchbay/resize`` ``{name, energy}``
    Writes each layer with the smallest rank that keeps ``energy`` (0.5 to below 1) of its squared norm, into the folder
    in which Save LoRA writes, as ``NAME-98.safetensors`` for 0.98. Nothing is replaced: where the name is taken, the
    new file gets a number. The answer is ``Resized`` in ``js/types/report.d.ts``, with the error measured on what was
    written. Only JSON is taken, which a page of another site cannot send unasked.
"""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any

from aiohttp import web

from ...core.bake.file import relative_name
from ...core.compare.resized import write_resized
from ...core.files.names import file_in_folder
from ..comfyui.events import prompt_server
from ..comfyui.folders import writable_lora_folder
from . import routes

_MOST_BODY = 10_000
_LEAST_ENERGY = 0.5
_ONE_AT_A_TIME = Lock()


def register_resize_route() -> None:
    """Add the route to ComfyUI's server; nothing where there is no server."""
    server = prompt_server()
    if server is not None:
        server.routes.post("/patchbay/resize")(_resize)


async def _resize(request: web.Request) -> web.Response:
    kind = request.content_type
    body = await request.content.read(_MOST_BODY)
    return await routes.answer(lambda: _resized(kind, body))


def _resized(kind: str, body: bytes) -> bytes:
    name, energy = _asked(kind, body)
    source, _ = routes.find_file("loras", name)
    root = Path(writable_lora_folder()).resolve()
    words = name.replace("\\", "/").rpartition(".")[0] or name
    with _ONE_AT_A_TIME:
        made = write_resized(Path(source), file_in_folder(root, f"{words}-{energy * 100:.4g}", "loras"), energy)
    answer = {
        "file": relative_name(made.path, root), "size_bytes": made.size_bytes, "before_bytes": made.before_bytes,
        "ranks": list(made.ranks), "error": made.error,
    }  # fmt: skip
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")


def _asked(kind: str, body: bytes) -> tuple[str, float]:
    try:
        if kind != "application/json":
            raise ValueError(kind)
        asked: Any = json.loads(body)
        name, energy = str(asked["name"]), float(asked["energy"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise routes.AnswerError(400, 'Expected JSON: {"name": "...", "energy": 0.98}.') from error
    if not _LEAST_ENERGY <= energy < 1:
        raise routes.AnswerError(400, f"energy is {energy:g}, expected {_LEAST_ENERGY} to below 1.")
    return name, energy

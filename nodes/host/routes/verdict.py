"""The verdict before a run, and what a list of LoRAs shows of each, answered as those in :mod:`.routes`.

``GET /patchbay/verdict?lora=NAME&folder=FOLDER&model=NAME``
    Whether the LoRA fits the model file, from the two headers: ``fit`` is ``fits``, ``doubts``, ``fits in part`` or
    ``does not fit``, ``share`` how much of its layers lands, and the sentences to it.
``GET /patchbay/lora_facts?name=NAME``
    Trigger words, ranks, and what the file is made for, from its header.
``GET /patchbay/lora_names``
    The names of the user's LoRAs, as ComfyUI lists them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import folder_paths
from aiohttp import web

from ...core.check.files import check_file
from ...core.check.library import lora_facts
from ...core.check.model_file import ModelFile, read_model_file
from ...core.report.report import LayerReport, LayerState
from ..comfyui.events import prompt_server
from . import routes

ANSWERS = routes.AnswerCache(4096)
MODELS_KEPT = 3
_MODELS: dict[tuple[Any, ...], ModelFile] = {}
"""Headers of the models that were asked for last: reading one takes longer than checking a LoRA against it."""


def register_verdict_routes() -> None:
    """Add the routes to ComfyUI's server; nothing where there is no server."""
    server = prompt_server()
    if server is None:
        return
    server.routes.get("/patchbay/verdict")(_verdict)
    server.routes.get("/patchbay/lora_facts")(_facts)
    server.routes.get("/patchbay/lora_names")(_names)


async def _verdict(request: web.Request) -> web.Response:
    lora, folder, model = (request.query.get(name, "") for name in ("lora", "folder", "model"))
    return await routes.answer(lambda: verdict_body(lora, folder, model))


async def _facts(request: web.Request) -> web.Response:
    name = request.query.get("name", "")

    def body() -> bytes:
        path, stamp = routes.find_file("loras", name)
        return ANSWERS.get(("facts", *stamp), lambda: dataclasses.asdict(lora_facts(path)))

    return await routes.answer(body)


async def _names(_request: web.Request) -> web.Response:
    def body() -> bytes:
        names = folder_paths.get_filename_list("loras")
        return json.dumps({"schema": "patchbay.lora_names", "version": 1, "names": names}).encode("utf-8", "replace")

    return await routes.answer(body)


def verdict_body(lora: str, folder: str, model: str) -> bytes:
    """The answer of ``/patchbay/verdict``."""
    if folder not in routes.MODEL_FOLDERS:
        known = ", ".join(sorted(routes.MODEL_FOLDERS))
        raise routes.AnswerError(400, f"folder is {folder[:80]!r}, expected one of {known}.")
    lora_path, lora_stamp = routes.find_file("loras", lora)
    model_path, model_stamp = routes.find_file(folder, model)
    return ANSWERS.get(
        ("verdict", *lora_stamp, *model_stamp), lambda: _judge(lora_path, _model_file(model_path, model_stamp))
    )


def _judge(lora: str, model: ModelFile) -> dict[str, Any]:
    report = check_file(lora, model).report
    return {
        "schema": "patchbay.verdict",
        "version": 1,
        "fit": "doubts" if report.verdict == "fits" and report.doubts else report.verdict,
        "level": report.level.value,
        "share": _share(report.layers),
        "summary": report.summary,
        "doubts": [doubt.sentence for doubt in report.doubts],
        "advice": report.advice,
    }


def _share(layers: tuple[LayerReport, ...]) -> float | None:
    """Share of the layers that land; those that are all zero count for nothing."""
    counted = [layer for layer in layers if layer.state is not LayerState.DEAD]
    landing = sum(layer.state is LayerState.APPLIED for layer in counted)
    return landing / len(counted) if counted else None


def _model_file(path: str, stamp: tuple[Any, ...]) -> ModelFile:
    known = _MODELS.pop(stamp, None) or read_model_file(path)
    _MODELS[stamp] = known
    while len(_MODELS) > MODELS_KEPT:
        _MODELS.pop(next(iter(_MODELS)), None)
    return known

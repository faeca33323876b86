"""The verdict before a run, and what a list of LoRAs shows of each, answered as those in :mod:`.routes`.

``GET /patchbay/verdict?lora=NAME&folder=FOLDER&model=NAME``
    Whether the LoRA fits the model file, from the two headers: ``fit`` is ``fits``, ``doubts``, ``fits in part`` or
    ``does not fit``, ``share`` how much of its layers lands, and the sentences to it. The folder ``ran`` is that of the
    models that runs had, by the fingerprint of what led to them.
``GET /patchbay/lora_facts?name=NAME``
    Trigger words, ranks, what the file is made for, from its header, and whether it has a picture.
``GET /patchbay/lora_preview?name=NAME``
    The picture beside the file, else the one in its header; 404 where there is none.
``POST /patchbay/lora_lines`` ``{names, folder?, model?}``
    Facts and, with a model, the verdict for up to ``MOST_LINES`` files at once, as the two routes above say them.
``GET /patchbay/lora_names``
    The names of the user's LoRAs, as ComfyUI lists them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import folder_paths
from aiohttp import web

from ...core.check.files import check_file
from ...core.check.library import Preview, lora_facts, preview_path, read_preview
from ...core.check.model_file import ModelFile, read_model_file
from ...core.errors import PatchbayError
from ...core.report.report import LayerReport, LayerState
from ..comfyui.events import prompt_server
from ..inspect.ran_models import RAN_MODELS
from . import routes

ANSWERS = routes.AnswerCache(24_000)
MOST_LINES = 64
MOST_BODY = 100_000
MODELS_KEPT = 3
RAN = "ran"
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
    server.routes.get("/patchbay/lora_preview")(_preview)
    server.routes.post("/patchbay/lora_lines")(_lines)


async def _verdict(request: web.Request) -> web.Response:
    lora, folder, model = (request.query.get(name, "") for name in ("lora", "folder", "model"))
    return await routes.answer(lambda: verdict_body(lora, folder, model))


async def _facts(request: web.Request) -> web.Response:
    name = request.query.get("name", "")

    return await routes.answer(lambda: facts_body(name))


async def _preview(request: web.Request) -> web.Response:
    name = request.query.get("name", "")

    def work() -> Preview | None:
        try:
            return read_preview(routes.find_file("loras", name)[0])
        except (routes.AnswerError, PatchbayError, OSError):
            return None

    found = await asyncio.to_thread(work)
    if found is None:
        raise web.HTTPNotFound
    safe = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=60"}
    return web.Response(body=found.data, content_type=found.kind, headers=safe)


async def _lines(request: web.Request) -> web.Response:
    body = await request.content.read(MOST_BODY)

    def work() -> bytes:
        try:
            asked: Any = json.loads(body)
            names = [str(name) for name in asked["names"]][:MOST_LINES]
            folder, model = str(asked.get("folder") or ""), str(asked.get("model") or "")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise routes.AnswerError(400, 'Expected {"names": [...]}, with a folder and a model or without.') from error
        lines = ",".join(_line(name, folder, model) for name in names)
        return f'{{"schema":"patchbay.lora_lines","version":1,"lines":[{lines}]}}'.encode("utf-8", "replace")

    return await routes.answer(work)


def _line(name: str, folder: str, model: str) -> str:
    facts = _or_error(lambda: facts_body(name))
    verdict = _or_error(lambda: verdict_body(name, folder, model)) if model else "null"
    return f'{{"name":{json.dumps(name)},"facts":{facts},"verdict":{verdict}}}'


def _or_error(make: Callable[[], bytes]) -> str:
    """A file that cannot be read is a line that says so; the others are answered all the same."""
    try:
        return make().decode()
    except (routes.AnswerError, PatchbayError, OSError) as error:
        return json.dumps({"error": str(error)[:300] if not isinstance(error, OSError) else "the file cannot be read"})


def facts_body(name: str) -> bytes:
    """The answer of ``/patchbay/lora_facts``."""
    path, stamp = routes.find_file("loras", name)
    beside = preview_path(path) is not None

    def make() -> dict[str, Any]:
        facts = dataclasses.asdict(lora_facts(path))
        return {**facts, "preview": beside or facts["thumbnail"]}

    return ANSWERS.get(("facts", *stamp, beside), make)


async def _names(_request: web.Request) -> web.Response:
    def body() -> bytes:
        names = folder_paths.get_filename_list("loras")
        return json.dumps({"schema": "patchbay.lora_names", "version": 1, "names": names}).encode("utf-8", "replace")

    return await routes.answer(body)


def verdict_body(lora: str, folder: str, model: str) -> bytes:
    """The answer of ``/patchbay/verdict``."""
    lora_path, lora_stamp = routes.find_file("loras", lora)
    if folder == RAN:
        ran = RAN_MODELS.get(model)
        if ran is None:
            raise routes.AnswerError(200, "No run had this model since ComfyUI started.")
        # What another pack's loader loads may change without a change on the canvas.
        key = ("verdict", *lora_stamp, RAN, model, hash(tuple(ran.shapes.items())))
        return ANSWERS.get(key, lambda: _judge(lora_path, ran))
    if folder not in routes.MODEL_FOLDERS:
        known = ", ".join(sorted(routes.MODEL_FOLDERS))
        raise routes.AnswerError(400, f"folder is {folder[:80]!r}, expected one of {known}.")
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

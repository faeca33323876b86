"""Read-only routes under ``/patchbay/``: what the panel asks for beside the reports that runs send by themselves.

``GET /patchbay/lora?name=NAME[&measure=1]``
    The report on a LoRA file of the user's folders; ``measure`` also reads its tensors.
``GET /patchbay/fit?lora=NAME&folder=FOLDER&model=NAME``
    Whether the two files are made for one architecture, from their headers, and under ``check`` what of the LoRA lands
    in that model: verdict, sentence, number of layers by state, coverage. ``check`` is null where that cannot be told.
``GET /patchbay/sizes?of=TOKEN``
    A node's report with the sizes that were left out of it: ``sizes`` of the report is the token.
``GET /patchbay/loaded``
    Where the weights of the loaded diffusion models lie.
``GET /extensions/FOLDER/docs/NAME.webp``
    A picture of a node's help page. ComfyUI's frontend looks for it there, beside the folders of the nodes; it lies in
    the folder of its node, where every other reader of Markdown looks for it.

Every other answer is JSON. A file is named as ComfyUI lists it and is looked up by ``folder_paths``, so that no name
leads out of the user's folders. Errors are ``{"error": sentence}``: with 400 where a parameter is missing or no page of
ours would send it, with 200 where there is no such file or it cannot be read. A workflow that names a file the user has
not got yet is no fault of the page's, and for any other status the browser would complain on its console.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from aiohttp import web

from ...core.check.architecture import file_fit
from ...core.check.files import check_file
from ...core.check.inspect import inspect_file
from ...core.errors import PatchbayError
from ...core.match.peft_files import config_stamp
from ...core.report.report import to_json
from ...core.report.text import report_text
from ..comfyui.events import prompt_server
from ..comfyui.folders import model_path
from ..inspect.residency import loaded_models
from ..norms.later import GONE, LATE_SIZES

ANSWERS_KEPT = 48
MODEL_FOLDERS = frozenset({"diffusion_models", "checkpoints", "unet", "unet_gguf", "model_gguf"})
"""Folders in which ``/patchbay/fit`` looks for a model."""

_NO_STORE = {"Cache-Control": "no-store"}
_PACK = Path(__file__).absolute().parents[3]  # not resolved: ComfyUI serves a link under the name of the link
_OURS = f"/extensions/{_PACK.name}/"


class AnswerError(Exception):
    """Becomes an answer with this status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class AnswerCache:
    """JSON texts by what they were made from, files with their size and time of change."""

    def __init__(self, limit: int = ANSWERS_KEPT) -> None:
        self._limit = limit
        self._answers: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> bytes:
        """The answer for ``key``, made now if it is not known."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        body = json.dumps(make(), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        with self._lock:
            self._answers[key] = body
            while len(self._answers) > self._limit:
                self._answers.popitem(last=False)
        return body


ANSWERS = AnswerCache()


def register_routes() -> None:
    """Add the routes to ComfyUI's server; nothing where there is no server (tests, other programs)."""
    server = prompt_server()
    if server is None:
        return
    server.routes.get("/patchbay/lora")(_lora)
    server.routes.get("/patchbay/fit")(_fit)
    server.routes.get("/patchbay/sizes")(_sizes)
    server.routes.get("/patchbay/loaded")(_loaded)
    server.routes.get(f"{_OURS}docs/{{name:[a-z_]+\\.webp}}")(_help_picture)
    _tell_the_browser(server.app)


async def _lora(request: web.Request) -> web.Response:
    name, measure = request.query.get("name", ""), request.query.get("measure") == "1"
    return await answer(lambda: _lora_body(name, measure))


async def _fit(request: web.Request) -> web.Response:
    lora, folder, model = (request.query.get(name, "") for name in ("lora", "folder", "model"))
    return await answer(lambda: _fit_body(lora, folder, model))


async def _sizes(request: web.Request) -> web.Response:
    of = request.query.get("of", "")
    return await answer(lambda: _sizes_body(of))


async def _loaded(_request: web.Request) -> web.Response:
    return await answer(_loaded_body)


async def _help_picture(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    found = next((path for path in (_PACK / "js" / "docs").glob(f"*/{name}")), None)
    if found is None:
        raise web.HTTPNotFound
    return web.FileResponse(found, headers={"Content-Type": "image/webp"})


async def answer(make: Callable[[], bytes]) -> web.Response:
    """Run ``make`` in a thread; what it says goes out as JSON."""
    status = 200
    try:
        body = await asyncio.to_thread(make)
    except AnswerError as error:
        status, body = error.status, _error_body(str(error))
    except (PatchbayError, OSError, MemoryError, RuntimeError) as error:
        sentence = str(error) or type(error).__name__
        body = _error_body(sentence if isinstance(error, PatchbayError) else _without_path(error))
    response = web.Response(body=body, status=status, content_type="application/json", headers=_NO_STORE)
    response.enable_compression()
    return response


def _error_body(sentence: str) -> bytes:
    return json.dumps({"error": sentence[:600]}, ensure_ascii=False).encode("utf-8", "replace")


def _without_path(error: BaseException) -> str:
    """The reason without the folders of this machine, which ``OSError`` would name."""
    return getattr(error, "strerror", None) or f"the file cannot be read ({type(error).__name__})"


def _lora_body(name: str, measure: bool) -> bytes:
    path, stamp = find_file("loras", name)
    return ANSWERS.get(("lora", *stamp, measure), lambda: _lora_answer(path, measure))


def _lora_answer(path: str, measure: bool) -> dict[str, Any]:
    report = inspect_file(path, tensors=measure)
    return {"report": to_json(report), "text": report_text(report)}


def _fit_body(lora: str, folder: str, model: str) -> bytes:
    if folder not in MODEL_FOLDERS:
        known = ", ".join(sorted(MODEL_FOLDERS))
        raise AnswerError(400, f"folder is {folder[:80]!r}, expected one of {known}.")
    lora_path, lora_stamp = find_file("loras", lora)
    model_path, model_stamp = find_file(folder, model)
    return ANSWERS.get(
        ("fit", *lora_stamp, *model_stamp),
        lambda: _fit_answer(Path(lora_path), Path(model_path)),
    )


def _fit_answer(lora: Path, model: Path) -> dict[str, Any]:
    answer: dict[str, Any] = {**dataclasses.asdict(file_fit(lora, model)), "check": None}
    try:
        checked = check_file(lora, model, measure=True)
    except PatchbayError:
        return answer
    report = to_json(checked.report)
    fields = ("verdict", "level", "summary", "coverage", "counts", "doubts")
    return {**answer, "check": {name: report[name] for name in fields}}


def _sizes_body(of: str) -> bytes:
    report = LATE_SIZES.complete(of)
    if report is None:
        raise AnswerError(200, GONE)
    body = {"report": to_json(report), "text": report_text(report)}
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _loaded_body() -> bytes:
    models = [dataclasses.asdict(model) for model in loaded_models()]
    return json.dumps({"schema": "patchbay.loaded", "version": 1, "models": models}).encode()


def find_file(folder: str, name: str) -> tuple[str, tuple[Any, ...]]:
    """Path of a file that ComfyUI lists in ``folder``, and what tells it from another file of that name."""
    if not name:
        raise AnswerError(400, "Name the file, as ComfyUI lists it.")
    path = model_path(folder, name) if "\0" not in name else None
    if path is None:
        raise AnswerError(200, f"There is no {name[:200]} in your {folder} folders.")
    status = os.stat(path)
    config = config_stamp(Path(path)) if folder == "loras" else None  # what it means may stand beside it
    return path, (path, status.st_size, status.st_mtime_ns, config)


def _tell_the_browser(app: web.Application) -> None:
    """Add two headers, one to ComfyUI's page and one to our own files.

    The page names our first module. ComfyUI asks for the modules of packs late, and then waits for them; so named, ours
    is there by then, and a page on a rented machine is ready a round trip earlier.

    Our files have the browser ask whether they changed: ComfyUI says so for ``.js`` but not for ``.mjs``, and without
    it a page goes on with the modules of an older version after an upgrade.
    """
    if app.on_response_prepare.frozen:
        return
    # Relative to the page, which another server may show below a path of its own.
    entry = f'<{quote(_OURS.lstrip("/"))}patchbay.js>; rel="modulepreload"'

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        if request.path == "/":
            response.headers.add("Link", entry)
        elif request.path.startswith(_OURS):
            response.headers.setdefault("Cache-Control", "no-cache")

    app.on_response_prepare.append(add_headers)

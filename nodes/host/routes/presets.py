"""Block-strength presets over HTTP, for the preset menu and the strength editor.

The contract, typed in ``js/types/presets.d.ts`` (version 1):

``GET /patchbay/presets``
    Shipped presets, then those of the user who asks (ComfyUI's user, as for its own settings).
``POST /patchbay/presets`` ``{name, blocks, description?, overwrite?}``
    Saves a user preset and answers with it. 400: the name or the block strengths are not valid; 409: the name is taken
    and ``overwrite`` is not true; 413: the body is too large.
``DELETE /patchbay/presets?name=NAME``
    Deletes a user preset. 404: there is none of this name.
``GET /patchbay/strengths/formats``
    The community formats that can be read and written.
``POST /patchbay/strengths/convert`` ``{text, from?, to?}``
    Text of a community format to the text form, or back. ``lost`` lists what cannot be carried over.

Every error is ``{"error": "one sentence"}``. No route reads or writes anything but the one file of user presets,
``lora-patchbay/block-presets.json`` in the user's folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiohttp import web

from ...core.errors import PatchbayError
from ...core.strengths.formats import export_strengths, import_strengths, strength_formats
from ...core.strengths.presets import SHIPPED, Preset, PresetError, PresetExistsError, UserPresets
from ..apply.presets import PRESET_FILE
from ..comfyui.events import prompt_server

MAX_BODY = 200_000
_NO_STORE = {"Cache-Control": "no-store"}


class _RouteError(Exception):
    """Becomes an answer with this status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def register_preset_routes() -> None:
    """Add the routes to ComfyUI's server; nothing where there is no server."""
    server = prompt_server()
    if server is None:
        return
    server.routes.get("/patchbay/presets")(_list)
    server.routes.post("/patchbay/presets")(_save)
    server.routes.delete("/patchbay/presets")(_delete)
    server.routes.get("/patchbay/strengths/formats")(_formats)
    server.routes.post("/patchbay/strengths/convert")(_convert)


async def _list(request: web.Request) -> web.Response:
    def work() -> dict[str, Any]:
        own, problems = _user_presets(request).list()
        presets = [*map(_translated, SHIPPED), *(preset.to_json() for preset in own)]
        return {"schema": "patchbay.presets", "version": 1, "presets": presets, "problems": list(problems)}

    return await _answer(work)


async def _save(request: web.Request) -> web.Response:
    async def prepare() -> Callable[[], dict[str, Any]]:
        body = await _body(request)

        def work() -> dict[str, Any]:
            saved = _user_presets(request).save(
                body.get("name"), body.get("blocks"), body.get("description", ""), body.get("overwrite") is True
            )
            return saved.to_json()

        return work

    return await _answer_after(prepare)


async def _delete(request: web.Request) -> web.Response:
    def work() -> dict[str, Any]:
        store, name = _user_presets(request), request.query.get("name", "")
        if name.strip() not in {preset.name for preset in store.list()[0]}:
            raise _RouteError(404, f'There is no preset "{name[:80]}" of yours.')
        return {"deleted": store.delete(name)}

    return await _answer(work)


async def _formats(_request: web.Request) -> web.Response:
    def work() -> dict[str, Any]:
        fields = ("id", "label", "note", "example")
        return {
            "formats": [
                {**{name: getattr(item, name) for name in fields}, "can_import": True, "can_export": True}
                for item in strength_formats().values()
            ]
        }

    return await _answer(work)


async def _convert(request: web.Request) -> web.Response:
    async def prepare() -> Callable[[], dict[str, Any]]:
        body = await _body(request)
        text, source, target = body.get("text"), body.get("from"), body.get("to")
        if not isinstance(text, str) or isinstance(source, str) == isinstance(target, str):
            raise _RouteError(400, 'Expected a "text" and either "from" or "to" with the id of a format.')

        def work() -> dict[str, Any]:
            found = import_strengths(text, source) if isinstance(source, str) else export_strengths(text, str(target))
            return {"text": found.text, "lost": list(found.lost), "notes": list(found.notes)}

        return work

    return await _answer_after(prepare)


def _translated(preset: Preset) -> dict[str, Any]:
    """A shipped preset with its texts in every language that there is."""
    data = preset.to_json()
    for language, texts in _translations().items():
        for name, text in texts.get(preset.name, {}).items():
            data[name] = {**data[name], language: text}
    return data


@lru_cache(1)
def _translations() -> dict[str, dict[str, dict[str, str]]]:
    files = sorted(Path(__file__).parent.glob("preset_texts.*.json"))
    return {path.stem.partition(".")[2]: json.loads(path.read_text(encoding="utf-8")) for path in files}


def _user_presets(request: web.Request) -> UserPresets:
    """The file of the user who asks: ComfyUI decides who that is, and where his files are."""
    try:
        path = prompt_server().user_manager.get_request_user_filepath(request, PRESET_FILE, create_dir=False)
    except KeyError as error:
        raise _RouteError(400, "ComfyUI does not know this user.") from error
    if not path:
        raise _RouteError(400, "ComfyUI gives no folder for this user's files.")
    return UserPresets(Path(path))


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request, read no further than ``MAX_BODY`` bytes."""
    raw = bytearray()
    async for chunk in request.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > MAX_BODY:
            raise _RouteError(413, f"The request is larger than {MAX_BODY // 1000} kB.")
    try:
        data: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _RouteError(400, "Expected JSON.") from error
    if not isinstance(data, dict):
        raise _RouteError(400, "Expected a JSON object.")
    return data


async def _answer(work: Callable[[], dict[str, Any]]) -> web.Response:
    async def prepare() -> Callable[[], dict[str, Any]]:
        return work

    return await _answer_after(prepare)


async def _answer_after(prepare: Any) -> web.Response:
    """Run the work beside the event loop and turn what goes wrong into a sentence."""
    try:
        data = await asyncio.to_thread(await prepare())
    except _RouteError as error:
        return _error(error.status, error)
    except PresetExistsError as error:
        return _error(409, error)
    except (PresetError, PatchbayError) as error:
        return _error(400, error)
    return web.json_response(data, headers=_NO_STORE)


def _error(status: int, error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=status, headers=_NO_STORE)

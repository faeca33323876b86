"""Progress of the pack's own work as events, so that the panel moves while a node is busy."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from comfy_execution.utils import get_executing_context

EVENT = "patchbay.progress"
"""Type of the message: ``{"node", "stage", "value", "max"}``."""

PICTURE_EVENT = "patchbay.picture"
"""Type of the message: ``{"node", "picture", "label", "value", "max"}``."""

MOST_PER_SECOND = 10
"""A page that redraws more often is only slower."""

Item = TypeVar("Item")


def prompt_server() -> Any:
    """ComfyUI's running server; ``None`` in a process that has none. Never imports it: that would start things."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def live_progress(items: Sequence[Item], stage: str) -> Iterable[Item]:
    """``items``, telling the page how far it is: at the start, at the end and at most ten times a second between.

    Args:
        stage: What is being done, a word that the page translates: ``measure``.
    """
    return _reporting(items, stage, _sender())


def _reporting(items: Sequence[Item], stage: str, send: Any) -> Iterator[Item]:
    total = len(items)
    if send is None or total == 0:
        yield from items
        return
    last = 0.0
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= 1 / MOST_PER_SECOND:
            last = now
            send(stage, done, total)
        yield item
    send(stage, total, total)


def tell_page(text: str) -> None:
    """Show a sentence below the node that is running, where a page started this run."""
    server, context = prompt_server(), get_executing_context()
    send = getattr(server, "send_progress_text", None)
    if send is not None and context is not None and server.client_id is not None:
        send(text, context.node_id)


def is_watched() -> bool:
    """Whether a page started the run of this thread."""
    server = prompt_server()
    return server is not None and get_executing_context() is not None and server.client_id is not None


def show_picture(picture: dict[str, str], label: str, value: int, total: int) -> None:
    """Show a picture that has just been made on the panel of the node that is running.

    Args:
        picture: Where the page finds it, in the form of ComfyUI's own previews.
        label: What it is.
        total: How many there will be; 0 where that is not known.
    """
    server, context = prompt_server(), get_executing_context()
    if server is None or context is None or server.client_id is None:
        return
    message = {"node": context.node_id, "picture": picture, "label": label, "value": value, "max": total}
    server.send_sync(PICTURE_EVENT, message, server.client_id)


def _sender() -> Any:
    """How to tell the page that started this run; ``None`` outside a run or without a server."""
    server = prompt_server()
    context = get_executing_context()
    if server is None or context is None or server.client_id is None:
        return None

    def send(stage: str, value: int, total: int) -> None:
        message = {"node": context.node_id, "stage": stage, "value": value, "max": total}
        server.send_sync(EVENT, message, server.client_id)

    return send

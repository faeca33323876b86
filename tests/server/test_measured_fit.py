"""Fit Strengths in a real queue: what it will cost is said before, how long it takes while it runs, and it stops."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from support import ROOT

from tools.client import ComfyClient, PromptFailed
from tools.server import ComfyServer
from tools.workflow import load_workflow, to_api

FIT = ROOT / "workflows" / "Fit a LoRA to another model (Klein Nano).json"
TEXT_EVENT = 3
STOP_SECONDS = 120.0
"""The most that a stop may take on the busiest machine; the whole run takes much longer."""
FIRST_WITH_TINY_VAE = (0, 24)


class Listener:
    """Hears what ComfyUI sends to the page: the texts on a node."""

    def __init__(self, address: str) -> None:
        self.texts: list[str] = []
        self._url = f"{address.replace('http', 'ws', 1)}/ws?clientId=patchbay-test-listener"
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            self._ready.set()
            while not self._stop.is_set():
                try:
                    message = await socket.receive(timeout=0.5)
                except asyncio.TimeoutError:
                    continue
                if message.type == aiohttp.WSMsgType.BINARY:
                    self._take(message.data)

    def _take(self, data: bytes) -> None:
        if struct.unpack(">I", data[:4])[0] == TEXT_EVENT:
            length = struct.unpack(">I", data[4:8])[0]
            self.texts.append(data[8 + length :].decode("utf-8", "replace"))

    def wait_for(self, found: Callable[[str], Any], seconds: float = 120.0) -> Any:
        """What ``found`` makes of the first text that it knows."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for text in list(self.texts):
                if (value := found(text)) is not None:
                    return value
            time.sleep(0.05)
        raise AssertionError(f"no such text among {self.texts}")


def prompt(object_info: dict[str, Any], **widgets: Any) -> dict[str, Any]:
    made = to_api(load_workflow(FIT), object_info)
    node = next(node for node in made.values() if node["class_type"] == "PatchbayFitStrengths")
    node["inputs"].update(widgets)
    return made


def test_the_cost_is_said_before_and_during_the_run_and_it_stops_at_once(
    comfy: ComfyClient, comfy_server: ComfyServer, object_info: dict[str, Any]
) -> None:
    if tuple(map(int, comfy_server.runtime.version.split(".")[:2])) < FIRST_WITH_TINY_VAE:
        pytest.skip(f"ComfyUI {comfy_server.runtime.version} is too old to run Klein Nano")
    with Listener(comfy_server.address) as listener:
        queued = comfy.queue(prompt(object_info, seeds=8, refit_name="never"))
        planned = int(listener.wait_for(lambda text: re.findall(r"^(\d+) model evaluations to come$", text) or None)[0])
        total = listener.wait_for(lambda text: re.findall(r"^evaluation \d+ of (\d+), about \d+ s left$", text) or None)
        assert int(total[0]) == planned > 1000
        assert "to come" in listener.texts[0]
        comfy.post_json("/interrupt", {})
        with pytest.raises(PromptFailed, match=r"interrupted at node \d+ \(PatchbayFitStrengths\)"):
            comfy.wait(queued, STOP_SECONDS)
        done = [int(number) for text in listener.texts for number in re.findall(r"^evaluation (\d+) of", text)]
        assert max(done) < planned / 2, "it stopped at its end, and not when it was told to"
        # The same models run again as if nothing had been, and take just as many evaluations as they said.
        listener.texts.clear()
        outputs = comfy.run(prompt(object_info, seeds=1, levels=1, grouping="kind of block"), 240.0)
        fit = next(entry["patchbay_fit"][0] for entry in outputs.values() if "patchbay_fit" in entry)
        assert listener.wait_for(lambda text: text if " to come" in text else None).startswith(f"{fit['evaluations']} ")
        assert fit["guidance"]["given"] is None
        assert 1.0 < fit["guidance"]["cfg"] < 3.0

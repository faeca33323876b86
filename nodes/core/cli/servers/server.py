"""One running ComfyUI, over its HTTP API: what it is, and a picture of a prompt, or why there is none."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import PatchbayError

POLL_S = 0.2
ANSWER_S = 30.0
LOOKS = 4
"""So many questions in a row stay without an answer before a server counts as gone."""
BETWEEN_LOOKS_S = 0.75
LARGEST_PICTURE = 256 << 20
_GONE = (OSError, http.client.HTTPException, TimeoutError)

Prompt = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself."""

    address: str
    comfyui: str = ""
    torch: str = ""
    python: str = ""
    device: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one prompt on one server."""

    address: str
    picture: bytes | None = None
    """The file as the server gave it."""
    seconds: float = 0.0
    problem: str = ""
    """Why there is no picture."""
    gone: bool = False
    """The server does not answer: it is to be given nothing more."""


class ServerGone(PatchbayError):
    """A server does not answer."""


class PromptVanished(PatchbayError):
    """A server that answers does not know a prompt any more: it was started anew."""


class Server:
    """A client of one server. Its requests are marked with ``client``, so that what is ours can be taken back."""

    def __init__(self, address: str, client: str) -> None:
        self.address = check_address(address)
        self._client = client
        # A proxy of the environment is for the internet, not for a ComfyUI.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def facts(self) -> ServerFacts:
        """
        Raises:
            ServerGone: it does not answer.
        """
        stats = self._json("/system_stats")
        system = stats.get("system") or {}
        devices = stats.get("devices") or [{}]
        return ServerFacts(
            self.address, str(system.get("comfyui_version", "")), str(system.get("pytorch_version", "")),
            str(system.get("python_version", "")).split(" ")[0], str(devices[0].get("name", "")),
        )  # fmt: skip

    def object_info(self) -> dict[str, Any]:
        """Every node type that it knows.

        Raises:
            ServerGone: it does not answer.
        """
        return self._json("/object_info")

    def forget(self) -> None:
        """Have it forget results that it keeps, so that the next prompt is really run."""
        self._post("/free", {"unload_models": False, "free_memory": True})

    def make(self, prompt: Prompt, output: str, timeout_s: float) -> Outcome:
        """Run a prompt and fetch the first picture of the node ``output``. Never raises for what the server does."""
        begun = time.monotonic()
        try:
            try:
                entry = self._wait(self._queue(prompt), begun + timeout_s)
            except PromptVanished:
                entry = self._wait(self._queue(prompt), begun + timeout_s)
            picture = self._picture(entry, output)
        except ServerGone as error:
            return Outcome(self.address, problem=str(error), gone=True)
        except PatchbayError as error:
            return Outcome(self.address, problem=str(error))
        return Outcome(self.address, picture, time.monotonic() - begun)

    def report(self, prompt: Prompt, node: str, timeout_s: float) -> dict[str, Any]:
        """Run a prompt, and what a node of this pack reported in it.

        Raises:
            PatchbayError: the server refuses or fails it, or the node reported nothing.
        """
        entry = self._wait(self._queue(prompt), time.monotonic() + timeout_s)
        reports = ((entry.get("outputs") or {}).get(node) or {}).get("patchbay_report") or []
        if not reports or not isinstance(reports[0], dict):
            raise PatchbayError(f"node {node} reported nothing. Is LoRA Patchbay of the same version installed there?")
        return reports[0]

    def stop(self) -> None:
        """Take back what is ours: out of the queue, and interrupt what runs."""
        try:
            queue = self._json("/queue")
            ours = {kind: [item[1] for item in queue.get(kind, []) if self._is_ours(item)] for kind in queue}
            if ours.get("queue_pending"):
                self._post("/queue", {"delete": ours["queue_pending"]})
            for name in ours.get("queue_running", []):
                self._post("/interrupt", {"prompt_id": name})
        except PatchbayError:  # a server that is gone has nothing to stop
            return

    def _is_ours(self, item: Any) -> bool:
        return len(item) > 3 and isinstance(item[3], dict) and item[3].get("client_id") == self._client

    def _queue(self, prompt: Prompt) -> str:
        try:
            answer = self._post("/prompt", {"prompt": prompt, "client_id": self._client})
        except urllib.error.HTTPError as error:
            raise PatchbayError(refusal(error.read(1 << 20).decode("utf-8", "replace"))) from error
        return str(answer["prompt_id"])

    def _wait(self, name: str, deadline: float) -> dict[str, Any]:
        unknown = 0
        while True:
            entry = self._json(f"/history/{urllib.parse.quote(name)}").get(name)
            if entry is not None:
                break
            if time.monotonic() > deadline:
                self._post("/queue", {"delete": [name]})
                raise PatchbayError("the picture was not made within the time; a longer one is given with --timeout.")
            unknown = 0 if self._is_queued(name) else unknown + 1
            if unknown > 3:
                raise PromptVanished("the server does not know the prompt any more; it was started anew.")
            time.sleep(POLL_S)
        if (entry.get("status") or {}).get("status_str") != "success":
            raise PatchbayError(failure(entry))
        return entry

    def _is_queued(self, name: str) -> bool:
        queue = self._json("/queue")
        return any(len(item) > 1 and item[1] == name for items in queue.values() for item in items)

    def _picture(self, entry: Mapping[str, Any], output: str) -> bytes:
        images = ((entry.get("outputs") or {}).get(output) or {}).get("images") or []
        if not images:
            raise PatchbayError(f"node {output} made no picture.")
        query = urllib.parse.urlencode({key: str(images[0].get(key, "")) for key in ("filename", "subfolder", "type")})
        return self._open(urllib.request.Request(f"{self.address}/view?{query}"), LARGEST_PICTURE)

    def _json(self, path: str) -> dict[str, Any]:
        data = json.loads(self._open(urllib.request.Request(self.address + path), 256 << 20) or b"{}")
        if not isinstance(data, dict):
            raise PatchbayError(f"{self.address}{path}: expected an object, as ComfyUI answers.")
        return data

    def _post(self, path: str, body: Any) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        data = self._open(urllib.request.Request(self.address + path, json.dumps(body).encode(), headers), 1 << 20)
        answer = json.loads(data) if data.strip() else {}
        return answer if isinstance(answer, dict) else {}

    def _open(self, request: urllib.request.Request, most: int) -> bytes:
        """The body. A connection that breaks is tried again: a busy server may answer late.

        Raises:
            ServerGone: it never answered.
            HTTPError: it refused.
        """
        problem: Exception | None = None
        looks = 1 if request.full_url.endswith("/prompt") else LOOKS  # a prompt must not be queued twice
        for look in range(looks):
            if look:
                time.sleep(BETWEEN_LOOKS_S)
            try:
                with self._opener.open(request, timeout=ANSWER_S) as response:
                    return response.read(most)
            except urllib.error.HTTPError:
                raise
            except _GONE as error:
                problem = error
        reason = getattr(problem, "reason", problem)
        raise ServerGone(f"{self.address}: no ComfyUI answers there ({reason}).") from problem


def check_address(address: str) -> str:
    """An address without the slash at its end.

    Raises:
        PatchbayError: it is none that a ComfyUI can have.
    """
    parts = urllib.parse.urlsplit(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise PatchbayError(f"{address[:80]}: expected the address of a ComfyUI, such as http://127.0.0.1:8188.")
    return address.strip().rstrip("/")


def refusal(text: str) -> str:
    """Why a prompt was refused, as one sentence."""
    try:
        answer = json.loads(text)
    except ValueError:
        return f"refused: {text[:300]}"
    problems = []
    for node, problem in (answer.get("node_errors") or {}).items():
        kind = problem.get("class_type", "?")
        for error in problem.get("errors", []):
            problems.append(f"node {node} ({kind}): {error.get('message')}: {str(error.get('details'))[:200]}")
    error = answer.get("error")
    whole = f"{error.get('message')}: {error.get('details')}" if isinstance(error, dict) else str(error)
    return "refused: " + "; ".join(problems or [whole])[:600]


def failure(entry: Mapping[str, Any]) -> str:
    """Why a prompt that ran made nothing, as one sentence."""
    for kind, detail in (entry.get("status") or {}).get("messages", []):
        if kind == "execution_error":
            name = str(detail.get("exception_type")).rsplit(".", 1)[-1]
            where = f"node {detail.get('node_id')} ({detail.get('node_type')})"
            return f"{where}: {name}: {str(detail.get('exception_message')).strip()[:400]}"
        if kind == "execution_interrupted":
            return f"interrupted at node {detail.get('node_id')} ({detail.get('node_type')})"
    return "it failed, and the server does not say why."

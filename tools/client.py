"""A client of ComfyUI's HTTP API: queue a prompt, wait for it, fetch what it made."""

import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import ToolError

POLL_SECONDS = 0.1
Json = Any
ApiPrompt = Mapping[str, Mapping[str, Any]]


class PromptRefused(ToolError):
    """ComfyUI's validation refused a prompt before anything ran."""


class PromptFailed(ToolError):
    """A node raised an error while the prompt ran; the traceback is in ComfyUI's log."""


class ComfyClient:
    """Talks to one ComfyUI server on this machine."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.client_id = uuid.uuid4().hex
        # A proxy of the environment must not get the requests to our own server.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, timeout: float = 60.0) -> bytes:
        """The body of a GET request."""
        return self._open(urllib.request.Request(self.address + path), timeout)

    def get_json(self, path: str, timeout: float = 60.0) -> Json:
        """The body of a GET request, read as JSON."""
        return json.loads(self.get(path, timeout))

    def post_json(self, path: str, body: Json) -> Json:
        """Post JSON; the answer read as JSON, or None when it is empty."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        answer = self._open(request, 60.0)
        return json.loads(answer) if answer else None

    def object_info(self) -> dict[str, Json]:
        """Every node type's definition."""
        return self.get_json("/object_info")

    def is_up(self) -> bool:
        """Whether the server answers."""
        try:
            self.get("/system_stats", timeout=5.0)
        except (OSError, ToolError):
            return False
        return True

    def queue(self, prompt: ApiPrompt, workflow: Json = None) -> str:
        """Queue a prompt in API format; the id to ask for its history.

        Raises:
            PromptRefused: the prompt did not pass validation; the message names node and input.
        """
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow is not None else {}
        body = {"prompt": prompt, "client_id": self.client_id, "extra_data": extra}
        try:
            return self.post_json("/prompt", body)["prompt_id"]
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            raise PromptRefused(_refusal(text, prompt)) from error

    def wait(self, prompt_id: str, timeout: float = 600.0, on_poll: Callable[[], None] | None = None) -> Json:
        """The history entry of a prompt once it has run.

        Polls the history rather than listening for "execution_success", which is sent before the history
        is written.

        Raises:
            PromptFailed: a node raised an error; the message names it.
            ToolError: the time ran out.
        """
        deadline = time.monotonic() + timeout
        while True:
            entry = self.get_json(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                break
            if time.monotonic() > deadline:
                raise ToolError(
                    f"the workflow was not finished after {timeout:.0f} s; ComfyUI's log says what it is at."
                )
            if on_poll:
                on_poll()
            time.sleep(POLL_SECONDS)
        if entry.get("status", {}).get("status_str") != "success":
            raise PromptFailed(_failure(entry))
        return entry

    def run(self, prompt: ApiPrompt, timeout: float = 600.0) -> dict[str, Json]:
        """Queue a prompt, wait for it and return its outputs by node id."""
        return self.wait(self.queue(prompt), timeout)["outputs"]

    def view(self, image: Mapping[str, str]) -> bytes:
        """The file that an output entry ``{filename, subfolder, type}`` names."""
        return self.get("/view?" + urllib.parse.urlencode(dict(image)))

    def upload_image(self, path: Path, name: str | None = None) -> str:
        """Upload a picture to ComfyUI's input folder; the name it got there."""
        name = name or path.name
        boundary = uuid.uuid4().hex
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        )
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = self._open(urllib.request.Request(self.address + "/upload/image", body, headers), 60.0)
        return json.loads(answer)["name"]

    def _open(self, request: urllib.request.Request, timeout: float) -> bytes:
        with self._opener.open(request, timeout=timeout) as response:
            return response.read()


def _refusal(text: str, prompt: ApiPrompt) -> str:
    """ComfyUI's 400 answer as sentences."""
    try:
        answer = json.loads(text)
    except ValueError:
        return f"ComfyUI refused the workflow: {text[:500]}"
    lines = []
    for node_id, problem in (answer.get("node_errors") or {}).items():
        name = problem.get("class_type") or prompt.get(node_id, {}).get("class_type", "?")
        lines += [
            f"node {node_id} ({name}): {error.get('message')}: {error.get('details')}"
            for error in problem.get("errors", [])
        ]
    if not lines:
        error = answer.get("error")
        if isinstance(error, dict):
            error = f"{error.get('message')}: {error.get('details')}"
        lines = [str(error)]
    return "ComfyUI refused the workflow.\n  " + "\n  ".join(lines)


def _failure(entry: Json) -> str:
    """A failed history entry as sentences."""
    for kind, detail in entry.get("status", {}).get("messages", []):
        if kind == "execution_error":
            # Of a pack's own error the type is a long path; the name at its end is what helps.
            name = str(detail.get("exception_type")).rsplit(".", 1)[-1]
            return (
                f"node {detail.get('node_id')} ({detail.get('node_type')}) raised "
                f"{name}: {str(detail.get('exception_message')).strip()}"
            )
        if kind == "execution_interrupted":
            return f"the workflow was interrupted at node {detail.get('node_id')} ({detail.get('node_type')})"
    return f"the workflow failed: {entry.get('status')}"

"""A server of this machine that gives files as the hubs of the world do, and as badly as the worst of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    """One request."""

    path: str
    range: str
    token: str
    host: str


@dataclass
class Files:
    """What the server gives: the beginning of each file and its size; the rest is zeros that it makes as it sends."""

    port: int = 0
    heads: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    ranges: bool = True
    token: str = ""
    answers: list[int] = field(default_factory=list)
    """Statuses that come first; 0 is a connection that is cut in the middle."""
    redirect: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, raw: bytes, size: int | None = None) -> str:
        self.heads[f"/{name}"] = raw, len(raw) if size is None else size
        return self.address(name)

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Files

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        files, path = self.files, self.path.partition("?")[0]
        token = self.headers.get("Authorization", "")
        files.asked.append(Asked(path, self.headers.get("Range", ""), token, self.headers.get("Host", "")))
        first = files.answers.pop(0) if files.answers else 200
        if first not in (0, 200):
            self._end(first)
        elif path in files.redirect:
            self._end(302, Location=files.redirect[path])
        elif files.token and token != f"Bearer {files.token}":
            self._end(401)
        elif path not in files.heads:
            self._end(404)
        else:
            self._give(*files.heads[path], cut=first == 0)

    def _end(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, head: bytes, size: int, cut: bool) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(found[1]), min(int(found[2]) + 1, size)) if found and self.files.ranges else (0, size)
        if found and self.files.ranges and start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if found and self.files.ranges else 200)
        if found and self.files.ranges:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        stop = start + (end - start) // 2 if cut else end
        try:
            while start < stop:
                raw = head[start : min(stop, start + 65_536)]
                raw += bytes(min(stop - start, 65_536) - len(raw))
                self.wfile.write(raw)
                self.files.sent += len(raw)
                start += len(raw)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if cut:
            self.close_connection = True


@contextmanager
def serve() -> Iterator[Files]:
    """A server with nothing on it yet."""
    files = Files()
    handler = type("Given", (Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        files.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield files
        server.shutdown()
        thread.join()

"""Cells over a cluster whose workers leave, with servers that never answer: nobody waits for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_runs import ROOT
from dask_programs import SCHEDULER, WORKER, python, started, told

pytest.importorskip("distributed")
CELLS = """
import sys
from lora_patchbay.cli.servers.spread import Work, servers_at_work
from lora_patchbay.errors import PatchbayError
cluster, *names = sys.argv[1:]
work = Work({"a": {}, "b": {}}, "1", 600.0, "test")
try:
    with servers_at_work(names, cluster) as runner:
        runner.run(work, lambda key, outcome: print(key, outcome.problem, flush=True))
except PatchbayError as error:
    print(error)
"""


class Busy(BaseHTTPRequestHandler):
    """Takes every prompt and is never done with it."""

    taken = threading.Event()

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        self._answer({"queue_running": [[0, "x"]]} if self.path == "/queue" else {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"prompt_id": "x"})
        self.taken.set()

    def _answer(self, data: object) -> None:
        raw = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def busy() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.all
def test_where_every_worker_leaves_the_command_ends_and_says_so(busy: str, tmp_path: Path) -> None:
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    with ExitStack() as stack:
        address = told(stack.enter_context(started(tmp_path, *SCHEDULER)), r"Scheduler at: +(tcp://\S+)")
        options = (*WORKER, "--name", busy, "--nthreads", "2")
        worker = stack.enter_context(started(tmp_path, "worker", address, *options))
        told(worker, r"(Registered to)")

        def kill() -> None:
            assert Busy.taken.wait(60)
            worker.kill()

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        said = python(tmp_path, "-c", CELLS, address, busy)
    assert said.startswith(f"no server is left: {busy}: its worker has left the cluster.")

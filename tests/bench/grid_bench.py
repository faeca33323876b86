"""Two ComfyUI servers against one on the same grid: ``python tests/bench/grid_bench.py [--cells 24]``.

Starts two servers on this machine, with the bundled Klein Nano, one thread each, and runs ``lora-patchbay grid`` with
the first, then with both. Says whether every picture is the same. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench"), str(ROOT / "tests" / "server")]

from scale_bench import command  # noqa: E402

from tools.comfyui import comfyui_folder, version_of  # noqa: E402
from tools.runtime import Runtime  # noqa: E402
from tools.server import ComfyServer, free_port  # noqa: E402
from tools.versions import COMFYUI_VERSION  # noqa: E402


def measure(folder: Path, cells: int) -> dict[str, Any]:
    """Seconds with one server and with two, and whether the pictures are the same."""
    from test_grid_command import prompt

    workflow = folder / "nano.json"
    workflow.write_text(json.dumps(prompt(8)))
    source = comfyui_folder(COMFYUI_VERSION)
    runtime = Runtime(source, Path(sys.executable), version_of(source), private=True)
    servers = [
        ComfyServer(runtime, folder / name, folder / name / "log", port=free_port(), env={"OMP_NUM_THREADS": "1"})
        for name in "ab"
    ]
    figures: dict[str, Any] = {"cells": cells, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    try:
        for server in servers:
            server.start()
        seeds = ",".join(map(str, range(cells)))
        for name, used in (("warm", servers), ("one", servers[:1]), ("two", servers)):
            axis = f"KSampler.seed={seeds if name != 'warm' else '1000,1001,1002,1003'}"
            addresses = ",".join(server.address for server in used)
            for server in servers:  # it keeps what it made, and would give it again
                server.client.post_json("/free", {"free_memory": True})
            time.sleep(2)
            words = (
                "grid",
                workflow,
                "--axis",
                axis,
                "--servers",
                addresses,
                "-o",
                folder / name,
                "--json",
                "--no-floor",
            )
            done = command(*words, folder=folder)
            made = {each["address"]: each["made"] for each in json.loads(done.out)["servers"]}
            figures[name] = {"seconds": round(done.seconds, 1), "made": list(made.values())}
    finally:
        for server in servers:
            server.stop()
    figures["same"] = digests(folder / "one") == digests(folder / "two")
    figures["ratio"] = round(figures["one"]["seconds"] / figures["two"]["seconds"], 2)
    return figures


def digests(folder: Path) -> dict[str, str]:
    """Hash of every cell's file by key."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "cells").iterdir()}


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=24)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options.cells), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

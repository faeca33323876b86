"""How long a bundled workflow takes: ``.runtime/venv/bin/python tests/bench/workflow_time.py WORD [--cores N]``.

Runs the first workflow with WORD in its name on a ComfyUI of its own, on the CPU with N threads (default 2), and prints
the seconds from the press of Run to the end and the processor seconds of ComfyUI in between. On a machine that is busy
with something else only the latter says something: divided by N, they are the least that a free machine needs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.progress import Progress  # noqa: E402
from tools.runtime import ensure_runtime  # noqa: E402
from tools.server import ComfyServer  # noqa: E402
from tools.versions import COMFYUI_VERSION  # noqa: E402
from tools.workflow import load_workflow, to_api  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1800.0, help="most seconds")
    options = parser.parse_args()
    path = next(path for path in sorted((ROOT / "workflows").glob("*.json")) if options.word in path.name)
    workflow = load_workflow(path)
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer(
            ensure_runtime(COMFYUI_VERSION, Progress()), Path(folder), Path(folder) / "comfyui.log",
            env={"OMP_NUM_THREADS": str(options.cores)},
        )  # fmt: skip
        with server:
            assert server.process is not None
            prompt = to_api(workflow, server.client.object_info())
            before, started = processor_seconds(server.process.pid), time.monotonic()
            server.client.wait(server.client.queue(prompt, workflow), options.limit)
            seconds = time.monotonic() - started
            spent = processor_seconds(server.process.pid) - before
    found = {"workflow": path.stem, "cores": options.cores, "seconds": round(seconds, 1), "processor": round(spent, 1)}
    print(json.dumps(found))


def processor_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

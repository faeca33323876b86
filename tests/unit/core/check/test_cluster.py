"""A scheduler and workers as programs of their own on this machine: the same rows as alone, whatever dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from cli_runs import ROOT, run
from lora_files import write_lora, write_raw

pytest.importorskip("distributed")
FILES = 60
SCHEDULER = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
WORKER = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--no-nanny")
KILL_ONE = """
import os, signal, sys, time
from lora_patchbay.check.cluster import Cluster
address, victim, *files = sys.argv[1:]
cluster = Cluster(address)
os.kill(int(victim), signal.SIGSTOP)  # what it is given from here on waits for it
rows = cluster.scan(files, "", False)
end = time.monotonic() + 60
while not all(cluster._client.processing().values()):
    assert time.monotonic() < end, "no task was given to it"
    time.sleep(0.01)
os.kill(int(victim), signal.SIGKILL)
print([row.file for row in rows])
"""


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the engine, with this package on its path."""
    path = os.pathsep.join((str(folder), *filter(None, sys.path)))
    begin = f"import sys; sys.path[:] = {path.split(os.pathsep)!r}"
    code = f"{begin}; from distributed.cli.dask_{words[0]} import main; main()"
    command = [sys.executable, "-c", code, *words[1:]]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def told(running: subprocess.Popen[str], pattern: str) -> str:
    assert running.stderr is not None
    for line in running.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"it never said {pattern}")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(FILES):
        parts = {"lora_A.weight": torch.ones(2, 8) * number, "lora_B.weight": torch.ones(8, 2)}
        write_lora(folder / f"{number:03}.safetensors", {"diffusion_model.double_blocks.0.img_attn.proj": parts})
    write_raw(folder / "bad.safetensors", b"{}}")
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    return folder


def python(folder: Path, *words: str) -> str:
    path = os.pathsep.join((str(folder), *filter(None, sys.path)))
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.all
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_the_same_rows_as_alone_though_a_worker_is_killed(library: Path, tmp_path: Path) -> None:
    alone = run("scan", library, "--json", "--no-index")[1]
    with ExitStack() as stack:
        address = told(stack.enter_context(started(tmp_path, *SCHEDULER)), r"Scheduler at: +(tcp://\S+)")
        workers = [stack.enter_context(started(tmp_path, "worker", address, *WORKER)) for _ in range(2)]
        for worker in workers:
            told(worker, r"(Registered to)")
        words = ("-m", "lora_patchbay", "scan", str(library), "--json", "--no-index", "--cluster", address)
        assert python(tmp_path, *words) == alone
        files = [str(library / json.loads(line)["file"]) for line in alone.splitlines()]
        assert len(files) == FILES + 1
        found = python(tmp_path, "-c", KILL_ONE, address, str(workers[1].pid), *files)
        assert found.strip() == str(files)


def test_a_cluster_without_workers_is_said(library: Path, tmp_path: Path) -> None:
    with started(tmp_path, *SCHEDULER) as scheduler:
        address = told(scheduler, r"Scheduler at: +(tcp://\S+)")
        code, out, err = run("scan", library, "--cluster", address)
    assert (code, out) == (2, "")
    assert "has no workers" in err

"""A scheduler and workers as programs of their own on this machine: the same rows as alone, whatever dies."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from cli_runs import ROOT, run
from dask_programs import SCHEDULER, WORKER, python, started, told
from lora_files import write_lora, write_raw

pytest.importorskip("distributed")
FILES = 60
KILL_ONE = """
import os, signal, sys, time
from lora_patchbay.check.cluster import Cluster
address, victim, *files = sys.argv[1:]
cluster = Cluster(address)
(worker,) = [worker for worker, pid in cluster._client.run(os.getpid).items() if pid == int(victim)]
os.kill(int(victim), signal.SIGSTOP)  # what it is given from here on waits for it
rows = cluster.scan(files, "", False)
end = time.monotonic() + 60
while not cluster._client.processing()[worker]:  # the other one may have done all of its own by now
    assert time.monotonic() < end, "no task was given to it"
    time.sleep(0.01)
os.kill(int(victim), signal.SIGKILL)
print([row.file for row in rows])
"""


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

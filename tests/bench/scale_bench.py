"""Figures of docs/scale.md: what travels for a file elsewhere, libraries of any size, and several workers.

    python tests/bench/scale_bench.py [travel] [library] [workers]

``--files N`` sets the size of the library (default 100,000), ``--folder`` where it is made. The library is made of
generated LoRAs of 56 tensors, each a file of its own with its own metadata. ``workers`` scans it with 1, 2 and 4
workers of dask.distributed on this machine, one thread each, and measures what a file and a task cost; ``hub_plan.py``
calculates with these figures. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "core"))

CHUNK = 16
"""Files of a task: ``nodes/core/check/cluster.py``."""


def head_of(shapes: dict[str, tuple[int, ...]], note: str = "") -> tuple[bytes, int]:
    """The beginning of a bfloat16 file of these shapes, and the size of the whole."""
    header: dict[str, object] = {"__metadata__": {"ss_output_name": note}}
    end = 0
    for key, (rows, columns) in shapes.items():
        start, end = end, end + 2 * rows * columns
        header[key] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw, 8 + len(raw) + end


def flux2(hidden: int, double: int, single: int) -> dict[str, tuple[int, ...]]:
    """The block weights of a FLUX.2 model."""
    shapes: dict[str, tuple[int, ...]] = {"img_in.weight": (hidden, 128), "txt_in.weight": (hidden, 192)}
    for index in range(double):
        for stream in ("img", "txt"):
            block = f"double_blocks.{index}.{stream}_"
            shapes[f"{block}attn.qkv.weight"] = (3 * hidden, hidden)
            shapes[f"{block}attn.proj.weight"] = (hidden, hidden)
            shapes[f"{block}mlp.0.weight"] = (6 * hidden, hidden)
            shapes[f"{block}mlp.2.weight"] = (hidden, 3 * hidden)
    for index in range(single):
        shapes[f"single_blocks.{index}.linear1.weight"] = (9 * hidden, hidden)
        shapes[f"single_blocks.{index}.linear2.weight"] = (hidden, 4 * hidden)
    return shapes


def lora_of(model: dict[str, tuple[int, ...]], rank: int) -> dict[str, tuple[int, ...]]:
    """A LoRA for its blocks."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, (rows, columns) in model.items():
        if "blocks." in key:
            name = f"diffusion_model.{key.removesuffix('.weight')}"
            shapes[f"{name}.lora_A.weight"] = rank, columns
            shapes[f"{name}.lora_B.weight"] = rows, rank
    return shapes


class Done(NamedTuple):
    """What a command cost."""

    seconds: float
    cpu_s: float
    """Of the program and those it started; unlike the time, it hardly depends on what else the machine does."""
    peak: int
    """Memory of its largest process in bytes."""
    out: str


def command(*words: object, folder: Path) -> Done:
    """Run a command as a program of its own."""
    link = folder / "lora_patchbay"
    if not link.exists():
        link.symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    code = (
        "import resource, sys\nfrom lora_patchbay.cli.main import main\nstate = main(sys.argv[1:])\n"
        "used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "print(sum(u.ru_utime + u.ru_stime for u in used), max(u.ru_maxrss for u in used) * 1024, file=sys.stderr)\n"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=folder, capture_output=True, text=True, check=True
    )
    cpu, peak = done.stderr.split()[-2:]
    return Done(time.perf_counter() - begin, float(cpu), int(peak), done.stdout)


def travel(folder: Path) -> dict[str, Any]:
    """Bytes and requests of one check, by what the server counted."""
    from files_server import serve

    model = flux2(6144, 8, 18)
    with serve() as files:
        addresses = [files.add("lora", *head_of(lora_of(model, 16))), files.add("model", *head_of(model))]
        command("check", addresses[0], "--model", addresses[1], folder=folder)
        by_name = {name: sum(asked.path == f"/{name}" for asked in files.asked) for name in ("lora", "model")}
        return {
            "model_gb": round(files.heads["/model"][1] / 1e9, 1), "requests": by_name, "bytes": files.sent,
        }  # fmt: skip


def make_library(folder: Path, count: int) -> Path:
    """Generated LoRAs, a thousand in each folder."""
    library = folder / "library"
    shapes = lora_of(flux2(16, 2, 6), 1)
    for number in range(count):
        path = library / f"{number // 1000:04}" / f"{number:07}.safetensors"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        raw, size = head_of(shapes, f"number {number}")
        path.write_bytes(raw + bytes(size - len(raw)))
    return library


def library(folder: Path, count: int) -> dict[str, Any]:
    """First and second scan."""
    made = make_library(folder, count)
    figures: dict[str, Any] = {"files": count, "cores": os.cpu_count()}
    for name in ("first", "second"):
        words = ("scan", made, "--csv", "--index", folder / "index", "--quiet")
        done = command(*words, folder=folder)
        assert len(done.out.splitlines()) == count + 1
        figures[name] = {
            "seconds": round(done.seconds, 1), "files_per_second": round(count / done.seconds),
            "peak_mb": round(done.peak / 1e6), "cpu_ms_a_file": ms(done.cpu_s, count),
        }  # fmt: skip
    figures["index_mb"] = round((folder / "index").stat().st_size / 1e6)
    return figures


def workers(folder: Path, count: int) -> dict[str, Any]:
    """The same library by 1, 2 and 4 workers, one after the other, and alone in one process."""
    made = make_library(folder, count)
    words = ("scan", made, "--csv", "--no-index", "--quiet")
    alone = command(*words, "--jobs", "1", folder=folder)
    figures: dict[str, Any] = {"files": count, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    figures["alone"] = {"seconds": round(alone.seconds, 1), "cpu_ms_a_file": ms(alone.cpu_s, count)}
    tasks = count / CHUNK
    for number in (1, 2, 4):
        with cluster(folder, number) as (address, scheduler, running):
            command("scan", made / "0000", "--csv", "--no-index", "--quiet", "--cluster", address, folder=folder)
            before = cpu_s([scheduler]), cpu_s(running)
            done = command(*words, "--cluster", address, folder=folder)
            assert sorted(done.out.splitlines()) == sorted(alone.out.splitlines())
            figures[f"workers_{number}"] = {
                "seconds": round(done.seconds, 1), "files_per_second": round(count / done.seconds),
                "worker_cpu_ms_a_file": ms(cpu_s(running) - before[1], count),
                "scheduler_cpu_ms_a_task": ms(cpu_s([scheduler]) - before[0], tasks),
                "command_cpu_ms_a_task": ms(done.cpu_s, tasks),
            }  # fmt: skip
    return figures


def cpu_s(programs: Sequence[subprocess.Popen[str]]) -> float:
    """Processor time of running programs so far."""
    import psutil

    used = [psutil.Process(program.pid).cpu_times() for program in programs]
    return sum(each.user + each.system for each in used)


def ms(seconds: float, count: float) -> float:
    """Milliseconds for each of them."""
    return round(1000 * seconds / count, 2)


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[tuple[str, subprocess.Popen[str], list[subprocess.Popen[str]]]]:
    """A scheduler with its address, and workers: programs of their own with this package on their path."""
    with ExitStack() as stack:
        words = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        scheduler = stack.enter_context(started(folder, *words))
        address = told(scheduler, r"Scheduler at: +(tcp://\S+)")
        options = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--no-nanny")
        running = [stack.enter_context(started(folder, "worker", address, *options)) for _ in range(count)]
        for worker in running:
            told(worker, r"(Registered to)")
        yield address, scheduler, running


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the engine. What it says later is read and dropped, or its pipe would fill."""
    code = f"from distributed.cli.dask_{words[0]} import main; main()"
    path = os.pathsep.join((str(folder), *filter(None, sys.path)))
    running = subprocess.Popen(
        [sys.executable, "-c", code, *words[1:]], cwd=folder, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def told(running: subprocess.Popen[str], pattern: str) -> str:
    """What a program says first that fits."""
    assert running.stderr is not None
    for line in running.stderr:
        if found := re.search(pattern, line):
            threading.Thread(target=running.stderr.read, daemon=True).start()
            return found[1]
    raise RuntimeError(f"it never said {pattern}")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", metavar="travel|library|workers", default=["travel", "library"])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if "travel" in options.what:
            figures["travel"] = travel(folder)
        if "library" in options.what:
            figures["library"] = library(folder, options.files)
        if "workers" in options.what:
            figures["workers"] = workers(folder, options.files)
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

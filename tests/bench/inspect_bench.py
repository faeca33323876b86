"""How fast and how lean inspection is. Run: ``python tests/bench/inspect_bench.py [--json]``; exits 1 on a miss.

Measured: a file of 2 GB (sparse), a check of a LoRA against a model of 18 GB (sparse) with and without reading the
LoRA's 660 MB, a scan of 1,000 LoRAs from a warm cache without and with a model, and the norms of a rank-32 LoRA over
Klein 9B's real shapes against building the deltas. Medians of five or three runs; a machine that does other work beside
it misses targets that it meets alone, so the load stands in the first line.

Two cores of an Intel Xeon, Python 3.11, torch 2.11, no .pyc files but in the lines ``compiled``; the lines of the check
at load 2.5, the others at load 1. What is counted in a check says :func:`bench_check`. The scan reads every file (no
index); its files have two layouts, and what files of one layout share is found once, so a library of all different
ones is scanned more slowly:

    inspect_2gb_ms               0.9
    inspect_2gb_mb                12
    check_ms                      24
    check_process_ms             140
    check_compiled_ms             15
    check_process_compiled_ms     86
    check_mb                      10
    measure_s                    3.3
    measure_mb                    42
    scan_files_per_second       1311
    scan_with_model_per_second   677
    norms_klein9b_seconds       0.24
    norms_speedup                117
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "core"))
_pack = types.ModuleType("pack")
_pack.__path__ = [str(ROOT)]
sys.modules["pack"] = _pack

TARGETS = {
    "inspect_2gb_ms": (50.0, "below"),
    "inspect_2gb_mb": (30.0, "below"),
    "scan_files_per_second": (500.0, "above"),
    "scan_with_model_per_second": (500.0, "above"),
    "check_ms": (36.0, "below"),
    "check_mb": (16.0, "below"),
    "measure_mb": (60.0, "below"),
    "norms_klein9b_seconds": (2.0, "below"),
    "norms_speedup": (20.0, "above"),
}

_CHILD = """
import resource, sys, time, types
def peak():
    try:  # ru_maxrss would still be that of the parent before exec
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
pack = types.ModuleType("pack"); pack.__path__ = [sys.argv[1]]; sys.modules["pack"] = pack
before = peak()
from pack.nodes.core.check.inspect import inspect_file
from pack.nodes.core.report.text import report_text
times = []
for _ in range(5):
    start = time.perf_counter()
    report_text(inspect_file(sys.argv[2]))
    times.append(time.perf_counter() - start)
print(sorted(times)[2] * 1000, times[0] * 1000, peak() - before)
"""


def write_sparse(
    path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None, alive: bool = False
) -> None:
    """A file of bfloat16 zeros that takes no disk space.

    Args:
        alive: Begin each tensor with a one, as those of real LoRAs do with some number: a check looks.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
        for entry in header.values() if alive else ():
            if "data_offsets" in entry:
                file.seek(8 + len(raw) + entry["data_offsets"][0])
                file.write(b"\x80\x3f")


def bench_large_file(folder: Path) -> dict[str, float]:
    """Time and memory for a 2 GB model, in a process of its own, imports counted in the memory."""
    from lora_files import flux2_shapes

    path = folder / "large.safetensors"
    write_sparse(path, flux2_shapes(3072, 1, 5, 7680))
    size = path.stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(ROOT), str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    median, first, memory = map(float, done.stdout.split())
    return {"file_gb": size / 1e9, "inspect_2gb_ms": median, "inspect_2gb_first_ms": first, "inspect_2gb_mb": memory}


_CHECK = """
import sys, time, types
def peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
pack = types.ModuleType("pack"); pack.__path__ = [sys.argv[1]]; sys.modules["pack"] = pack
before = peak()
import os
from pack.nodes.core.cli.main import main
with open(os.devnull, "w") as nowhere:
    start = time.perf_counter()
    code = main(sys.argv[2:], nowhere)
    print(code, time.perf_counter() - start, peak() - before)
"""


def _runs(command: list[str], env: dict[str, str] | None = None) -> tuple[float, float, float]:
    """Seconds of the command itself and of the whole process, medians of three runs, and the most memory in MB."""
    inside, whole, memory = [0.0] * 3, [0.0] * 3, [0.0] * 3
    for run in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        whole[run] = time.perf_counter() - start
        code, inside[run], memory[run] = (float(word) for word in done.stdout.split())
        assert code == 0
    return sorted(inside)[1], sorted(whole)[1], max(memory)


def bench_check(folder: Path) -> dict[str, float]:
    """A rank-128 LoRA of 660 MB against Klein 9B, in processes of their own, imports counted in the memory.

    ``check_ms`` is the time in ``main``, with the modules that only this command loads. What every command loads is
    loaded before and counts in ``check_process_ms``, as does the start of Python. The figures ``compiled`` are those of
    an installed copy: Python finds the bytecode of the modules and need not compile them.
    """
    import torch
    from lora_files import flux2_shapes, lora_shapes
    from safetensors.torch import save_file

    shapes = flux2_shapes(4096, 8, 24, 12288)
    model, lora = folder / "model.safetensors", folder / "lora.safetensors"
    write_sparse(model, shapes)
    one = torch.randn(1, dtype=torch.bfloat16)
    save_file({key: one.expand(shape).contiguous() for key, shape in lora_shapes(shapes, 128).items()}, lora)
    figures: dict[str, float] = {}
    for name, unit, options in (("check", 1000.0, []), ("measure", 1.0, ["--measure"])):
        command = [sys.executable, "-c", _CHECK, str(ROOT), "check", str(lora), "--model", str(model), *options]
        inside, whole, figures[f"{name}_mb"] = _runs(command)
        figures[f"{name}_{'ms' if unit > 1 else 's'}"] = inside * unit
        if name == "check":
            figures["check_process_ms"] = whole * unit
            compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
            compiled.pop("PYTHONDONTWRITEBYTECODE", None)
            subprocess.run(command, capture_output=True, check=True, env=compiled)
            inside, whole, _ = _runs(command, compiled)
            figures |= {"check_compiled_ms": inside * unit, "check_process_compiled_ms": whole * unit}
    lora.unlink()
    return figures


def bench_scan(folder: Path, count: int = 1000) -> dict[str, float]:
    """Files a second over LoRAs with 224 layers each, half of them with alpha tensors and kohya's metadata."""
    from lora_files import flux2_shapes, lora_shapes
    from pack.nodes.core.cli.main import main

    folder = folder / "loras"
    folder.mkdir()
    plain = lora_shapes(flux2_shapes(4096, 8, 24, 12288), 16)
    kohya = {
        k.replace("lora_A.weight", "lora_down.weight").replace("lora_B.weight", "lora_up.weight"): v
        for k, v in plain.items()
    }
    kohya |= {k.replace("lora_up.weight", "alpha"): () for k in kohya if k.endswith("lora_up.weight")}
    metadata = {"ss_steps": "1", "ss_base_model_version": "flux_2_klein_9b", "ss_tag_frequency": '{"1_a": {"b": 1}}'}
    for number in range(count):
        odd, path = number % 2, folder / f"{number:04}.safetensors"
        if number < 2:
            write_sparse(path, kohya if odd else plain, metadata if odd else None, alive=True)
        else:
            os.link(folder / f"{odd:04}.safetensors", path)
    model = folder.parent / "klein9b.safetensors"
    write_sparse(model, flux2_shapes(4096, 8, 24, 12288))
    figures: dict[str, float] = {"scan_tensors_a_file": (len(plain) + len(kohya)) / 2}
    with open(os.devnull, "w") as nowhere:
        for name, options in (("scan_files_per_second", []), ("scan_with_model_per_second", ["--model", str(model)])):
            rates: list[float] = []
            for _ in range(3):
                start = time.perf_counter()
                main(["scan", str(folder), "--csv", "--no-index", *options], nowhere, nowhere)
                rates.append(count / (time.perf_counter() - start))
            figures[name] = sorted(rates)[1]
    return figures


def bench_norms(rank: int = 32) -> dict[str, float]:
    """Norm, spectral norm and stable rank of every layer; the product's Frobenius norm alone for comparison."""
    import torch
    from lora_files import flux2_shapes
    from pack.nodes.core.lora.adapters.lora import LoraAdapter

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    generator = torch.Generator().manual_seed(0)
    layers = [
        {
            "up": torch.randn(rows, rank, generator=generator).bfloat16(),
            "down": torch.randn(rank, columns, generator=generator).bfloat16(),
        }
        for key, (rows, columns) in flux2_shapes(4096, 8, 24, 12288).items()
        if "blocks." in key
    ]
    adapter = LoraAdapter()
    for layer in layers[:2]:
        adapter.strength(layer, 0.5)
    exact, times = [0.0], [0.0] * 3
    for run in range(3):
        start = time.perf_counter()
        exact = [adapter.strength(layer, 0.5).delta_norm for layer in layers]
        times[run] = time.perf_counter() - start
    fast = sorted(times)[1]
    # Building all 9 billion numbers takes long on a small machine: one layer of each shape, scaled to the number.
    shapes: dict[tuple[int, int], list[int]] = {}
    for index, layer in enumerate(layers):
        shapes.setdefault((len(layer["up"]), layer["down"].shape[1]), []).append(index)
    slow = 0.0
    for indices in shapes.values():
        start = time.perf_counter()
        built = adapter.delta(layers[indices[0]], 0.5).norm().item()
        slow += (time.perf_counter() - start) * len(indices)
        assert abs(built - exact[indices[0]]) < 0.02 * built
    return {
        "layers": len(layers),
        "norms_klein9b_seconds": fast,
        "norms_built_seconds": slow,
        "norms_speedup": slow / fast,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = {"load": os.getloadavg()[0]} if hasattr(os, "getloadavg") else {}
        figures = {**load, **bench_large_file(folder), **bench_check(folder), **bench_scan(folder), **bench_norms()}
    missed = [
        name
        for name, (target, side) in TARGETS.items()
        if (figures[name] >= target if side == "below" else figures[name] <= target)
    ]
    if options.json:
        print(json.dumps({"figures": figures, "missed": missed}, indent=1))
    else:
        for name, value in figures.items():
            target = f"   target: {TARGETS[name][1]} {TARGETS[name][0]:g}" if name in TARGETS else ""
            print(f"{name:24} {value:10.2f}{target}{'   MISSED' if name in missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

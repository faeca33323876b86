"""Figures of docs/scale.md: what travels for a file elsewhere, and libraries of any size.

    python tests/bench/scale_bench.py [travel] [library]

``--files N`` sets the size of the library (default 100,000), ``--folder`` where it is made. The library is made of
generated LoRAs of 56 tensors, each a file of its own with its own metadata. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "core"))


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


def command(*words: object, folder: Path) -> tuple[float, int, str]:
    """Seconds, peak memory of its largest process in bytes, and output of a command."""
    link = folder / "lora_patchbay"
    if not link.exists():
        link.symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    code = (
        "import resource, sys\nfrom lora_patchbay.cli.main import main\nstate = main(sys.argv[1:])\n"
        "peaks = [resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "print(max(peaks) * 1024, file=sys.stderr)\n"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - begin, int(done.stderr.split()[-1]), done.stdout


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
        seconds, peak, out = command(*words, folder=folder)
        assert len(out.splitlines()) == count + 1
        figures[name] = {
            "seconds": round(seconds, 1), "files_per_second": round(count / seconds), "peak_mb": round(peak / 1e6),
        }  # fmt: skip
    figures["index_mb"] = round((folder / "index").stat().st_size / 1e6)
    return figures


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", metavar="travel|library", default=["travel", "library"])
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
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

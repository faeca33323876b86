"""What applying a LoRA costs on the CPU, ours against ComfyUI's ``LoraLoaderModelOnly``: interleaved, ratio of medians.

Run from the project's folder with its virtual environment: ``python tests/bench/apply_bench.py [--rounds 15]``.
A model with the blocks of FLUX.2 Klein 4B (5 double, 20 single) at a third of its width, and files of several formats
on every linear layer of every block. Nothing is loaded or sampled: this is the time of the node, for a file that is new
to it and for another strength of a known one. It is the process's own time on one core, which on an idle machine is
what one waits, and does not depend on what else a busy one does. The sizes of a large file's layers are worked out
when its report is opened, and so are not part of it; ``--sizes`` has them at once, as when another node reads the
report. Exit status 1 if a ratio is above the limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from faithful_table import start_comfyui

SIZES = {"hidden": 1024, "double": 5, "single": 20}
RANK = 16
LIMIT = 1.1
"""Of the issue: applying costs at most this many times what the stock loader costs."""


def main() -> int:
    """Run both ways in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="formats, for example lora,dora")
    parser.add_argument("--hidden", type=int, default=SIZES["hidden"], help="width; 2048 needs 6 GB of memory")
    parser.add_argument("--sizes", action="store_true", help="with the sizes in the report, however large the file")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    SIZES["hidden"] = options.hidden
    start_comfyui()
    import torch
    from pack.nodes.host.norms import later

    if options.sizes:
        later.QUICK_NUMBERS = 1 << 62

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    figures: dict[str, dict[str, float]] = {}
    print("| format | file, MB | new file: stock, ms | ours, ms | ratio | strength: stock, ms | ours, ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    model = load_model({key: torch.ones(shape, dtype=torch.bfloat16) for key, shape in model_shapes().items()})
    for name in options.only.split(",") if options.only else FORMATS:
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            row = figures[name] = measure(model, FORMATS[name], Path(folder), options.rounds)
        print(
            "| {0} | {file_mb:.1f} | {first_stock_ms:.1f} | {first_ours_ms:.1f} | {first_ratio:.2f} | "
            "{change_stock_ms:.1f} | {change_ours_ms:.1f} | {change_ratio:.2f} |".format(name, **row),
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if all(max(row["first_ratio"], row["change_ratio"]) <= LIMIT for row in figures.values()) else 1


def model_shapes() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the model."""
    from nano_models import flux2_shapes

    return flux2_shapes(**SIZES)


def lora(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """Ends of the keys of one layer, and their shapes."""
    return {"lora_A.weight": (RANK, columns), "lora_B.weight": (rows, RANK)}


def loha(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """Two products of factors."""
    sides = {"a": (rows, RANK), "b": (RANK, columns)}
    return {f"hada_w{number}_{side}": shape for number in (1, 2) for side, shape in sides.items()}


def lokr(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """A small factor, and a large one of low rank."""
    return {"lokr_w1": (8, 8), "lokr_w2_a": (rows // 8, RANK), "lokr_w2_b": (RANK, columns // 8)}


def dora(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """A LoRA with PEFT's magnitude."""
    return {**lora(rows, columns), "lora_magnitude_vector": (rows,)}


def oft(rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    """Rotations of blocks of rows."""
    del columns
    return {"oft_blocks": (rows // 32, 32, 32)}


Layer = Callable[[int, int], dict[str, tuple[int, ...]]]
FORMATS: dict[str, Layer] = {"lora": lora, "lokr": lokr, "loha": loha, "dora": dora, "oft": oft}


def measure(model: Any, layer: Layer, folder: Path, rounds: int) -> dict[str, float]:
    """Median milliseconds of both loaders, for a file that is new to them and for another strength of a known one."""
    import torch
    from nano_models import lora_layers, write

    generator = torch.Generator().manual_seed(1)
    state = {
        f"diffusion_model.{name}.{end}": (torch.randn(shape, generator=generator) * 0.01).bfloat16()
        for name, (rows, columns) in lora_layers(**SIZES).items()
        for end, shape in layer(rows, columns).items()
    }
    path = folder / "loras" / "a.safetensors"
    path.parent.mkdir()
    write(path, state)
    use_folder(path.parent)
    first = compare(lambda turn: new_file(path, turn), stock_node, our_node, model, rounds)
    known = known_nodes(path)
    change = compare(lambda turn: path, known[0], known[1], model, rounds)
    return {
        "first_stock_ms": first[0], "first_ours_ms": first[1], "first_ratio": first[1] / first[0],
        "change_stock_ms": change[0], "change_ours_ms": change[1], "change_ratio": change[1] / change[0],
        "tensors": len(state), "file_mb": path.stat().st_size / 1e6, "rounds": rounds,
    }  # fmt: skip


def load_model(weights: dict[str, Any]) -> Any:
    """The model as ComfyUI's loader makes it."""
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(weights)


def use_folder(folder: Path) -> None:
    """Let ComfyUI's nodes find the files."""
    import folder_paths

    folder_paths.add_model_folder_path("loras", str(folder), is_default=True)


def new_file(path: Path, turn: int) -> Path:
    """The same file under a name that no cache knows; its pages stay in the system's cache."""
    other = path.with_name(f"b{turn}.safetensors")
    if not other.exists():
        shutil.copyfile(path, other)
        other.read_bytes()
    return other


Loader = Callable[[Any, Path, float], Any]


def stock_node(model: Any, path: Path, strength: float) -> Any:
    """ComfyUI's node, new, so that it reads the file."""
    import nodes

    return nodes.LoraLoaderModelOnly().load_lora_model_only(model, path.name, strength)


def our_node(model: Any, path: Path, strength: float) -> Any:
    """Our node's own ``execute``."""
    from pack.nodes.apply_lora import PatchbayApplyLora

    return PatchbayApplyLora.execute(model, path.name, strength, 0.0, "", "merge")


def known_nodes(path: Path) -> tuple[Loader, Loader]:
    """Both nodes as they are when only the strength changes: ComfyUI's keeps the file's tensors."""
    import nodes

    kept = nodes.LoraLoaderModelOnly()
    return (lambda model, file, strength: kept.load_lora_model_only(model, file.name, strength)), our_node


def compare(file: Callable[[int], Path], stock: Loader, ours: Loader, model: Any, rounds: int) -> tuple[float, float]:
    """Medians in milliseconds; the two take turns, and who begins changes."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(rounds + 2):
        pair = [(0, stock), (1, ours)] if turn % 2 else [(1, ours), (0, stock)]
        for which, loader in pair:
            path = file(turn * 2 + which)
            gc.collect()
            begun = time.process_time()
            result = loader(model, path, 0.5 + turn / 100)
            if turn >= 2:
                times[which].append((time.process_time() - begun) * 1e3)
            del result
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    sys.exit(main())

"""Fill the measured table of ``docs/measurement.md``: ``python -m tools.measurement_page measure_table.json``.

The JSON is what ``tests/gpu/measure_table.py`` writes on a machine with a GPU.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "measurement.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

_GIB = 2**30


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m tools.measurement_page measure_table.json\n")
        return 64
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if data.get("schema") != "patchbay.measure_table":
        sys.stderr.write(f"{sys.argv[1]}: expected what tests/gpu/measure_table.py writes.\n")
        return 2
    part = PAGE.with_suffix(".md.part")
    part.write_text(filled(PAGE.read_text(encoding="utf-8"), data["results"]), encoding="utf-8")
    os.replace(part, PAGE)
    return 0


def filled(page: str, results: list[dict[str, Any]]) -> str:
    """The page with its table replaced by one made of ``results``."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise ValueError(f"{PAGE.name} lacks the lines {BEGIN} and {END}; put them where the table belongs.")
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def table(results: list[dict[str, Any]]) -> str:
    """The same run as seen by the figures of others and by ours, as Markdown."""
    shown = [result for result in results if "machine" in result]
    if not shown:
        return "No measured table yet."
    machine = shown[0]["machine"]
    words = [
        machine.get("device", ""),
        f"torch {machine.get('torch', '?')}",
        f"ComfyUI {machine.get('comfyui', '?')}",
        f"comfy-aimdo {machine.get('comfy_aimdo', '?')}",
    ]
    lines = [f"{', '.join(words)}. Random weights, 1024 x 1024, rank-32 LoRA on every linear of every block.", ""]
    lines.append("| | " + " | ".join(f"{result['shape']}, {result['mode']}" for result in shown) + " |")
    lines.append("|---" * (len(shown) + 1) + "|")
    for name, read in _ROWS:
        cells = [read(result) for result in shown]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _size(key: str) -> Any:
    return lambda result: "-" if not result.get(key) else f"{result[key] / _GIB:.2f} GiB"


def _share(key: str) -> Any:
    return lambda result: "-" if result.get(key) is None else f"{result[key] * 100:+.2f} %"


def _number(key: str, unit: str, factor: float = 1.0) -> Any:
    return lambda result: "-" if result.get(key) is None else f"{result[key] * factor:.4g} {unit}"


def _text(key: str) -> Any:
    return lambda result: str(result.get(key) or "-")


def _against(key: str, reference: str) -> Any:
    def read(result: dict[str, Any]) -> str:
        value, truth = result.get(key), result.get(reference)
        return "-" if not value or not truth else f"{value / _GIB:.2f} GiB ({(value / truth - 1) * 100:+.1f} %)"

    return read


_ROWS: list[tuple[str, Any]] = [
    ("**Memory.** The driver's peak of the process", _size("peak_driver")),
    ("ours, process peak, at least", _against("peak_low", "peak_driver")),
    ("ours, process peak, at most", _against("peak_high", "peak_driver")),
    ("`torch.cuda.max_memory_allocated` (most packs)", _against("torch_allocated", "peak_driver")),
    ("`torch.cuda.max_memory_reserved`", _against("torch_reserved", "peak_driver")),
    ("`nvidia-smi` every 250 ms, whole device", _against("smi_peak", "peak_driver")),
    ("weights on the device, driver (what unloading gives back)", _size("weights_driver")),
    ("ours, weights on the device", _against("weights_ours", "weights_driver")),
    ("**Time.** Steady step, explicit synchronisation", _number("step_synchronised", "ms")),
    ("ours, steady step, no synchronisation", _number("step_ours", "ms")),
    ("ours against waiting at every evaluation, same run", _share("step_difference")),
    ("95 % interval", _text("step_difference_interval")),
    ("ours against waiting at the run's ends only, same run", _share("step_difference_ends")),
    ("95 % interval", _text("step_difference_ends_interval")),
    ("what waiting at every evaluation costs the loop itself", _share("step_cost_of_synchronising")),
    ("first evaluation with a new LoRA, ours", _number("first_ms", "ms")),
    ("of that LoRA arithmetic, ours", _number("first_lora_ms", "ms")),
    ("loading with a new LoRA, ours", _number("prepare_s", "ms", 1000)),
    ("of that LoRA arithmetic, ours", _number("prepare_lora_ms", "ms")),
    ("wall time of the sampling node, first run with the LoRA", _number("wall_first_s", "s")),
    ("the same, second run", _number("wall_warm_s", "s")),
    ("**Cost of measuring**, on a steady step (A/B)", _share("overhead")),
    ("95 % interval", _text("overhead_interval")),
    ("the same without polling memory", _share("overhead_no_polling")),
    ("95 % interval", _text("overhead_no_polling_interval")),
]


if __name__ == "__main__":
    sys.exit(main())

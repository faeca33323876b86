"""What LoRAs cost, stock ComfyUI against ours: ``python3 tests/gpu/lora_table.py``.

FLUX.2 Klein 4B and 9B shapes with random weights in ComfyUI's two ways of loading, each in a process of its own:
applying, the first run, a change of strength, the steady step, the step with bypass (ours and ComfyUI's), and peak
memory. Writes ``lora_table.json`` and ``lora_table.md`` into ``$OUT`` (or ``--out``). ``--smoke`` rehearses the same on
the CPU with a tiny model. ComfyUI comes from ``$PATCHBAY_TEST_COMFYUI`` or ``.runtime``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHILD = HERE / "lora_child.py"
CASES = [("klein-9b", "dynamic"), ("klein-4b", "dynamic"), ("klein-4b", "legacy"), ("klein-9b", "legacy")]
SMOKE_CASES = [("tiny", "cpu")]
CHILD_SECONDS = 150


def main() -> int:
    """Run the cases; the exit status is 0 if none of them had an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny model on the CPU")
    parser.add_argument("--only", default="", help="cases, for example klein-4b:dynamic,klein-9b:legacy")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument(
        "--seconds", "--budget", dest="budget", type=float, default=400.0, help="a case that would not fit is left out"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    results: list[dict[str, Any]] = []
    for shape, mode in SMOKE_CASES if options.smoke else CASES:
        if options.only and f"{shape}:{mode}" not in options.only.split(","):
            continue
        left = options.budget - (time.monotonic() - begun)
        if left < 20:
            results.append({"shape": shape, "mode": mode, "errors": {"case": "no time was left"}})
            continue
        results.append(_run(shape, mode, options.out, min(CHILD_SECONDS, left)))
        _write(options.out, results)
    print((options.out / "lora_table.md").read_text(encoding="utf-8"))
    return 0 if all(not result.get("errors") for result in results) else 1


def _run(shape: str, mode: str, out: Path, seconds: float) -> dict[str, Any]:
    answer = out / f"lora_{shape}_{mode}.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(CHILD), shape, mode, str(answer)]
    error = ""
    try:
        done = subprocess.run(command, timeout=seconds, stderr=subprocess.PIPE, text=True, check=False)
        error = "" if done.returncode == 0 else done.stderr[-3000:]
    except subprocess.TimeoutExpired as late:
        error = f"ended after {seconds:.0f} s: {(late.stderr or b'')[-1500:]!r}"
    result: dict[str, Any] = {"shape": shape, "mode": mode}
    if answer.exists():
        result |= json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
    if error:
        result.setdefault("errors", {})["process"] = error
        print(error, flush=True)
    return result


def _write(out: Path, results: list[dict[str, Any]]) -> None:
    data = {"schema": "patchbay.lora_table", "version": 1, "results": results}
    (out / "lora_table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (out / "lora_table.md").write_text(markdown(results), encoding="utf-8")


_ROWS = [
    ("**applying: the node's own time, ms**", "", ""),
    ("stock LoRA loader, file read each time", "apply_stock_ms", "ms"),
    ("ours, a file for the first time", "apply_ours_first_ms", "ms"),
    ("ours, another strength", "apply_ours_ms", "ms"),
    ("ours, bypass, another strength", "apply_bypass_ms", "ms"),
    ("**a run of 4 steps, ms**", "", ""),
    ("unpatched, warm", "warm_ms", "ms"),
    ("stock, first run with the LoRA", "merge_stock_first_ms", "ms"),
    ("stock, warm", "merge_stock_warm_ms", "ms"),
    ("stock, strength 1 to 0.5", "merge_stock_change_ms", "ms"),
    ("ours merged, first run with the LoRA", "merge_ours_first_ms", "ms"),
    ("ours merged, warm", "merge_ours_warm_ms", "ms"),
    ("ours merged, strength 1 to 0.5", "merge_ours_change_ms", "ms"),
    ("ours merged, one block changed", "merge_ours_block_ms", "ms"),
    ("**added to a warm run by a change, same patches, ms**", "", ""),
    ("one block, ComfyUI's loading", "restage_block_core_ms", "ms"),
    ("one block, only what changed", "restage_block_ours_ms", "ms"),
    ("as a share", "restage_share", "share"),
    ("all single blocks, ComfyUI's loading", "restage_single_core_ms", "ms"),
    ("all single blocks, only what changed", "restage_single_ours_ms", "ms"),
    ("the picture is bit-identical", "restage_equal", "text"),
    ("self-check passed", "restage_check_passed", "text"),
    ("**bypass, a run of 4 steps, ms**", "", ""),
    ("ours bypass, warm", "bypass_warm_ms", "ms"),
    ("ours bypass, strength 1 to 0.5", "bypass_change_ms", "ms"),
    ("ours bypass, one block changed", "bypass_block_ms", "ms"),
    ("**one steady step, ms**", "", ""),
    ("unpatched", "step_base_ms", "step"),
    ("merged, ours", "merge_ours_step_ms", "step"),
    ("bypass, ours", "step_ours_ms", "step"),
    ("bypass, ours, two LoRAs", "step_ours_two_ms", "step"),
    ("bypass, ComfyUI's", "step_core_ms", "step"),
    ("bypass, ours: more than unpatched", "bypass_ratio_ours", "more"),
    ("bypass, ours, two LoRAs: more than unpatched", "bypass_ratio_ours_two", "more"),
    ("bypass, ComfyUI's: more than unpatched", "bypass_ratio_core", "more"),
    ("ours as a share of ComfyUI's", "bypass_share_of_core", "share"),
    ("**peak memory**", "", ""),
    ("unpatched: torch's peak / device in use", "memory_base", "memory"),
    ("stock merged", "memory_merge_stock", "memory"),
    ("ours merged", "memory_merge_ours", "memory"),
    ("bypass, ours", "memory_ours", "memory"),
    ("bypass, ComfyUI's", "memory_core", "memory"),
    ("**the picture, relative difference from stock merged**", "", ""),
    ("unpatched (the size of the effect)", "effect", "small"),
    ("ours merged", "difference_merge_ours", "small"),
    ("bypass, ours", "difference_ours", "small"),
    ("bypass, ComfyUI's", "difference_core", "small"),
    ("the unpatched model afterwards is bit-identical", "base_again_equal", "text"),
    ("**the widest layer alone, microseconds**", "", ""),
    ("the layer", "product_layer_us", "ms"),
    ("down only", "product_down_us", "ms"),
    ("ours: one product into the output", "product_ours_us", "ms"),
    ("the same with the other layout of up", "product_across_us", "ms"),
    ("ComfyUI's: product, scaled, added", "product_core_us", "ms"),
    ("seconds for this case", "seconds", "ms"),
]


def markdown(results: list[dict[str, Any]]) -> str:
    """The table for people."""
    rows = [("", [f"{result['shape']} {result['mode']}" for result in results])]
    rows += [(name, [_cell(result.get(key), unit) if key else "" for result in results]) for name, key, unit in _ROWS]
    lines = ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows]
    lines.insert(1, "|" + "---|" * (len(results) + 1))
    errors = [
        f"- {result['shape']} {result['mode']}, {part}: {text.strip().splitlines()[-1]}"
        for result in results
        for part, text in (result.get("errors") or {}).items()
        if text.strip()
    ]
    machine = next((result["machine"] for result in results if result.get("machine")), {})
    head = ", ".join(
        f"{name} {machine[name]}" if name != "device" else machine[name]
        for name in ("device", "torch", "comfyui", "dtype", "rank")
        if name in machine
    )
    return "\n".join([head, "", *lines, *([""] if errors else []), *errors]) + "\n"


def _cell(value: Any, unit: str) -> str:
    if value is None or value == {}:
        return "-"
    if unit == "ms":
        return f"{value:.0f}" if value >= 20 else f"{value:.1f}"
    if unit == "step":
        return f"{value:.1f}"
    if unit == "more":
        return f"{(value - 1) * 100:+.1f} %"
    if unit == "share":
        return f"{value:.2f}"
    if unit == "memory":
        return f"{value['torch_peak'] / 2**30:.2f} / {value['in_use'] / 2**30:.2f} GiB"
    return f"{value:.2g}" if unit == "small" else str(value)


if __name__ == "__main__":
    sys.exit(main())

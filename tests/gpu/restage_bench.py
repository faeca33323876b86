"""What a changed LoRA strength adds to a run, ComfyUI's loading against ours: ``python3 tests/gpu/restage_bench.py``.

FLUX.2 Klein 4B and 9B shapes with random weights and dynamic VRAM, each in a process of its own: the LoRA applied and
taken away, one block changed, all single blocks changed, each by ComfyUI's loading and by ours in turns on the same
patches, with the latents compared bit by bit; where the rest of the time goes; what happens when pages were given up or
another model was loaded in between; and whether the self-check finds a falsified weight. Writes ``restage_bench.json``
and ``restage_bench.md`` into ``$OUT`` (or ``--out``). ``--smoke`` rehearses it on the CPU with a tiny model.
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

CHILD = Path(__file__).resolve().parent / "restage_child.py"
CASES = [("klein-4b", "dynamic", 40.0), ("klein-9b", "dynamic", 78.0)]
"""Shape, way of loading, and the seconds that it may take."""
SMOKE_CASES = [("tiny", "cpu", 100.0)]
TARGET = 0.1


def main() -> int:
    """Run the cases; the exit status is 0 if none of them had an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny model on the CPU")
    parser.add_argument("--only", default="", help="cases, for example klein-9b:dynamic,klein-4b:legacy")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument("--budget", type=float, default=118.0, help="seconds for everything")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cases = SMOKE_CASES if options.smoke else CASES
    if options.only:
        cases = [(*name.split(":"), options.budget) for name in options.only.split(",")]
    begun = time.monotonic()
    results: list[dict[str, Any]] = []
    for shape, mode, seconds in cases:
        left = options.budget - (time.monotonic() - begun)
        last = (shape, mode, seconds) == cases[-1]
        results.append(_run(shape, mode, options.out, max(15.0, left if last else min(seconds, left))))
        data = {"schema": "patchbay.restage_bench", "version": 1, "results": results}
        (options.out / "restage_bench.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        try:
            (options.out / "restage_bench.md").write_text(markdown(results), encoding="utf-8")
        except Exception as error:
            print(f"no table: {error!r}; the figures are in restage_bench.json", flush=True)
    table = options.out / "restage_bench.md"
    print(table.read_text(encoding="utf-8") if table.exists() else json.dumps(results))
    return 0 if all(not result.get("errors") for result in results) else 1


def _run(shape: str, mode: str, out: Path, seconds: float) -> dict[str, Any]:
    answer = out / f"restage_{shape}_{mode}.json"
    answer.unlink(missing_ok=True)
    log = out / f"restage_{shape}_{mode}.log"
    error = ""
    with log.open("w", encoding="utf-8") as stderr:
        command = [sys.executable, str(CHILD), shape, mode, str(answer), str(seconds - 6)]
        try:
            status = subprocess.run(command, timeout=seconds, stderr=stderr, check=False).returncode
            error = "" if status == 0 else f"ended with status {status}"
        except subprocess.TimeoutExpired:
            error = f"ended after {seconds:.0f} s"
    result: dict[str, Any] = {"shape": shape, "mode": mode}
    if answer.exists():
        result |= json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
    if error:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        print(tail, error, flush=True)
        result.setdefault("errors", {})["process"] = f"{tail}\n{error}"
    return result


_ROWS = [
    ("unpatched, warm run of 4 steps, ms", "warm_ms"),
    ("**added to a warm run, ms (median)**", ""),
    ("one single block changed, ComfyUI", "one_block.core_ms"),
    ("one single block changed, ours", "one_block.ours_ms"),
    ("ours as a share of ComfyUI's", "one_block.share"),
    ("a slider: one block changed again and again, ours", "slider.ours_ms"),
    ("one double block changed, ComfyUI", "double_block.core_ms"),
    ("one double block changed, ours", "double_block.ours_ms"),
    ("all single blocks changed, ComfyUI", "all_single.core_ms"),
    ("all single blocks changed, ours", "all_single.ours_ms"),
    ("LoRA first applied, ComfyUI", "applied.core_ms"),
    ("LoRA first applied, ours", "applied.ours_ms"),
    ("back to unpatched, ComfyUI", "applied.back_core_ms"),
    ("back to unpatched, ours (strength 0)", "applied.back_ours_ms"),
    ("**bit-identical latents**", ""),
    ("one single block", "one_block.all_equal"),
    ("one double block", "double_block.all_equal"),
    ("all single blocks", "all_single.all_equal"),
    ("applied and taken away", "applied.all_equal"),
    ("a slider, against a fresh load", "slider.equal_to_a_fresh_load"),
    ("pages given up in between", "evicted.equal"),
    ("another model in between", "stranger.equal"),
    ("the unpatched model afterwards", "base_again_equal"),
    ("**self-check**", ""),
    ("passes", "check_passed"),
    ("passes on all modules", "check_of_all_passed"),
    ("finds a falsified weight", "check_finds_a_wrong_weight"),
    ("seconds for this case", "seconds"),
]


def markdown(results: list[dict[str, Any]]) -> str:
    """The table for people."""
    lines = ["| | " + " | ".join(f"{result['shape']} {result['mode']}" for result in results) + " |"]
    lines.append("|---" * (len(results) + 1) + "|")
    for name, path in _ROWS:
        cells = [_cell(_find(result, path)) if path else "" for result in results]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    machine = next((result["machine"] for result in results if result.get("machine")), {})
    head = ", ".join(str(machine[name]) if name == "device" else f"{name} {machine[name]}" for name in machine)
    notes = [f"- {result['shape']}: {note}" for result in results for note in _notes(result)]
    return "\n".join([head, "", *lines, "", *notes]) + "\n"


def _notes(result: dict[str, Any]) -> list[str]:
    notes = []
    share = _find(result, "one_block.share")
    if share is not None and result["mode"] != "cpu":
        notes.append(f"target (at most {TARGET} of ComfyUI's) {'met' if share <= TARGET else 'MISSED'}: {share:.3f}")
    own = _find(result, "one_block.own") or []
    if own and own[0]:
        notes.append(
            f"kept {own[0]['kept']} modules, {own[0]['changed']} weights changed, own work {own[0]['own_ms']:.2f} ms"
        )
    for name in ("changed", "warm"):
        for function, row in (_find(result, f"breakdown.{name}") or {}).items():
            notes.append(
                f"{name} run, {function}: {row['calls']} calls, {row['sum_ms']} ms, longest {row['longest_ms']}"
            )
    steps = _find(result, "breakdown.steps_ms")
    if steps:
        notes.append(f"steps, the first with the loading, ms: {steps}")
    for name, text in (result.get("errors") or {}).items():
        notes.append(f"ERROR in {name}: {text.strip().splitlines()[-1] if text.strip() else ''}")
    return notes


def _find(result: dict[str, Any], path: str) -> Any:
    value: Any = result
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, (int, float)):
        return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())

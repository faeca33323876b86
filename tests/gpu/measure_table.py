"""Our figures against the driver's and against explicit synchronisation: ``python3 tests/gpu/measure_table.py``.

Runs FLUX.2 Klein 4B and 9B shapes (random weights) in ComfyUI's two ways of loading, each in a process of its own, and
writes ``measure_table.json`` and ``measure_table.md`` into ``$OUT`` (or ``--out``). Where one command may not run long
enough for all four, ``--only klein-4b:legacy,klein-9b:legacy --merge measure_table_h100.json`` takes the other cases
from an earlier run. ``--smoke`` rehearses the same on the CPU with a tiny model. ComfyUI comes from
``$PATCHBAY_TEST_COMFYUI`` or ``.runtime``.
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
CHILD = HERE / "measure_child.py"
Case = tuple[str, str]
CASES: list[Case] = [
    ("klein-4b", "dynamic"), ("klein-9b", "dynamic"), ("klein-4b", "legacy"), ("klein-9b", "legacy"),
]  # fmt: skip
SMOKE_CASES: list[Case] = [("tiny", "cpu")]
CHILD_SECONDS = 300
LIMITS = {"memory": 0.03, "step": 0.01, "overhead": 0.01}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny model on the CPU")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument("--only", default="", metavar="SHAPE:MODE,...", help="these cases")
    parser.add_argument("--merge", type=Path, metavar="JSON", help="an earlier result, for the cases that are not run")
    parser.add_argument(
        "--seconds", "--budget", dest="budget", type=float, default=530.0, help="a case that would not fit is left out"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    earlier = earlier_results(options.merge)
    results: dict[Case, dict[str, Any]] = {}
    for case in SMOKE_CASES if options.smoke else chosen_cases(options.only):
        left = options.budget - (time.monotonic() - begun)
        if left < 20:
            results[case] = {"shape": case[0], "mode": case[1], "errors": {"case": "no time was left"}}
            continue
        results[case] = _run(*case, options.out, min(CHILD_SECONDS, left))
        _write(options.out, merged(earlier, results))
    _write(options.out, merged(earlier, results))
    print((options.out / "measure_table.md").read_text(encoding="utf-8"))
    return 0 if all(not result.get("errors") for result in results.values()) else 1


def chosen_cases(only: str) -> list[Case]:
    """The cases to run, in the order of the table; all of them for an empty text."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {f"{shape}:{mode}": (shape, mode) for shape, mode in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"--only: {', '.join(unknown)} is no case; there are {', '.join(known)}.")
    return [case for name, case in known.items() if name in names or not names]


def earlier_results(path: Path | None) -> dict[Case, dict[str, Any]]:
    """What an earlier run measured, by case; nothing where there is no file yet."""
    if path is None or not path.exists():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("schema") != "patchbay.measure_table":
        raise SystemExit(f"--merge: {path} is not what this script writes.")
    return {(result["shape"], result["mode"]): result for result in data["results"]}


def merged(earlier: dict[Case, dict[str, Any]], new: dict[Case, dict[str, Any]]) -> list[dict[str, Any]]:
    """Both in the order of the table. A case that brought nothing this time does not replace one that did."""
    useful = {case: result for case, result in new.items() if "weights_ours" in result or case not in earlier}
    both = earlier | useful
    order = {case: number for number, case in enumerate([*CASES, *SMOKE_CASES])}
    return [both[case] for case in sorted(both, key=lambda case: order.get(case, len(order)))]


def _run(shape: str, mode: str, out: Path, seconds: float) -> dict[str, Any]:
    answer = out / f"measure_{shape}_{mode}.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(CHILD), shape, mode, str(answer)]
    print(f"{shape} {mode} ...", flush=True)
    error = ""
    try:
        done = subprocess.run(command, timeout=seconds, capture_output=True, text=True, check=False)
        error = "" if done.returncode == 0 else (done.stderr or done.stdout)[-3000:]
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
    data = {"schema": "patchbay.measure_table", "version": 1, "results": results}
    (out / "measure_table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (out / "measure_table.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: list[dict[str, Any]]) -> str:
    """The table for people. Differences are relative; a limit that does not hold is marked with ``!``."""
    rows: list[tuple[str, list[str]]] = [("", [f"{result['shape']} {result['mode']}" for result in results])]
    for name, key, unit in _ROWS:
        rows.append((name, [_cell(result.get(key), unit) for result in results]))
    lines = ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows]
    lines.insert(1, "|" + "---|" * (len(results) + 1))
    errors = [
        f"- {result['shape']} {result['mode']}, {part}: {text.strip().splitlines()[-1]}"
        for result in results
        for part, text in (result.get("errors") or {}).items()
        if text.strip()
    ]
    first: dict[str, Any] = next((result["machine"] for result in results if result.get("machine")), {})
    head = ", ".join(str(first[name]) for name in ("device", "torch", "comfyui", "comfy_aimdo") if first.get(name))
    return "\n".join([head, "", *lines, *([""] if errors else []), *errors]) + "\n"


_ROWS = [
    ("resident weights, ours", "weights_ours", "bytes"),
    ("resident weights, driver (in use before less after unloading)", "weights_driver", "bytes"),
    ("difference", "weights_difference", "memory"),
    ("process peak, ours, at least", "peak_low", "bytes"),
    ("process peak, ours, at most", "peak_high", "bytes"),
    ("process peak, driver, polled by another process", "peak_driver", "bytes"),
    ("what the driver told", "driver_source", "text"),
    ("difference of at least", "peak_low_difference", "memory"),
    ("difference of at most", "peak_high_difference", "memory"),
    ("torch's peak, allocated", "torch_allocated", "bytes"),
    ("torch's peak, reserved", "torch_reserved", "bytes"),
    ("nvidia-smi every 250 ms, device in use", "smi_peak", "bytes"),
    ("steady step, ours (ms)", "step_ours", "ms"),
    ("steady step, synchronised (ms)", "step_synchronised", "ms"),
    ("synchronised at every evaluation, ours in the same run against it", "step_difference", "step"),
    ("95 % interval", "step_difference_interval", "text"),
    ("synchronised at the ends only, ours in the same run against it", "step_difference_ends", "step"),
    ("95 % interval", "step_difference_ends_interval", "text"),
    ("what synchronising at every evaluation costs", "step_cost_of_synchronising", "share"),
    ("steady step with the recorder / without", "overhead", "overhead"),
    ("95 % interval", "overhead_interval", "text"),
    ("the same without polling memory", "overhead_no_polling", "overhead"),
    ("95 % interval", "overhead_no_polling_interval", "text"),
    ("whole run with the recorder / without", "overhead_whole", "share"),
    ("host time around one evaluation (µs)", "host_us", "ms"),
    ("first evaluation with a new LoRA (ms)", "first_ms", "ms"),
    ("of that LoRA arithmetic (ms)", "first_lora_ms", "ms"),
    ("loading with a new LoRA (s)", "prepare_s", "ms"),
    ("of that LoRA arithmetic (ms)", "prepare_lora_ms", "ms"),
    ("wall time of the sampling, first with the LoRA (s)", "wall_first_s", "ms"),
    ("wall time of the sampling, again (s)", "wall_warm_s", "ms"),
    ("seconds for this case", "seconds", "ms"),
]


def _cell(value: Any, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value / 2**30:.2f} GiB"
    if unit == "ms":
        return f"{value:.4g}"
    if unit == "share":
        return f"{value:+.2%}"
    if unit in LIMITS:
        return f"{value:+.2%}" + ("" if abs(value) <= LIMITS[unit] else " !")
    return str(value)


if __name__ == "__main__":
    sys.exit(main())

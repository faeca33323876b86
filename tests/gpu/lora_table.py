"""What LoRAs cost, stock ComfyUI against ours: ``python3 tests/gpu/lora_table.py``.

FLUX.2 Klein 4B and 9B shapes with random weights in ComfyUI's two ways of loading, each in a process of its own:
applying, the first run, a change of strength, the steady step, the step with bypass (ours and ComfyUI's), and peak
memory. Writes ``lora_table.json`` and ``lora_table.md`` into ``$OUT`` (or ``--out``); with ``--into FILE`` the cases of
that file which are not measured now are kept. Two runs fill the table, each in less than nine minutes on an H200::

    python3 tests/gpu/lora_table.py --only klein-9b:dynamic,klein-4b:dynamic --seconds 520
    python3 tests/gpu/lora_table.py --only klein-9b:legacy,klein-4b:legacy --seconds 520 --into FIRST.json

``--page docs/gpu.md --into tests/gpu/results/lora_table.json --only none`` measures nothing and writes the table into
the page. ``--smoke`` rehearses on the CPU with a tiny model. ComfyUI comes from ``$PATCHBAY_TEST_COMFYUI`` or from
``.runtime``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHILD = HERE / "lora_child.py"
CASES = [("klein-4b", "dynamic"), ("klein-9b", "dynamic"), ("klein-4b", "legacy"), ("klein-9b", "legacy")]
"""In the order of the columns."""
SHARES = {"klein-9b": 0.64, "klein-4b": 0.36, "tiny": 1.0}
"""Of the time that is left, where a case of each shape waits."""
SMOKE_CASES = [("tiny", "cpu")]
BEGIN, END = "<!-- lora_table: begin -->", "<!-- lora_table: end -->"
"""Around the table in the page."""

Result = dict[str, Any]


def main() -> int:
    """Run the cases; the exit status is 0 if none of them had an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny model on the CPU")
    parser.add_argument("--only", default="", help="cases, for example klein-4b:dynamic,klein-9b:legacy, or none")
    parser.add_argument("--parts", default="", help="of each case, for example applying,unpatched; the rest is kept")
    parser.add_argument("--into", type=Path, help="figures of earlier runs; cases that are measured now replace theirs")
    parser.add_argument("--page", type=Path, help="a Markdown page whose table is written anew")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument("--seconds", "--budget", dest="budget", type=float, default=520.0, help="for all cases")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = json.loads(options.into.read_text(encoding="utf-8"))["results"] if options.into else []
    asked = SMOKE_CASES if options.smoke else CASES
    asked = [case for case in asked if not options.only or ":".join(case) in options.only.split(",")]
    end, measured = time.monotonic() + options.budget, []
    # The largest first: whatever goes wrong is seen early.
    for number, (shape, mode) in enumerate(sorted(asked, key=lambda case: -SHARES[case[0]])):
        waiting = sorted(asked, key=lambda case: -SHARES[case[0]])[number:]
        share = SHARES[shape] / sum(SHARES[case[0]] for case in waiting)
        measured.append(_run(shape, mode, options, (end - time.monotonic()) * share))
        results = merged(results, measured, bool(options.parts))
        _write(options.out, results)
    if options.page is not None:
        write_page(options.page, results)
    print(markdown(results))
    return 0 if all(not result.get("errors") for result in measured) else 1


def merged(old: Sequence[Result], new: Sequence[Result], partly: bool = False) -> list[Result]:
    """The results by case, newer ones in the place of older ones, in the order of :data:`CASES`.

    Args:
        partly: The new ones have some of the figures; the others stay.
    """
    cases: dict[tuple[str, str], Result] = {}
    for result in (*old, *new):
        case = (result["shape"], result["mode"])
        cases[case] = _with_parts(cases[case], result) if partly and case in cases else result
    order = [*CASES, *SMOKE_CASES]
    return [cases[case] for case in sorted(cases, key=lambda case: order.index(case) if case in order else len(order))]


def _with_parts(whole: Result, parts: Result) -> Result:
    """The earlier figures of a case with those of some parts measured again; its time stays that of all parts."""
    again = parts.get("part_seconds", {})
    errors = {name: text for name, text in whole.get("errors", {}).items() if name not in again}
    kept = {key: whole[key] for key in ("seconds", "machine") if key in whole}
    seconds = {**whole.get("part_seconds", {}), **again}
    return {**whole, **parts, **kept, "part_seconds": seconds, "errors": {**errors, **parts.get("errors", {})}}


def _run(shape: str, mode: str, options: argparse.Namespace, seconds: float) -> Result:
    answer = options.out / f"lora_{shape}_{mode}.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, str(CHILD), shape, mode, str(answer), str(seconds - 10), options.parts]
    error = ""
    try:
        done = subprocess.run(command, timeout=seconds, stderr=subprocess.PIPE, text=True, check=False)
        error = "" if done.returncode == 0 else done.stderr[-3000:]
    except subprocess.TimeoutExpired as late:
        error = f"ended after {seconds:.0f} s: {(late.stderr or b'')[-1500:]!r}"
    result: Result = {"shape": shape, "mode": mode}
    if answer.exists():
        result |= json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
    if error:
        result.setdefault("errors", {})["process"] = error
        print(error, flush=True)
    return result


def _write(out: Path, results: Sequence[Result]) -> None:
    data = {"schema": "patchbay.lora_table", "version": 1, "results": results}
    (out / "lora_table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (out / "lora_table.md").write_text(markdown(results), encoding="utf-8")


def write_page(page: Path, results: Sequence[Result]) -> None:
    """Put the table between its marks in a Markdown page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page}: expected {BEGIN} and {END} around the table")
    short = "\n".join(f"* {line}" for line in in_short(results))
    page.write_text(f"{before}{BEGIN}\n\n{short}\n\n{markdown(results)}\n{END}{after}", encoding="utf-8")


def in_short(results: Sequence[Result]) -> list[str]:
    """What the figures say, one sentence for each question; cases that lack a figure are left out."""

    def each(sentence: str, figures: Callable[[Result], tuple[float, ...]]) -> str:
        found: list[str] = []
        for result in results:
            try:
                found.append(f"{result['shape']} {result['mode']} {sentence.format(*figures(result))}")
            except (KeyError, TypeError, ZeroDivisionError):
                continue
        return "; ".join(found) or "not measured"

    equal = all(result.get("restage_equal", True) for result in results)
    return [
        "**A merged LoRA costs nothing per step** (merged compared with unpatched): "
        + each("{:+.1%}", lambda r: (r["merge_ours_step_ms"] / r["step_base_ms"] - 1,))
        + ". Its cost is paid in the first step after a change.",
        "**Changing one block** adds to a warm run: "
        + each(
            "{:.0f} ms, ComfyUI's own loading {:.0f}",
            lambda r: (r["restage_block_ours_ms"], r["restage_block_core_ms"]),
        )
        + ". ComfyUI marks every module as changed when any patch changes; the pack keeps those whose patches are the "
        "same ([restaging.py](../nodes/host/restage/restaging.py)). "
        + ("The picture is bit-identical." if equal else "THE PICTURE DIFFERS."),
        "**Bypass** adds to a step of the unpatched model: "
        + each(
            "{:+.1%}, ComfyUI's {:+.1%} (a share of {:.2f})",
            lambda r: (r["bypass_ratio_ours"] - 1, r["bypass_ratio_core"] - 1, r["bypass_share_of_core"]),
        )
        + ".",
        "**A new strength for a file already loaded** takes in the node: "
        + each("{:.0f} ms, ComfyUI's loader {:.0f}", lambda r: (r["apply_ours_ms"], r["apply_stock_ms"]))
        + ".",
    ]


_ROWS = [
    ("**applying: the node's own time, ms**", "", ""),
    ("stock LoRA loader, file read each time", "apply_stock_ms", "ms"),
    ("stock LoRA loader, a file for the first time", "apply_stock_first_ms", "ms"),
    ("ours, a file for the first time", "apply_ours_first_ms", "ms"),
    ("ours, the first file of all on this model", "apply_ours_very_first_ms", "ms"),
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
    ("without a LoRA", "product_layer_us", "ms"),
    ("ours, the term in the layer's own product", "product_inside_us", "ms"),
    ("the term added afterwards", "product_after_us", "ms"),
    ("ComfyUI's: product, scaled, added", "product_with_core_us", "ms"),
    ("**what `cheapest` calculates with, ms per GB of patched weights**", "", ""),
    ("staging with another strength, ours", "stage_ms_per_gb", "step"),
    ("bypass, each step", "bypass_ms_per_gb", "small"),
    ("seconds for this case", "seconds", "ms"),
]


def markdown(results: Sequence[Result]) -> str:
    """The table for people."""
    results = [result | costs(result) for result in results]
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
        for name in ("device", "torch", "comfyui", "comfy-aimdo", "comfy-kitchen", "dtype", "rank")
        if name in machine
    )
    return "\n".join([head, "", *lines, *([""] if errors else []), *errors]) + "\n"


def costs(result: Result) -> dict[str, float]:
    """What ``cheapest`` calculates with (:mod:`nodes.core.method_choice`), from the figures of one case."""
    hidden, blocks = {"klein-4b": (3072, 2 * 5 + 20), "klein-9b": (4096, 2 * 8 + 24)}.get(result["shape"], (0, 0))
    # bf16; a stream of a double block has as many weights as a single block
    gigabytes = 2 * 13 * hidden**2 * blocks / 1e9
    found: dict[str, float] = {}
    for name, more, less in (
        ("stage_ms_per_gb", "merge_ours_change_ms", "merge_ours_warm_ms"),
        ("bypass_ms_per_gb", "step_ours_ms", "step_base_ms"),
    ):
        if gigabytes and result.get(more) is not None and result.get(less) is not None:
            found[name] = (result[more] - result[less]) / gigabytes
    return found


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

"""What a LoRA that was taught to another model does there, and what that costs: ``python3 tests/gpu/teach_table.py``.

Every student of Klein Nano's base in a process of its own, all at once on one GPU: taught by the pack's own code,
scored in pictures against the truth (24 captions that no LoRA saw, or the ten of the concept; two noises), with plain
1.0, the renumbered LoRA and one that was trained there beside it. ``upper`` trains the LoRA of wide on wide itself with
the lab's own training. Then, alone, seconds a step and peak memory at FLUX.2 Klein 4B's shapes with random weights,
1024 x 1024, with a bf16 and an int8 base. Less than nine minutes on an H200; ``--seconds`` is the limit.

Writes ``teach_table.json`` into ``$OUT`` (or ``--out``). Needs the pictures (``tests/lab/pictures.py``), and with
``--students`` the students and the LoRAs trained on them. ``--smoke`` rehearses all of it on the CPU with few steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHILD = HERE / "teach_child.py"
JOBS = ("upper", "wide", "concept", "pruned", "distilled", "mild", "strong")
APART = ("apart-pruned", "apart-distilled", "apart-mild", "apart-strong")
"""How far students are from the base without a LoRA: what the limits of ``own_picture_share`` lie between."""
COSTS = ("klein-4b:bf16", "klein-4b:int8")
SMOKE_COSTS = ("tiny:bf16", "tiny:int8")
COST_SECONDS = 90.0
DRAWS = 4000


def main() -> int:
    """Run the jobs; the exit status is 0 if none of them had an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few steps, tiny model for the costs, on the CPU")
    parser.add_argument("--students", type=Path, default=ROOT / ".lab" / "students")
    parser.add_argument("--data", type=Path, default=ROOT / ".lab" / "data.npz")
    parser.add_argument("--only", default="", help="jobs, for example wide,upper,klein-4b:int8")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
    parser.add_argument("--seconds", type=float, default=530.0, help="for everything")
    parser.add_argument("--gpus", type=int, default=1, help="the jobs take turns on so many")
    parser.add_argument("--into", type=Path, help="figures of earlier runs; jobs that are run now replace theirs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.seconds
    costs = [name for name in (SMOKE_COSTS if options.smoke else COSTS) if _wanted(options, name)]
    jobs = [name for name in (*APART, *JOBS) if _wanted(options, name)]
    results: dict[str, Any] = json.loads(options.into.read_text(encoding="utf-8"))["results"] if options.into else {}
    _run(jobs, options, end - COST_SECONDS * len(costs), results)
    for name in costs:
        _run([name], options, min(end, time.monotonic() + COST_SECONDS), results)
    print(json.dumps(_summary(results), indent=1))
    return 0 if all("error" not in result for result in results.values()) else 1


def _wanted(options: argparse.Namespace, name: str) -> bool:
    return not options.only or name in options.only.split(",")


def _run(names: Sequence[str], options: argparse.Namespace, end: float, results: dict[str, Any]) -> None:
    """Run jobs side by side until they are done or the time is up, and write what there is after each."""
    running: dict[str, tuple[subprocess.Popen[bytes], Path, Path]] = {}
    for number, name in enumerate(names):
        stem = name.replace(":", "_")
        answer, log = options.out / f"teach_{stem}.json", options.out / f"teach_{stem}.log"
        answer.unlink(missing_ok=True)
        command = [
            sys.executable, str(CHILD), name, str(answer), "--students", str(options.students), "--data",
            str(options.data), "--steps", str(options.steps), "--seconds", str(end - time.monotonic() - 25),
            *(["--smoke"] if options.smoke else []),
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if options.gpus > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(number % options.gpus)
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        running[name] = (process, answer, log)
        if options.smoke:
            process.wait()
    for name, (process, answer, log) in running.items():
        try:
            status = process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        found = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
        answer.unlink(missing_ok=True)
        if status:
            found["error"] = f"ended with status {status}: " + log.read_text(encoding="utf-8", errors="replace")[-2500:]
            print(f"{name}: {found['error']}", flush=True)
        else:
            log.unlink(missing_ok=True)
        results[name] = found
        data = {"schema": "patchbay.teach_table", "version": 1, "results": results, "summary": _summary(results)}
        (options.out / "teach_table.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _summary(results: dict[str, Any]) -> dict[str, Any]:
    """PSNR of every way with its 95 % interval over the captions, and gains of the taught one."""
    found: dict[str, Any] = {}
    for name, result in results.items():
        ways = result.get("psnr", {})
        found[name] = {way: mean_interval(values) for way, values in ways.items()}
        if "taught" in ways:
            for other in ways.keys() - {"taught"}:
                pairs = zip(ways["taught"], ways[other], strict=True)
                found[name][f"taught over {other}"] = mean_interval([own - theirs for own, theirs in pairs])
        found[name] = result.get("cost") or result.get("apart") or found[name]
    upper, wide = (results.get(name, {}).get("psnr", {}) for name in ("upper", "wide"))
    if "trained there" in upper and "taught" in wide:
        pairs = zip(wide["taught"], upper["trained there"], strict=True)
        found["wide"]["taught over trained there"] = mean_interval([own - theirs for own, theirs in pairs])
    return found


def mean_interval(units: Sequence[float]) -> list[float]:
    """Mean and 95 % percentile interval of captions drawn with replacement."""
    dice = random.Random(0)
    means = sorted(sum(dice.choices(units, k=len(units))) / len(units) for _ in range(DRAWS))
    ends = (means[round(0.025 * (DRAWS - 1))], means[round(0.975 * (DRAWS - 1))])
    return [round(value, 3) for value in (sum(units) / len(units), *ends)]


if __name__ == "__main__":
    sys.exit(main())

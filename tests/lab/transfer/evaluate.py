"""Does a style LoRA of the base do the same on the base's students, and does anything make it do so?

``evaluate.py --comfyui PATH --students .lab/students`` measures, for every student that is there, the output error and
the PSNR to the true styled picture of every way to set strengths, of the refit LoRA and of a LoRA trained on the
student itself. The work is split into one process for each student and fit (``--jobs``), on the CPU. Results go to
``results.json``; ``table.py`` makes the page of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))  # the lab's own evaluate.py, which students_bench.py uses, before this one

from students_bench import (  # noqa: E402
    ASSUMED,
    FIT_PROMPTS,
    FIT_SEEDS,
    PLAIN,
    Bench,
    Student,
    find_students,
    measure_fit,
    measure_scale,
)

DRAWS = 4000
SCALE = "scale"
"""The task that measures the yardstick: the LoRA on its own model at strengths around 1."""


def run_tasks(args: argparse.Namespace, students: Sequence[Student]) -> None:
    """Every task in a process of its own, ``--jobs`` at a time; one that is done already is not run again."""
    args.scratch.mkdir(parents=True, exist_ok=True)
    tasks = [(student.name, seed) for seed in range(args.seeds) for student in students] + [(SCALE, 0)]
    common = [
        sys.executable, str(Path(__file__).resolve()), "--comfyui", str(args.comfyui), "--models", str(args.models),
        "--data", str(args.data), "--scratch", str(args.scratch), "--every", str(args.every), "--style", args.style,
        *(["--students", str(args.students)] if args.students else []),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def run(task: tuple[str, int]) -> None:
        if part_of(args, *task).exists():
            return
        started = time.monotonic()
        log = args.scratch / f"{task[0]}-{task[1]}.log"
        with log.open("w") as file:
            command = [*common, "--task", f"{task[0]}:{task[1]}"]
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
        if code:
            raise SystemExit(f"{task[0]}, fit {task[1]} failed:\n{log.read_text()[-3000:]}")
        print(f"{task[0]}, fit {task[1]}: {time.monotonic() - started:.0f} s", flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run, tasks))


def part_of(args: argparse.Namespace, name: str, seed: int) -> Path:
    """Where a task leaves what it measured: a file for these very models, LoRAs and captions."""
    stamp = hashlib.sha256(f"{args.style} {args.every}".encode())
    student = next((each for each in find_students(args.models, args.students, args.style) if each.name == name), None)
    used = [args.data, args.models / "diffusion_models" / "klein-nano-base.safetensors"]
    used += [args.models / "loras" / f"klein-nano-{args.style}.safetensors"]
    used += [student.path, student.own_lora] if student else []
    for path in used:
        stamp.update(path.read_bytes() if path.exists() else b"none")
    return args.scratch / f"{name}-{seed}-{stamp.hexdigest()[:8]}.json"


def gather(args: argparse.Namespace, student: Student) -> dict[str, Any]:
    """The parts of one student as one result: for every caption the mean over fits and noises."""
    parts = [json.loads(part_of(args, student.name, seed).read_text()) for seed in range(args.seeds)]
    measured = {
        way: {
            figure: [
                sum(values) / len(values)
                for values in zip(*(part["ways"][way][figure] for part in parts), strict=True)
            ]
            for figure in ("psnr", "error")
        }
        for way in parts[0]["ways"]
    }
    return {
        "steps": student.steps,
        "transfer": parts[0]["transfer"],
        "guidance": [part["guidance"] for part in parts],
        "node_returned": [part["node_returned"] for part in parts],
        "node_said": [part["node_said"] for part in parts],
        "assumed_returned": [part["assumed_returned"] for part in parts],
        "strengths": [part["strengths"] for part in parts],
        "ways": summarise(measured),
    }


def summarise(measured: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Means, and gains over plain 1.0 with bootstrap intervals over the captions."""
    plain = measured[PLAIN]
    found = {}
    for name, values in measured.items():
        found[name] = {
            "psnr": mean_interval(values["psnr"]),
            "psnr_median": round(sorted(values["psnr"])[len(values["psnr"]) // 2], 2),
            "psnr_gain": mean_interval([a - b for a, b in zip(values["psnr"], plain["psnr"], strict=True)]),
            "error": mean_interval(values["error"]),
            "error_gain": mean_interval([b - a for a, b in zip(values["error"], plain["error"], strict=True)]),
        }
    return found


def mean_interval(units: Sequence[float]) -> list[float]:
    """Mean and 95 % percentile interval of captions drawn with replacement."""
    dice = random.Random(0)
    means = sorted(sum(dice.choices(units, k=len(units))) / len(units) for _ in range(DRAWS))
    ends = (means[round(0.025 * (DRAWS - 1))], means[round(0.975 * (DRAWS - 1))])
    return [round(value, 4) for value in (sum(units) / len(units), *ends)]


def run_task(args: argparse.Namespace) -> None:
    """Measure one part and write it."""
    name, _, seed = args.task.partition(":")
    bench = Bench(args)
    if name == SCALE:
        part = measure_scale(bench)
    else:
        student = next(each for each in find_students(args.models, args.students, args.style) if each.name == name)
        part = measure_fit(bench, student, int(seed))
    path = part_of(args, name, int(seed))
    path.with_suffix(".tmp").write_text(json.dumps(part))
    path.with_suffix(".tmp").replace(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--students", type=Path, help="folder of students that do not ship")
    parser.add_argument("--only", default="", help="names of students, with commas")
    parser.add_argument("--style", default="duotone")
    parser.add_argument("--data", type=Path, default=ROOT / ".lab" / "data.npz")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--scratch", type=Path, default=ROOT / ".lab" / "transfer", help="parts and logs, for going on")
    parser.add_argument("--seeds", type=int, default=3, help="fits, and noises for each test caption")
    parser.add_argument("--every", type=int, default=1, help="every so-many-th test caption")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--task", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure what is not measured yet, and write the results."""
    args = parse_arguments()
    if args.task:
        run_task(args)
        return
    wanted = set(filter(None, args.only.split(",")))
    students = [s for s in find_students(args.models, args.students, args.style) if not wanted or s.name in wanted]
    run_tasks(args, students)
    results = json.loads(args.out.read_text()) if wanted and args.out.exists() else {}
    scale = json.loads(part_of(args, SCALE, 0).read_text())
    results["protocol"] = {
        "style": args.style, "assumed_guidance": ASSUMED, "fits": args.seeds, "fit_prompts": FIT_PROMPTS,
        "fit_seeds": FIT_SEEDS, "test_captions": scale["test_captions"], "noises": args.seeds,
        "scale_captions": scale["captions"],
    }  # fmt: skip
    results["scale"] = {name: summarise(scale["ways"])[name] for name in scale["ways"]}
    for student in students:
        results.setdefault("students", {})[student.name] = gather(args, student)
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

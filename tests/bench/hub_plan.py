"""A plan for a hub of 10 million files: time, requests, bytes, cost, and where the limit lies, by simulation.

    python tests/bench/hub_plan.py [--workers 1 10 100 1000] [--seed 0]

What a file and a task cost is measured (``scale_bench.py workers`` and ``travel``) and given as options; what nobody
here can measure - the round trip to the hub, its rate limit, prices - is an assumption and printed as one. Each worker
takes a task of 16 files, as ``scan --cluster`` does, and reads one file after the other: a request, its bytes, the
reading. The scheduler hands out one task after the other. The hub answers no more than so many requests a second, all
workers together. A worker dies at random, its task is done again by another, and it comes back. Needs numpy. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from dataclasses import asdict, dataclass

import numpy as np

CHUNK = 16
"""Files of a task, as in ``nodes/core/check/cluster.py``."""
LISTED = 1000
"""Files of one answer to a listing, as hubs and S3 give them."""


@dataclass(frozen=True)
class Inputs:
    """What the plan is made of."""

    files: int = 10_000_000
    ms_a_file: float = 4.0
    """Measured: one process reading and judging a file of this machine."""
    ms_a_task: float = 1.0
    """Measured: what a task costs scheduler and client."""
    kb_a_file: float = 256.0
    """Measured: bytes of the one request; a smaller file is whole in it."""
    requests_a_file: float = 1.0
    """Measured."""
    round_trip_ms: float = 80.0
    """Assumed: median; lognormal with sigma 0.5."""
    mbit_a_worker: float = 200.0
    """Assumed."""
    limit_a_second: float = 0.0
    """Assumed: requests that the hub answers a second, 0 for no limit."""
    hours_to_death: float = 24.0
    """Assumed: mean time until a worker dies; it is back after two minutes."""
    worker_price: float = 0.05
    """Assumed: for an hour of a worker with one core, in dollars."""
    scheduler_price: float = 0.2
    """Assumed: for an hour of the machine that schedules."""


@dataclass(frozen=True)
class Plan:
    """What one simulation found."""

    workers: int
    hours: float
    requests: int
    terabytes: float
    dollars: float
    redone: int
    """Tasks that a dying worker had begun."""
    limit: str
    """What the workers waited for most."""


def simulate(inputs: Inputs, workers: int, seed: int = 0) -> Plan:
    """Run the whole hub through ``workers`` workers."""
    random = np.random.default_rng(seed)
    tasks = -(-inputs.files // CHUNK)
    own_s = CHUNK * (inputs.ms_a_file / 1e3 + inputs.kb_a_file * 8e-3 / inputs.mbit_a_worker)
    trips = (
        random.lognormal(np.log(inputs.round_trip_ms / 1e3), 0.5, (tasks, CHUNK)).sum(axis=1) * inputs.requests_a_file
    )
    lengths = own_s + trips
    deaths = random.exponential(inputs.hours_to_death * 3600, tasks)
    step_s = inputs.ms_a_task / 1e3
    allowed_s = CHUNK * inputs.requests_a_file / inputs.limit_a_second if inputs.limit_a_second else 0.0
    free = [0.0] * workers
    heapq.heapify(free)
    scheduler = hub = end = 0.0
    waits = {"the workers": float(lengths.sum()), "the scheduler": 0.0, "the hub's limit": 0.0}
    redone = 0
    for number in range(tasks):
        at = heapq.heappop(free)
        begun = max(at, scheduler)
        scheduler = begun + step_s
        waits["the scheduler"] += scheduler - at
        start = max(scheduler, hub)
        waits["the hub's limit"] += start - scheduler
        hub = start + allowed_s
        finished = start + float(lengths[number])
        if deaths[number] < lengths[number]:  # it dies within the task: another one does it, which costs the task again
            redone += 1
            finished += float(lengths[number]) + 120.0
        heapq.heappush(free, finished)
        end = max(end, finished)
    hours = end / 3600
    requests = round((inputs.files + redone * CHUNK) * inputs.requests_a_file) + -(-inputs.files // LISTED)
    dollars = hours * (workers * inputs.worker_price + inputs.scheduler_price)
    limit = max(waits, key=lambda name: waits[name])
    return Plan(workers, hours, requests, requests * inputs.kb_a_file / 1e9, dollars, redone, limit)


def table(plans: list[Plan]) -> str:
    """The plans as Markdown."""
    rows = [
        "| workers | time | requests | travelled | cost | tasks done again | waits most for |",
        "|---|---|---|---|---|---|---|",
    ]
    for plan in plans:
        cells = (
            str(plan.workers), f"{plan.hours:.1f} h", f"{plan.requests / 1e6:.2f} million", f"{plan.terabytes:.2f} TB",
            f"${plan.dollars:.0f}", str(plan.redone), plan.limit,
        )  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    """Print the plan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seed", type=int, default=0)
    for name, value in asdict(Inputs()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    inputs = Inputs(**{name: getattr(options, name) for name in asdict(Inputs())})
    print(json.dumps(asdict(inputs)))
    print(table([simulate(inputs, workers, options.seed) for workers in options.workers]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Cells over servers: dask.distributed schedules, one worker of its for each server, whose own queue does the work.

A worker holds two prompts at a time: one that runs and one that waits, so that the server is never idle while a picture
travels. What a server that is gone was doing goes to another one; a cell that a server refuses or fails, because it
lacks the model or has too little memory, is tried on every other server before it counts as failed. Which server made a
cell changes nothing in it: the noise comes from the prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import PatchbayError
from .server import Outcome, Prompt, Server

INSTALL = "Install with: python -m pip install distributed"
PROMPTS_A_SERVER = 2
_START = "20s"

Arrived = Callable[[str, Outcome], None]
"""Takes the key of a cell and what came of it, at the end of all tries."""


@dataclass(frozen=True)
class Work:
    """What is to be made."""

    prompts: Mapping[str, Prompt]
    """By key."""
    output: str
    timeout_s: float
    client: str


@dataclass
class Spread:
    """What became of the servers."""

    gone: dict[str, str]
    """By address: why it is given nothing more."""


def make_one(address: str, client: str, prompt: Prompt, output: str, timeout_s: float) -> Outcome:
    """One prompt on one server: one task."""
    return Server(address, client).make(prompt, output, timeout_s)


def make_on_worker(client: str, prompt: Prompt, output: str, timeout_s: float) -> Outcome:
    """One prompt on the server that this worker stands for."""
    from distributed import get_worker

    return make_one(str(get_worker().name), client, prompt, output, timeout_s)


def run_cells(addresses: Sequence[str], work: Work, arrived: Arrived, cluster: str = "") -> Spread:
    """Make every cell; each arrives once.

    One server needs no scheduler. Several need dask.distributed: a scheduler in this process, or, with ``cluster``, one
    that runs already, whose workers are named after the servers (``dask worker tcp://scheduler --name
    http://gpu3:8188``).

    Raises:
        PatchbayError: dask.distributed is missing or its scheduler does not answer, or every server is gone.
    """
    if len(addresses) == 1 and not cluster:
        return _run_alone(addresses[0], work, arrived)
    with _engine(addresses, cluster) as client:
        return _Scheduler(client, addresses, work, arrived, bool(cluster)).run()


def _run_alone(address: str, work: Work, arrived: Arrived) -> Spread:
    for key, prompt in work.prompts.items():
        outcome = make_one(address, work.client, prompt, work.output, work.timeout_s)
        if outcome.gone:
            raise PatchbayError(f"{outcome.problem} What was made stays: the same command goes on from there.")
        arrived(key, outcome)
    return Spread({})


@contextmanager
def _engine(addresses: Sequence[str], cluster: str) -> Iterator[Any]:
    try:
        import distributed
    except ImportError as error:
        raise PatchbayError(f"several servers need distributed, not installed here. {INSTALL}") from error
    if cluster:
        try:
            client = distributed.Client(cluster, timeout=_START, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise PatchbayError(f"{cluster}: no scheduler answers there; start one with 'dask scheduler'.") from error
        with client:
            yield client
        return
    workers = {
        address: {
            "cls": distributed.Worker,
            "options": {"nthreads": PROMPTS_A_SERVER, "name": address, "dashboard": False},
        }
        for address in addresses
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard": False, "port": 0, "host": "127.0.0.1"}}
    quiet: Any = logging.ERROR  # a level, whatever the signature says
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=quiet) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


class _Scheduler:
    """Hands cells to dask, restricted to the servers that may still make them."""

    def __init__(self, client: Any, addresses: Sequence[str], work: Work, arrived: Arrived, foreign: bool) -> None:
        self._client, self._work, self._arrived = client, work, arrived
        self._foreign = foreign
        self._servers = self._workers(addresses)
        self._tried: dict[str, dict[str, str]] = {key: {} for key in work.prompts}
        """By cell: why which server did not make it."""
        self._gone: dict[str, str] = {}

    def run(self) -> Spread:
        from distributed import as_completed

        keys = {self._submit(key): key for key in self._work.prompts}
        waiting = as_completed(list(keys), loop=self._client.loop)
        for future in waiting:
            key = keys.pop(future)
            outcome = self._outcome(future)
            if outcome.picture is not None:
                self._arrived(key, outcome)
                continue
            self._learn(key, outcome)
            if self._left(key):
                again = self._submit(key)
                keys[again] = key
                waiting.add(again)
            elif len(self._gone) == len(self._servers):
                reasons = "; ".join(self._gone.values())
                raise PatchbayError(
                    f"no server is left: {reasons} What was made stays: the same command goes on from there."
                )
            else:
                self._arrived(key, Outcome("", problem=self._why(key)))
        return Spread(self._gone)

    def _workers(self, addresses: Sequence[str]) -> dict[str, str]:
        """The servers' addresses with those of the workers that stand for them."""
        self._client.wait_for_workers(1, timeout=_START)
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        named = {str(worker["name"]): address for address, worker in known.items()}
        missing = [address for address in addresses if address not in named]
        if missing:
            raise PatchbayError(
                f"no worker of the cluster is named {missing[0]}; start one with 'dask worker ... --name {missing[0]} "
                f"--nthreads {PROMPTS_A_SERVER}'."
            )
        return {address: named[address] for address in addresses}

    def _left(self, key: str) -> list[str]:
        return [each for each in self._servers if each not in self._gone and each not in self._tried[key]]

    def _submit(self, key: str) -> Any:
        work, left = self._work, self._left(key)
        # Without a restriction dask holds tasks back until a worker is free, so that a fast server makes more of them.
        workers = (
            [self._servers[address] for address in left] if self._foreign or len(left) < len(self._servers) else None
        )
        return self._client.submit(
            make_on_worker, work.client, work.prompts[key], work.output, work.timeout_s, workers=workers, pure=False
        )

    def _outcome(self, future: Any) -> Outcome:
        try:
            return future.result()
        except Exception as error:  # what a worker raises comes here as it is: it died, or lacks this package
            return Outcome("", problem=f"{type(error).__name__}: {error}")

    def _learn(self, key: str, outcome: Outcome) -> None:
        if outcome.gone:
            self._gone.setdefault(outcome.address, outcome.problem)
        elif outcome.address:
            self._tried[key][outcome.address] = outcome.problem
        else:
            self._tried[key].update(dict.fromkeys(self._left(key), outcome.problem))

    def _why(self, key: str) -> str:
        reasons = {**self._tried[key], **self._gone}
        said = dict.fromkeys(reasons.values())
        return "; ".join(said) if len(said) == 1 else "; ".join(f"{at}: {why}" for at, why in reasons.items())

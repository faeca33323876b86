"""Cells over servers: dask.distributed schedules, one worker of its for each server, whose own queue does the work.

A worker holds two prompts at a time: one that runs and one that waits, so that the server is never idle while a picture
travels. What a server that is gone was doing goes to another one; a cell that a server refuses or fails, because it
lacks the model or has too little memory, is tried on every other server before it counts as failed. Which server made a
cell changes nothing in it: the noise comes from the prompt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import PatchbayError
from .server import Outcome, Prompt, Server

INSTALL = "Install with: python -m pip install distributed"
PROMPTS_A_SERVER = 2
_START = "20s"
_PATIENCE_S = 5.0
"""How long workers are waited for that are not registered, and how often those that are at work are looked for."""
_PAUSE_S = 0.02
GO_ON = "What was made stays: the same command goes on from there."

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


class Runner(Protocol):
    """Servers at work, for as many rounds as there are."""

    @property
    def gone(self) -> dict[str, str]:
        """By address: why a server is given nothing more."""
        ...

    def run(self, work: Work, arrived: Arrived) -> None:
        """Make every cell; each arrives once.

        Raises:
            PatchbayError: every server is gone.
        """
        ...


def make_one(address: str, client: str, prompt: Prompt, output: str, timeout_s: float) -> Outcome:
    """One prompt on one server: one task."""
    return Server(address, client).make(prompt, output, timeout_s)


def make_on_worker(client: str, prompt: Prompt, output: str, timeout_s: float) -> Outcome:
    """One prompt on the server that this worker stands for."""
    from distributed import get_worker

    return make_one(str(get_worker().name), client, prompt, output, timeout_s)


@contextmanager
def servers_at_work(addresses: Sequence[str], cluster: str = "") -> Iterator[Runner]:
    """The servers, ready for work.

    One server needs no scheduler. Several need dask.distributed: a scheduler in this process, or, with ``cluster``, one
    that runs already, whose workers are named after the servers (``dask worker tcp://scheduler --name
    http://gpu3:8188``).

    Raises:
        PatchbayError: dask.distributed is missing or its scheduler does not answer.
    """
    if len(addresses) == 1 and not cluster:
        yield _Alone(addresses[0])
        return
    with _engine(addresses, cluster) as client:
        yield _Scheduler(client, addresses, bool(cluster))


class _Alone:
    """One server, which is given one cell after another."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.gone: dict[str, str] = {}

    def run(self, work: Work, arrived: Arrived) -> None:
        for key, prompt in work.prompts.items():
            outcome = make_one(self._address, work.client, prompt, work.output, work.timeout_s)
            if outcome.gone:
                raise PatchbayError(f"{outcome.problem} {GO_ON}")
            arrived(key, outcome)


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
    """Hands cells to dask, restricted to the servers that may still make them. A server that is gone stays gone."""

    def __init__(self, client: Any, addresses: Sequence[str], foreign: bool) -> None:
        self._client, self._foreign = client, foreign
        self._servers = self._workers(addresses)
        self._next_look = 0.0
        self.gone: dict[str, str] = {}

    def run(self, work: Work, arrived: Arrived) -> None:
        from distributed import as_completed

        tried: dict[str, dict[str, str]] = {key: {} for key in work.prompts}
        given = dict(self._submit(work, key, self._left({})) for key in work.prompts)
        waiting = as_completed(list(given), loop=self._client.loop)
        while given:
            if not waiting.has_ready():
                self._look(given)
                continue
            future = next(waiting)
            key, _ = given.pop(future)
            if not future.cancelled():
                outcome = self._outcome(future)
                if outcome.picture is not None:
                    arrived(key, outcome)
                    continue
                self._learn(tried[key], outcome)
            left = self._left(tried[key])
            if left:
                again, about = self._submit(work, key, left)
                given[again] = about
                waiting.add(again)
            elif len(self.gone) == len(self._servers):
                raise PatchbayError(f"no server is left: {'; '.join(self.gone.values())} {GO_ON}")
            else:
                arrived(key, Outcome("", problem=self._why(tried[key])))

    def _look(self, given: Mapping[Any, tuple[str, tuple[str, ...]]]) -> None:
        """While nothing is ready: take back what no worker can do any more, because those that may do it have left."""
        time.sleep(_PAUSE_S)
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _PATIENCE_S
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        named = {str(worker["name"]): address for address, worker in known.items()}
        for address, worker in self._servers.items():
            if worker not in known and address in named:  # it was started anew
                self._servers[address] = named[address]
            elif worker not in known:
                self.gone.setdefault(address, f"{address}: its worker has left the cluster.")
        for future, (_, workers) in given.items():
            if not any(worker in known for worker in workers):
                future.cancel()

    def _workers(self, addresses: Sequence[str]) -> dict[str, str]:
        """The servers' addresses with those of the workers that stand for them; a worker may be about to register."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            known = self._client.scheduler_info(n_workers=-1)["workers"]
            named = {str(worker["name"]): address for address, worker in known.items()}
            missing = [address for address in addresses if address not in named]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
        if missing:
            raise PatchbayError(
                f"no worker of the cluster is named {missing[0]}; start one with 'dask worker ... --name {missing[0]} "
                f"--nthreads {PROMPTS_A_SERVER}'."
            )
        return {address: named[address] for address in addresses}

    def _left(self, tried: Mapping[str, str]) -> list[str]:
        return [each for each in self._servers if each not in self.gone and each not in tried]

    def _submit(self, work: Work, key: str, left: Sequence[str]) -> tuple[Any, tuple[str, tuple[str, ...]]]:
        """A cell as a task of dask, with its key and the workers that may do it."""
        workers = tuple(self._servers[address] for address in left)
        # Without a restriction dask holds tasks back until a worker is free, so that a fast server makes more of them.
        asked = list(workers) if self._foreign or len(left) < len(self._servers) else None
        future = self._client.submit(
            make_on_worker, work.client, work.prompts[key], work.output, work.timeout_s, workers=asked, pure=False
        )
        return future, (key, workers)

    def _outcome(self, future: Any) -> Outcome:
        try:
            return future.result()
        except Exception as error:  # what a worker raises comes here as it is: it died, or lacks this package
            return Outcome("", problem=f"{type(error).__name__}: {error}")

    def _learn(self, tried: dict[str, str], outcome: Outcome) -> None:
        """Note which server did not make a cell, and why."""
        if outcome.gone:
            self.gone.setdefault(outcome.address, outcome.problem)
        elif outcome.address:
            tried[outcome.address] = outcome.problem
        else:
            tried.update(dict.fromkeys(self._left(tried), outcome.problem))

    def _why(self, tried: Mapping[str, str]) -> str:
        reasons = {**tried, **self.gone}
        said = dict.fromkeys(reasons.values())
        return "; ".join(said) if len(said) == 1 else "; ".join(f"{at}: {why}" for at, why in reasons.items())

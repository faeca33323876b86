"""The servers of a command: its options about them, which of them answer, and two runs of one cell on each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...errors import PatchbayError
from ..exits import UsageError
from .server import Outcome, Prompt, Server, ServerFacts, ServerGone

DEFAULT_SERVER = "http://127.0.0.1:8188"
TIMEOUT_S = 1800.0


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """What every command takes that has its pictures made by running servers."""
    parser.add_argument("-o", "--output-folder", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--servers", default=DEFAULT_SERVER, metavar="URL,URL", help=f"default: {DEFAULT_SERVER}")
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="dask.distributed scheduler with a worker named as each server"
    )
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="seconds for one picture")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="hide the progress counter")


def reach(text: str, client: str) -> tuple[list[Server], dict[str, ServerFacts], dict[str, str]]:
    """The servers that answer, with what they say of themselves, and why the others do not."""
    addresses = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not addresses:
        raise UsageError("--servers: expected one address or more, such as http://127.0.0.1:8188.")
    servers: list[Server] = []
    facts: dict[str, ServerFacts] = {}
    gone: dict[str, str] = {}
    for address in addresses:
        server = Server(address, client)
        try:
            facts[server.address] = server.facts()
            servers.append(server)
        except ServerGone as error:
            facts[server.address] = ServerFacts(server.address)
            gone[server.address] = str(error)
    if not servers:
        raise PatchbayError("; ".join(gone.values()))
    return servers, facts, gone


def run_twice(prompt: Prompt, output: str, servers: Sequence[Server], timeout: float) -> dict[str, list[Outcome]]:
    """One cell, twice on every server: it forgets what it made in between."""
    found: dict[str, list[Outcome]] = {}
    for server in servers:
        first = server.make(prompt, output, timeout)
        found[server.address] = [first]
        if first.picture is not None:
            server.forget()
            found[server.address].append(server.make(prompt, output, timeout))
    return found

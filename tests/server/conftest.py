"""Servers beside the one that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.server import ComfyServer, free_port


@pytest.fixture
def two_servers(comfy_server: ComfyServer, tmp_path: Path) -> Iterator[list[ComfyServer]]:
    """Two more servers; the second does not have the LoRA that is made here."""
    servers = []
    for name in "ab":
        base = tmp_path / name
        servers.append(ComfyServer(comfy_server.runtime, base, base / "comfyui.log", port=free_port()))
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_until_up()
        yield servers
    finally:
        for server in servers:
            server.stop()

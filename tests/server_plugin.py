"""The ComfyUI that the layers ``server`` and ``browser`` share: one for all workers, ended however the session ends.

It belongs to the process that was started from the command line, which outlives every worker. That process chooses
port and folder before the workers begin, and launches ComfyUI once it knows that a test needs it: so ComfyUI boots
while the quick tests run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import ARTEFACTS, COMPARE_WORKFLOW, TEMPLATE_NAME, TEMPLATE_PACK, comfyui_folder, layer_of, skip_or_fail

if TYPE_CHECKING:
    from tools.client import ComfyClient
    from tools.server import ComfyServer

SHARED = ("server", "browser")
"""Layers whose tests need the server."""
_SERVER: pytest.StashKey[ComfyServer | None] = pytest.StashKey()
_PLACE = "patchbay_server"
"""What a worker is told: the server's folder and port."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without workers this process runs the tests itself."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        _launch_if_needed(session.config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file share models, so they go to one worker, and all that share the server go to one together.

    pytest-xdist's own groups say the same, but do nothing with this version of pytest.
    """
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "server" if layer_of(Path(file)) in SHARED else file

    return Together(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the server is going to be."""
    server = _server_of(node.config)
    node.workerinput[_PLACE] = None if server is None else (str(server.base), server.port)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Workers collect the same tests, so the first one's list is enough."""
    _launch_if_needed(node.config, ids)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop ComfyUI, keep its log and delete everything else that it made."""
    server = config.stash.get(_SERVER, None)
    if server is None or hasattr(config, "workerinput"):
        return
    server.stop()
    if server.log.exists():
        ARTEFACTS.mkdir(exist_ok=True)
        shutil.copy2(server.log, ARTEFACTS / "comfyui.log")
    shutil.rmtree(server.base, ignore_errors=True)


def _launch_if_needed(config: pytest.Config, ids: Sequence[str]) -> None:
    server = _server_of(config)
    if server is None or server.process is not None:
        return
    if any(layer_of(Path(name.split("::")[0])) in SHARED for name in ids):
        _fill(server.base)
        server.launch()


def _server_of(config: pytest.Config) -> ComfyServer | None:
    """The session's ComfyUI, not started yet; None where there is no ComfyUI."""
    if _SERVER not in config.stash:
        place = config.workerinput[_PLACE] if hasattr(config, "workerinput") else ()  # pyright: ignore[reportAttributeAccessIssue]
        config.stash[_SERVER] = None if place is None else _describe(*place)
    return config.stash[_SERVER]


def _describe(base: str = "", port: int = 0) -> ComfyServer | None:
    from tools.comfyui import version_of
    from tools.runtime import Runtime
    from tools.server import ComfyServer, free_port

    folder = comfyui_folder()
    if folder is None:
        return None
    frontend = os.environ.get("PATCHBAY_TEST_FRONTEND")
    runtime = Runtime(
        folder, Path(sys.executable), version_of(folder), private=True, frontend=Path(frontend) if frontend else None
    )
    path = Path(base or tempfile.mkdtemp(prefix="patchbay-comfyui-"))
    return ComfyServer(runtime, path, path / "comfyui.log", cpu=True, port=port or free_port())


def _fill(base: Path) -> None:
    from tools.server import add_template

    if COMPARE_WORKFLOW.exists():
        add_template(base, TEMPLATE_PACK, TEMPLATE_NAME, COMPARE_WORKFLOW.read_text(encoding="utf-8"))
    # A second opinion on a model's patches, from a pack that is not ours.
    shutil.copytree(Path(__file__).parent / "browser" / "probe_pack", base / "custom_nodes" / "test-probe")


@pytest.fixture(scope="session")
def comfy_server(request: pytest.FixtureRequest) -> ComfyServer:
    """A real ComfyUI with the pack, one for the whole session. Its log stays in ``test-artefacts``."""
    server = _server_of(request.config)
    if server is None:
        skip_or_fail("no ComfyUI: run 'python3 patchbay.py setup'")
    started = time.monotonic()
    server.wait_until_up()
    waited = time.monotonic() - started
    if waited > 1:
        request.config.get_terminal_writer().line(f"  (waited {waited:.1f} s for ComfyUI)")
    return server


@pytest.fixture(scope="session")
def comfy(comfy_server: ComfyServer) -> ComfyClient:
    """A client of the session's ComfyUI."""
    return comfy_server.client


@pytest.fixture(scope="session")
def object_info(comfy: ComfyClient) -> dict[str, Any]:
    """Every node type that the session's ComfyUI knows."""
    return comfy.object_info()

"""Fixtures of all layers: the pack as package ``pack``, one ComfyUI in this process, one as a server."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import (
    ARTEFACTS,
    COMPARE_WORKFLOW,
    LAYERS,
    ROOT,
    TEMPLATE_NAME,
    TEMPLATE_PACK,
    comfyui_folder,
    layer_of,
    skip_or_fail,
)

if TYPE_CHECKING:
    from tools.client import ComfyClient
    from tools.server import ComfyServer


def _expose(name: str, folder: Path) -> None:
    """Make a folder importable as a package without running its ``__init__``, and without ``sys.path``."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(name, package)


_expose("pack", ROOT)
_expose("tools", ROOT / "tools")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by layer, run the quick layers first, and let no warning pass in unit tests.

    What measures time in a layer comes last in it: by then the tests in the other process have ended.
    """
    for item in items:
        layer = layer_of(item.path)
        if layer == "unit":
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)
        else:
            item.add_marker(layer)
    items.sort(key=lambda item: (LAYERS.index(layer_of(item.path)), item.get_closest_marker("timing") is not None))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start ComfyUI in the background when a test will need it: it boots while the quick tests run."""
    needed = any("comfy_server" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly:
        session.config.stash[SERVER_KEY] = _launch_server()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop ComfyUI, however the session ended."""
    server = config.stash.get(SERVER_KEY, None)
    if server is not None:
        _finish_server(server)


class _Timing:
    """Adds up the time that each layer took, set-up and tear-down included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.tests: dict[str, int] = defaultdict(int)
        self.skipped: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        layer = layer_of(Path(report.nodeid.split("::")[0]))
        self.seconds[layer] += report.duration
        self.tests[layer] += report.when == "call"
        if report.skipped and isinstance(report.longrepr, tuple):
            # Of "not here: this file" the part before the colon is the reason.
            self.skipped[report.longrepr[2].removeprefix("Skipped: ").split(":")[0]] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("time of each layer")
        for layer in LAYERS:
            if layer in self.seconds:
                terminalreporter.line(f"{layer:8} {self.tests[layer]:5} tests {self.seconds[layer]:8.1f} s")
        for reason, count in sorted(self.skipped.items()):
            terminalreporter.line(f"skipped  {count:5} {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the timing of the layers, and treat being ended like Ctrl+C: ComfyUI is stopped first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.pluginmanager.register(_Timing(), "patchbay-timing")


# --- ComfyUI in this process --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def comfy_in_process(tmp_path_factory: pytest.TempPathFactory) -> types.SimpleNamespace:
    """ComfyUI's own modules, importable in this process and set to the CPU.

    Returns:
        ``folder`` (ComfyUI), ``base`` (its base directory, temporary) and ``load_nodes``, which loads the pack
        as ComfyUI does and returns the node classes by id.
    """
    folder = comfyui_folder()
    if folder is None:
        skip_or_fail("no ComfyUI: run 'python3 patchbay.py setup'")
    base = tmp_path_factory.mktemp("comfy")
    for name in ("models", "custom_nodes", "input", "output", "temp", "user"):
        (base / name).mkdir()
    sys.path.insert(0, str(folder))
    from comfy.cli_args import args

    args.cpu = True
    args.disable_api_nodes = True
    args.base_directory = str(base)
    for name in ("comfy.model_management", "folder_paths"):
        importlib.import_module(name)

    return types.SimpleNamespace(folder=folder, base=base, load_nodes=_load_nodes)


_NODES: dict[str, Any] = {}


def _load_nodes() -> dict[str, Any]:
    """The pack's node classes by id, through the entry point that ComfyUI calls."""
    if not _NODES:
        from pack.nodes.extension import comfy_entrypoint

        async def load() -> list[Any]:
            extension = await comfy_entrypoint()
            await extension.on_load()
            return await extension.get_node_list()

        _NODES.update({node.GET_SCHEMA().node_id: node for node in asyncio.run(load())})
    return _NODES


@pytest.fixture(scope="session")
def pack_nodes(comfy_in_process: types.SimpleNamespace) -> dict[str, Any]:
    """The pack's node classes by id, loaded as ComfyUI loads them."""
    return comfy_in_process.load_nodes()


# --- ComfyUI as a server ------------------------------------------------------------------------------

SERVER_KEY: pytest.StashKey[ComfyServer | None] = pytest.StashKey()


def _launch_server() -> ComfyServer | None:
    """ComfyUI on the CPU with the pack, just started; None where there is no ComfyUI."""
    from tools.comfyui import version_of
    from tools.runtime import Runtime
    from tools.server import ComfyServer, add_template

    folder = comfyui_folder()
    if folder is None:
        return None
    runtime = Runtime(folder, Path(sys.executable), version_of(folder), private=True)
    base = Path(tempfile.mkdtemp(prefix="patchbay-comfyui-"))
    if COMPARE_WORKFLOW.exists():
        add_template(base, TEMPLATE_PACK, TEMPLATE_NAME, COMPARE_WORKFLOW.read_text(encoding="utf-8"))
    # A second opinion on a model's patches, from a pack that is not ours.
    shutil.copytree(Path(__file__).parent / "browser" / "probe_pack", base / "custom_nodes" / "test-probe")
    server = ComfyServer(runtime, base, base / "comfyui.log", cpu=True)
    server.launch()
    return server


def _finish_server(server: ComfyServer) -> None:
    """Stop ComfyUI, keep its log and delete everything else it made."""
    server.stop()
    if server.log.exists():
        ARTEFACTS.mkdir(exist_ok=True)
        shutil.copy2(server.log, ARTEFACTS / "comfyui.log")
    shutil.rmtree(server.base, ignore_errors=True)


@pytest.fixture(scope="session")
def comfy_server(request: pytest.FixtureRequest) -> ComfyServer:
    """A real ComfyUI with the pack, one for the whole session. Its log stays in ``test-artefacts``."""
    server = request.config.stash.get(SERVER_KEY, None)
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

"""Fixtures of all layers: the pack as package ``pack``, and one ComfyUI in this process."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
import types
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import LAYERS, ROOT, comfyui_folder, layer_of, skip_or_fail


def _expose(name: str, folder: Path) -> None:
    """Make a folder importable as a package without running its ``__init__``, and without ``sys.path``."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(name, package)


_expose("pack", ROOT)
_expose("tools", ROOT / "tools")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by layer, run the quick layers first, and let no warning pass in unit tests."""
    for item in items:
        layer = layer_of(item.path)
        if layer == "unit":
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)
        else:
            item.add_marker(layer)
    items.sort(key=lambda item: LAYERS.index(layer_of(item.path)))


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

        # Playwright keeps an event loop in the thread of the tests that ran before, and a thread has one at most.
        with ThreadPoolExecutor(1) as pool:
            nodes = pool.submit(lambda: asyncio.run(load())).result()
        _NODES.update({node.GET_SCHEMA().node_id: node for node in nodes})
    return _NODES


@pytest.fixture(scope="session")
def pack_nodes(comfy_in_process: types.SimpleNamespace) -> dict[str, Any]:
    """The pack's node classes by id, loaded as ComfyUI loads them."""
    return comfy_in_process.load_nodes()

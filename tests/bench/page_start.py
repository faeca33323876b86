"""How much later ComfyUI's page is ready because of us, at 100 ms of latency, and what it loads from us until then.

Chromium's own network emulation, an empty cache each time, one server with the pack and one where it is not installed,
in turns, each of them first every other time: on a machine that is not quiet single starts differ by more than the pack
costs, so the difference comes with its standard error, from the pairs. Run it with the runtime's Python:
``python tests/bench/page_start.py [--runs 21] [--latency 100]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser

from tools.chromium import QUIET, READY_MS, chromium, window
from tools.client import ComfyClient
from tools.paths import PACK_FOLDER, RUNTIME
from tools.progress import Progress
from tools.runtime import ensure_runtime
from tools.server import ComfyServer
from tools.versions import COMFYUI_VERSION

_READY = "() => Boolean(window.app?.vueAppReady && window.app?.rootGraph && window.app?.extensionManager)"
_AFTER_MS = 8000
"""How long to look for what is loaded ahead of need."""


def main() -> None:
    """Print the medians and what was loaded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21, help="pairs of starts, 2 or more")
    parser.add_argument("--latency", type=float, default=100.0, help="milliseconds of each answer")
    options = parser.parse_args()
    runtime = ensure_runtime(COMFYUI_VERSION, Progress())
    times: dict[str, list[float]] = {"without": [], "with": []}
    loaded: dict[str, Any] = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                ComfyServer(runtime, RUNTIME / f"start-{name}", RUNTIME / f"start-{name}.log", with_pack=name == "with")
            )
            for name in times
        }
        for server in servers.values():
            ComfyClient(server.address).post_json("/settings", {**QUIET, "Comfy.Locale": "en"})
        browser = stack.enter_context(chromium())
        for run in range(options.runs + 1):
            for name, server in sorted(servers.items(), reverse=run % 2 == 1):
                milliseconds, requests = start(browser, server.address, options.latency, last=run == options.runs)
                if run > 0:
                    times[name].append(milliseconds)
                if name == "with":
                    loaded = requests
    medians = {name: statistics.median(values) for name, values in times.items()}
    spread = {name: f"{min(values):.0f} to {max(values):.0f}" for name, values in times.items()}
    print(f"latency {options.latency:.0f} ms, {options.runs} runs each, until the page can be used:")
    for name, median in medians.items():
        print(f"  {name:8} the pack: {median:6.0f} ms ({spread[name]})")
    later = [patched - plain for patched, plain in zip(times["with"], times["without"], strict=True)]
    error = statistics.stdev(later) / len(later) ** 0.5
    print(f"  later by {medians['with'] - medians['without']:.0f} ms (medians)")
    print(f"  later by {statistics.mean(later):.0f} ms (mean of the pairs), standard error {error:.0f}")
    for when, (count, size) in loaded.items():
        print(f"  of ours {when}: {count} requests, {size / 1024:.1f} KB")


def start(browser: Browser, address: str, latency: float, last: bool) -> tuple[float, dict[str, tuple[int, int]]]:
    """Milliseconds until the page is ready, and our requests until then and later."""
    context = browser.new_context(viewport=window(1440, 900))
    page = context.new_page()
    page.set_default_timeout(READY_MS)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    conditions = {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", conditions)
    sizes: list[int] = []

    def count(response: Any) -> None:
        if f"/extensions/{PACK_FOLDER}/" in response.url:
            sizes.append(int(response.headers.get("content-length") or 0))

    page.on("response", count)
    page.goto(address, wait_until="commit")
    page.wait_for_function(_READY)
    milliseconds = page.evaluate("() => performance.now()")
    ready = len(sizes)
    if last:
        page.wait_for_timeout(_AFTER_MS)
    context.close()
    return milliseconds, {
        "until then": (ready, sum(sizes[:ready])),
        "ahead of need, later": (len(sizes) - ready, sum(sizes[ready:])),
    }


if __name__ == "__main__":
    main()

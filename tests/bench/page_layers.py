"""What it costs Chromium, for each picture, to sort what is drawn on 30 nodes into layers: ours and ComfyUI's own.

While a workflow runs, ComfyUI's page changes with every picture, and Chromium then sorts all that stands on the nodes
anew (``PaintArtifactCompositor::Update`` in its trace). Here one small element changes at every picture instead, so
that no server takes time from it, and the thread's own CPU time counts, not that of the clock. The page is told that a
run began, or, with ``--waiting``, is not. Run it with the runtime's Python:
``python tests/bench/page_layers.py [--hide SELECTOR] [--waiting]``; ``--hide`` adds a line without what the selector
names.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, Page

from tests.bench.page_idle import KINDS, fill, window_for
from tools.chromium import chromium, open_comfyui, server_at

BEGUN = """
() => {
  const { api } = window.comfyAPI.api;
  api.dispatchEvent(new CustomEvent("execution_start", { detail: { prompt_id: "told", timestamp: 0 } }));
}
"""
ROUNDS = 5
SECONDS = 2.0
SORTING = "PaintArtifactCompositor::Update"
CHANGING = """
() => {
  const element = document.createElement("div");
  element.style.cssText = "position:fixed;left:0;top:0;width:9px;height:9px;overflow:hidden;z-index:99999";
  const inner = element.appendChild(document.createElement("i"));
  inner.textContent = "a";
  document.body.append(element);
  let count = 0;
  const next = () => {
    requestAnimationFrame(next);
    if (!window.__changes) return;
    count += 1;
    element.style.width = `${9 + (count % 30)}px`;
    inner.style.opacity = count % 2 ? "0.5" : "1";
  };
  next();
}
"""


def main() -> None:
    """Print milliseconds of CPU a picture for each kind of nodes and each way of drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="", help="a ComfyUI that runs already")
    parser.add_argument("--hide", default="", help="CSS selector of what a further line is without")
    parser.add_argument("--waiting", action="store_true", help="as if nothing ran")
    options = parser.parse_args()
    print("renderer  nodes                    ms a picture")
    with server_at(options.address) as address, chromium() as browser:
        for nodes2 in (False, True):
            pages = {name: _page(browser, address, nodes2, kinds, "") for name, kinds in KINDS.items()}
            if options.hide:
                pages["30 of ours without it"] = _page(browser, address, nodes2, KINDS["30 of ours"], options.hide)
            if not options.waiting:
                for page in pages.values():
                    page.evaluate(BEGUN)
                    page.wait_for_timeout(1000)
            seen: dict[str, list[float]] = {name: [] for name in pages}
            for _ in range(ROUNDS):
                for name, page in pages.items():
                    page.bring_to_front()
                    seen[name].append(sorting_milliseconds(browser, page))
            for name, rounds in seen.items():
                renderer = "nodes2" if nodes2 else "classic"
                print(f"{renderer:9} {name:24} {statistics.median(rounds):10.2f}", flush=True)
            for page in pages.values():
                page.context.close()


def _page(browser: Browser, address: str, nodes2: bool, kinds: dict[str, int], hide: str) -> Page:
    page = open_comfyui(window_for(browser, kinds), address, nodes2)
    fill(page, kinds)
    if hide:
        page.add_style_tag(content=f"{hide} {{ display: none !important; }}")
    page.wait_for_timeout(6000)
    page.evaluate(CHANGING)
    return page


def sorting_milliseconds(browser: Browser, page: Page) -> float:
    """Median CPU time of one sorting into layers, in milliseconds."""
    page.evaluate("window.__changes = true")  # the trace is of the whole browser: only this page changes
    page.wait_for_timeout(300)
    browser.start_tracing(page=page, categories=["blink", "cc", "devtools.timeline"])
    page.wait_for_timeout(SECONDS * 1000)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    page.evaluate("window.__changes = false")
    times = [each["tdur"] / 1000 for each in events if each["name"] == SORTING and "tdur" in each]
    if not times:
        raise RuntimeError(f"Chromium's trace has no event {SORTING}: expected one for each picture")
    return statistics.median(times)


if __name__ == "__main__":
    main()

"""What ComfyUI's page costs while nothing happens, with 30 of our nodes on the canvas and with 30 of ComfyUI's own.

In a real Chromium: time in scripts and tasks (CDP ``Performance``), the heap, and how often timers and frames that our
modules asked for came due. Run it with the runtime's Python: ``python tests/bench/page_idle.py [--seconds 10]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, CDPSession, Page

from tools.chromium import chromium, open_comfyui, server_at, window

OURS = {"PatchbayApplyLora": 10, "PatchbayShowPatches": 8, "PatchbayBlockStrengths": 6, "PatchbayCompareImages": 6}
STOCK = {"LoraLoader": 10, "CLIPTextEncode": 8, "KSampler": 6, "PreviewImage": 6}
COUNT = """
(() => {
  const counted = (window.__dues = { timers: 0, frames: 0 });
  const ours = () => /lora-patchbay/.test(new Error().stack ?? "");
  const asked = { setInterval: "timers", setTimeout: "timers", requestAnimationFrame: "frames" };
  for (const [name, kind] of Object.entries(asked)) {
    const own = window[name];
    window[name] = function (act, ...more) {
      if (typeof act !== "function" || !ours()) return own.call(window, act, ...more);
      return own.call(window, (...given) => { counted[kind] += 1; return act(...given); }, ...more);
    };
  }
})();
"""
FILL = """
(kinds) => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  let at = 0;
  for (const [type, count] of Object.entries(kinds))
    for (let i = 0; i < count; i += 1, at += 1) {
      const node = window.LiteGraph.createNode(type);
      node.pos = [(at % 6) * 560, Math.floor(at / 6) * 900];
      rootGraph.add(node);
    }
  return rootGraph.nodes.length;
}
"""
FIGURES = ("ScriptDuration", "TaskDuration", "RecalcStyleDuration", "LayoutDuration")


def main() -> None:
    """Print one line for each kind of nodes and each way of drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long nothing happens")
    parser.add_argument("--address", default="", help="a ComfyUI that runs already")
    options = parser.parse_args()
    print("renderer  nodes        script ms/s   task ms/s   timers/s   frames/s   heap MiB")
    with server_at(options.address) as address, chromium() as browser:
        for nodes2 in (False, True):
            for name, kinds in (("30 of ComfyUI", STOCK), ("30 of ours", OURS)):
                seen = measure(browser, address, nodes2, kinds, options.seconds)
                print(
                    f"{'nodes2' if nodes2 else 'classic':9} {name:14} {seen['script']:9.2f} {seen['task']:11.2f} "
                    f"{seen['timers']:10.1f} {seen['frames']:10.1f} {seen['heap']:10.1f}",
                    flush=True,
                )


def measure(browser: Browser, address: str, nodes2: bool, kinds: dict[str, int], seconds: float) -> dict[str, float]:
    """Figures of one page, per second of doing nothing."""
    context = browser.new_context(viewport=window(1440, 900))
    context.add_init_script(COUNT)
    page = open_comfyui(context, address, nodes2)
    page.evaluate(FILL, kinds)
    page.wait_for_timeout(6000)
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    before, due = _metrics(session), _dues(page)
    page.wait_for_timeout(seconds * 1000)
    after, later = _metrics(session), _dues(page)
    session.send("HeapProfiler.collectGarbage")
    heap = _metrics(session)["JSHeapUsedSize"] / 2**20
    context.close()
    per = {name: (after[name] - before[name]) / seconds * 1000 for name in FIGURES}
    return {
        "script": per["ScriptDuration"],
        "task": per["TaskDuration"],
        "timers": (later["timers"] - due["timers"]) / seconds,
        "frames": (later["frames"] - due["frames"]) / seconds,
        "heap": heap,
    }


def _metrics(session: CDPSession) -> dict[str, float]:
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


def _dues(page: Page) -> dict[str, Any]:
    return page.evaluate("() => ({ ...window.__dues })")


if __name__ == "__main__":
    main()

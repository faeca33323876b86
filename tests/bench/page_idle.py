"""What ComfyUI's page costs while nothing happens, with 30 of our nodes on the canvas and with 30 of ComfyUI's own.

In a real Chromium: time in scripts and tasks (CDP ``Performance``), the heap, and how often timers and frames that our
modules asked for came due. Run it with the runtime's Python: ``python tests/bench/page_idle.py [--seconds 10]``.

``--running`` measures while ComfyUI samples Klein Nano and tells this page of each step: pictures a second, the part of
the time by which they came late, and what scripts took; in a round of its own, because the browser's profiler slows the
page, what scripts of ours took. The canvas stands as ComfyUI opens it, with six of the nodes in view, or with
``--whole`` so that all are. Beside ComfyUI's own nodes stand ours as ComfyUI alone draws them: their page gets none of
our modules. Compare the lines of one run only.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

from tools.chromium import chromium, open_comfyui, server_at, window
from tools.client import ComfyClient
from tools.paths import ROOT
from tools.workflow import load_workflow, to_api

OUR_MODULES = re.compile(r"/extensions/[^/]*patchbay[^/]*/")
OURS = {"PatchbayApplyLora": 10, "PatchbayShowPatches": 8, "PatchbayBlockStrengths": 6, "PatchbayCompareImages": 6}
STOCK = {"LoraLoader": 10, "CLIPTextEncode": 8, "KSampler": 6, "PreviewImage": 6}
ROWS = {"LoraLoader": 17, "KSampler": 5, "PreviewAny": 8}
"""Nodes of ComfyUI's with about as many elements on them, in Nodes 2.0, as ComfyUI puts on ours (3,100 and 3,184); our
panels have 1,040 more."""
BARE = dict(OURS)
"""The same nodes on a page that gets none of our modules: what ComfyUI itself draws of them."""
SIZES = [*[(420, 622)] * 10, *[(420, 144)] * 8, *[(420, 604)] * 6, *[(480, 520)] * 6]
"""Of ours in their order, as they are when they are new."""
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
([kinds, sizes]) => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  let at = 0;
  for (const [type, count] of Object.entries(kinds))
    for (let i = 0; i < count; i += 1, at += 1) {
      const node = window.LiteGraph.createNode(type);
      if (sizes.length > 0) node.setSize(sizes[at]);
      node.pos = [(at % 6) * 560, Math.floor(at / 6) * 900];
      rootGraph.add(node);
    }
  return rootGraph.nodes.length;
}
"""
FRAMES = """
() => {
  const seen = (window.__frames = { count: 0, late: 0, begin: performance.now() });
  let last = seen.begin;
  const next = (now) => {
    seen.count += 1;
    if (now - last > 25) seen.late += now - last - 1000 / 60;
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
"""
SEEN = "() => ({ ...window.__frames, seconds: (performance.now() - window.__frames.begin) / 1000 })"
FIT = "() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')"
CLIENT = "() => window.comfyAPI.api.api.clientId"
WORKFLOW = ROOT / "workflows" / "Compare with and without a LoRA (Klein Nano).json"
RUNS = 3
ROUNDS = 5
KINDS = {"30 of ComfyUI": STOCK, "30 with as many rows": ROWS, "30 without modules": BARE, "30 of ours": OURS}
_SEEDS = itertools.count(1)
FIGURES = ("ScriptDuration", "TaskDuration", "RecalcStyleDuration", "LayoutDuration")


def fill(page: Page, kinds: dict[str, int]) -> None:
    """Puts 30 nodes on the canvas, those without our panels as large as ours."""
    page.evaluate(FILL, [kinds, SIZES if kinds is ROWS or kinds is BARE else []])


def window_for(browser: Browser, kinds: dict[str, int]) -> BrowserContext:
    """A window of its own, which gets our modules or, for the nodes as ComfyUI alone draws them, does not."""
    context = browser.new_context(viewport=window(1440, 900))
    if kinds is BARE:
        context.route(OUR_MODULES, lambda route: route.abort())
    return context


class Seen(NamedTuple):
    """What a page did while ComfyUI sampled."""

    pictures: float
    """Drawn in a second."""
    late: float
    """Percent of the time by which pictures came late."""
    script: float
    """Milliseconds of a second that scripts took."""
    ours: float
    """Of these, those of our modules and of what they called, by the browser's own profiler; 0 where it did not run."""


def main() -> None:
    """Print one line for each kind of nodes and each way of drawing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long nothing happens")
    parser.add_argument("--running", action="store_true", help="measure while ComfyUI samples")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each kind of nodes, while ComfyUI samples")
    parser.add_argument("--whole", action="store_true", help="all nodes in view, while ComfyUI samples")
    parser.add_argument("--address", default="", help="a ComfyUI that runs already")
    options = parser.parse_args()
    if options.running:
        return print_running(options.address, options.rounds, options.whole)
    print("renderer  nodes               script ms/s   task ms/s   timers/s   frames/s   heap MiB")
    with server_at(options.address) as address, chromium() as browser:
        for nodes2 in (False, True):
            for name, kinds in KINDS.items():
                seen = measure(browser, address, nodes2, kinds, options.seconds)
                print(
                    f"{'nodes2' if nodes2 else 'classic':9} {name:21} {seen['script']:9.2f} {seen['task']:11.2f} "
                    f"{seen['timers']:10.1f} {seen['frames']:10.1f} {seen['heap']:10.1f}",
                    flush=True,
                )


def print_running(address: str, rounds: int, whole: bool = False) -> None:
    """The same pages while ComfyUI samples: medians of rounds in which the kinds take turns."""
    print("renderer  nodes                 pictures/s (least to most)   late, % of the time   script ms/s   ours")
    with server_at(address) as address, chromium() as browser:
        client = ComfyClient(address)
        prompt = to_api(load_workflow(WORKFLOW), client.object_info())
        for nodes2 in (False, True):
            seen: dict[str, list[Seen]] = {name: [] for name in KINDS}
            for turn in range(rounds):
                for name, kinds in list(KINDS.items())[:: 1 if turn % 2 else -1]:
                    seen[name].append(_while_sampling(browser, client, prompt, nodes2, kinds, whole))
            for name, kinds in KINDS.items():
                rates, late, script, _ = zip(*seen[name], strict=True)
                ours = _while_sampling(browser, client, prompt, nodes2, kinds, whole, profiled=True).ours
                print(
                    f"{'nodes2' if nodes2 else 'classic':9} {name:21} {statistics.median(rates):10.1f} "
                    f"({min(rates):.1f} to {max(rates):.1f}) {statistics.median(late):17.1f} "
                    f"{statistics.median(script):18.1f} {ours:10.1f}",
                    flush=True,
                )


def _while_sampling(
    browser: Browser,
    client: ComfyClient,
    prompt: dict[str, Any],
    nodes2: bool,
    kinds: dict[str, int],
    whole: bool,
    profiled: bool = False,
) -> Seen:
    sampler = next(node for node in prompt.values() if node["class_type"] == "RandomNoise")
    context = window_for(browser, kinds)
    page = open_comfyui(context, client.address, nodes2)
    fill(page, kinds)
    if whole:
        page.evaluate(FIT)
    page.wait_for_timeout(6000)
    client.client_id = page.evaluate(CLIENT)
    session = context.new_cdp_session(page)
    for command in ("Performance.enable", *(("Profiler.enable", "Profiler.start") if profiled else ())):
        session.send(command)
    before = _metrics(session)
    page.evaluate(FRAMES)
    for _ in range(RUNS):
        sampler["inputs"]["noise_seed"] = next(_SEEDS)
        client.run(prompt)
    seen, after = page.evaluate(SEEN), _metrics(session)
    ours = own_milliseconds(session.send("Profiler.stop")["profile"]) if profiled else 0.0
    context.close()
    seconds = seen["seconds"]
    script = (after["ScriptDuration"] - before["ScriptDuration"]) * 1000
    return Seen(seen["count"] / seconds, seen["late"] / seconds / 10, script / seconds, ours / seconds)


def own_milliseconds(profile: dict[str, Any]) -> float:
    """Time of a CPU profile in which a function of ours runs, or something that it called."""
    nodes = {node["id"]: node for node in profile["nodes"]}
    above = {child: node["id"] for node in profile["nodes"] for child in node.get("children", ())}
    ours: dict[int, bool] = {}

    def is_ours(node: int) -> bool:
        if node not in ours:
            ours[node] = "lora-patchbay" in nodes[node]["callFrame"]["url"] or (node in above and is_ours(above[node]))
        return ours[node]

    sys.setrecursionlimit(10_000)
    return sum(d for node, d in zip(profile["samples"], profile["timeDeltas"], strict=True) if is_ours(node)) / 1000


def measure(browser: Browser, address: str, nodes2: bool, kinds: dict[str, int], seconds: float) -> dict[str, float]:
    """Figures of one page, per second of doing nothing."""
    context = window_for(browser, kinds)
    context.add_init_script(COUNT)
    page = open_comfyui(context, address, nodes2)
    fill(page, kinds)
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

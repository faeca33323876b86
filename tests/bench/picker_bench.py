"""How quick the list of 10,000 LoRAs and the verdict before the run are: ``python tests/bench/picker_bench.py``.

Real files of four matrices each in a hundred folders, one ComfyUI, a real Chromium. Milliseconds from the click until
lines are seen, from a key until the list is in its new order, and from the choice of a file that nobody has read yet
until its row says whether it fits; pictures a second while the list is scrolled, as it is read and when all is known,
beside those of the page when nothing moves. Run it with the runtime's Python, on a machine without other work.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from playwright.sync_api import Page
from safetensors.numpy import save_file

from tools.chromium import chromium, open_comfyui, window
from tools.paths import RUNTIME
from tools.progress import Progress
from tools.runtime import ensure_runtime
from tools.server import ComfyServer
from tools.versions import COMFYUI_VERSION

FOLDERS = 100
LAYERS = {
    "double_blocks.0.img_attn.qkv": (384, 128),
    "double_blocks.0.img_attn.proj": (128, 128),
    "double_blocks.1.img_attn.qkv": (384, 128),
    "double_blocks.1.img_attn.proj": (128, 128),
}
"""Of Klein Nano, with their shapes."""
FRESH = """
() => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  const [unet, loras] = ["UNETLoader", "PatchbayApplyLoras"].map((type) => window.LiteGraph.createNode(type));
  unet.pos = [40, 100];
  loras.pos = [460, 100];
  rootGraph.add(unet);
  rootGraph.add(loras);
  unet.connect(0, loras, 0);
  unet.widgets.find((widget) => widget.name === "unet_name").value = "klein-nano-distilled.safetensors";
  window.app.canvas.setDirty(true, true);
}
"""
OPEN = """
async () => {
  const buttons = [...document.querySelectorAll(".patchbay-rows button")];
  const button = buttons.find((each) => /Add LoRA/.test(each.textContent));
  const begun = performance.now();
  button.click();
  while (!document.querySelector(".patchbay-pick-line")) await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}
"""
SEARCH = """
async (words) => {
  const search = document.querySelector(".patchbay-pick-search");
  const begun = performance.now();
  search.value = words;
  search.dispatchEvent(new InputEvent("input", { bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}
"""
CHOOSE = """
async () => {
  const rows = () => [...document.querySelectorAll(".patchbay-rows [data-row]")];
  const before = rows().length;
  const begun = performance.now();
  document.querySelector(".patchbay-pick-line").click();
  const told = () => rows().length > before && rows().at(-1).querySelector(".patchbay-dot-ok");
  while (!told()) await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}
"""
SCROLL = """
async ([seconds, step]) => {
  const list = document.querySelector(".patchbay-pick-list");
  const begun = performance.now();
  let pictures = 0;
  let last = begun;
  let longest = 0;
  while (last - begun < seconds * 1000) {
    if (step) list.scrollTop = (list.scrollTop + step) % (list.scrollHeight - list.clientHeight);
    const now = await new Promise(requestAnimationFrame);
    longest = Math.max(longest, now - last);
    last = now;
    pictures += 1;
  }
  return [pictures / ((last - begun) / 1000), longest];
}
"""


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the list is scrolled each time")
    options = parser.parse_args()
    base = RUNTIME / "picker"
    write_files(base / "models" / "loras", options.files)
    runtime = ensure_runtime(COMFYUI_VERSION, Progress())
    with ComfyServer(runtime, base, base / "log.txt") as server, chromium() as browser:
        for nodes2 in (False, True):
            context = browser.new_context(viewport=window(1440, 900))
            page = open_comfyui(context, server.address, nodes2)
            print("Nodes 2.0" if nodes2 else "classic", flush=True)
            measure(page, options.files, options.seconds)
            context.close()
    shutil.rmtree(base / "models")


def write_files(folder: Path, count: int) -> None:
    """LoRAs of rank 1, each with numbers of its own."""
    numbers = np.random.default_rng(0)
    for at in range(count):
        state: dict[str, Any] = {}
        for name, (out, inner) in LAYERS.items():
            state[f"diffusion_model.{name}.lora_A.weight"] = numbers.normal(size=(1, inner)).astype(np.float16)
            state[f"diffusion_model.{name}.lora_B.weight"] = numbers.normal(size=(out, 1)).astype(np.float16)
        path = folder / f"folder {at % FOLDERS:02}" / f"style number {at:05}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path)


def measure(page: Page, files: int, seconds: float) -> None:
    """All figures of one way of drawing."""
    page.evaluate(FRESH)
    page.locator(".patchbay-rows").first.wait_for()
    page.wait_for_timeout(3000)
    still = page.evaluate(SCROLL.replace("document.querySelector(\".patchbay-pick-list\")", "null"), [seconds, 0])
    _say("nothing moves", f"{still[0]:.1f} pictures a second, the longest {still[1]:.0f} ms")
    _say("the list opens, first time", f"{page.evaluate(OPEN):.0f} ms")
    told = [_choose(page, files - 1)]
    told += [_open_and_choose(page, files - 1 - 7 * at)[1] for at in range(1, 6)]
    _say("from the choice to the verdict, median, most", f"{statistics.median(told):.0f}, {max(told):.0f} ms")
    page.evaluate(OPEN)
    for when in ("while files are read", "when all is known"):
        rate, longest = page.evaluate(SCROLL, [seconds, 120])
        _say(f"scrolled {when}", f"{rate:.1f} pictures a second, the longest {longest:.0f} ms")
        if when == "while files are read":
            page.wait_for_timeout(min(60.0, files / 250) * 1000)
    found = [page.evaluate(SEARCH, words) for words in ("style 0123", "number folder 4", "9 style 77")]
    _say("a search by words, median", f"{statistics.median(found):.0f} ms")
    page.keyboard.press("Escape")
    page.locator(".patchbay-picker").wait_for(state="detached")
    again = [_open_and_choose(page, files // 2 + at)[0] for at in range(6)]
    _say("the list opens when all is known", f"{statistics.median(again):.0f}, {max(again):.0f} ms")


def _open_and_choose(page: Page, number: int) -> tuple[float, float]:
    return page.evaluate(OPEN), _choose(page, number)


def _choose(page: Page, number: int) -> float:
    page.evaluate(SEARCH, f"number {number:05}")
    told = page.evaluate(CHOOSE)
    page.wait_for_timeout(300)
    return told


def _say(what: str, figure: str) -> None:
    print(f"  {what:42} {figure}", flush=True)


if __name__ == "__main__":
    main()

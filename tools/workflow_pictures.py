"""Thumbnails of the bundled workflows: ``.runtime/venv/bin/python -m tools.workflow_pictures [WORD...]``.

Each is opened in a real browser. Those that need only Klein Nano are run, and the thumbnail is what came out: the split
picture, the verdict, the chart. Of the others it is the part of the canvas that one sees when it is opened. With words,
only the workflows with one of them in their name. ``--address URL`` uses a ComfyUI that runs already; ``--large DIR``
also keeps large pictures of the whole canvas, in both renderers.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from .chromium import chromium, load_workflow, open_comfyui, run_workflow, server_at, window
from .paths import ROOT

WIDTH, HEIGHT = 2000, 1300
LEFT, ABOVE, BELOW = 64, 170, 60
"""What the menus cover around the picture, in pixels."""
THUMBNAIL = (960, 640)
QUALITY = 85
_NO_COMPLAINTS = "[data-testid='error-overlay'], .p-toast { display: none !important }"
"""Model files that a workflow names and that are not here would lie over the picture."""
OUTCOMES = (
    ("PatchbayLoraGrid", 0), ("All pictures", 0), ("PatchbayCompareImages", 0), ("PatchbayFeatureShift", 0),
    ("PatchbayFitStrengths", 0), ("PatchbayBenchmark", 0),
    ("PatchbayCheckLora", 1), ("PatchbayTransferLora", 0), ("PatchbayMergeLoras", 0),
    ("PatchbayInspectModel", 0), ("PatchbayApplyLora", 0),
)  # fmt: skip
"""What came out, the first of these that a workflow has: a node's type or title, and which of its kind."""
TAKE_MINUTES = ("Teach a LoRA",)
"""Shown as they open."""
SPLIT = """
() => [...document.querySelectorAll(".patchbay-compare button")].find((each) => each.textContent === "Slider")?.click()
"""
SCROLLED_TO = {"Refit a LoRA": ".patchbay-fit-methods"}
"""Part of a panel that is what came out, where it is not the panel's beginning."""
_SCROLL = """
(part) => {
  const found = document.querySelector(part);
  const panel = found?.closest(".patchbay-panel");
  if (panel) panel.scrollTop += (found.getBoundingClientRect().top - panel.getBoundingClientRect().top)
    / (panel.getBoundingClientRect().width / panel.offsetWidth) - 40;
}
"""
_FIT = """
([width, height, x, y, outcomes, view]) => {
  const { canvas, rootGraph } = window.app;
  const called = (type) => rootGraph.nodes.filter((each) => each.type === type || each.title === type);
  const shown = (outcomes ?? []).map(([type, at]) => called(type)[at]).filter(Boolean).slice(0, 1);
  const nodes = shown.length ? shown : rootGraph.nodes;
  const panel = shown[0]?.widgets?.find(({ element }) => element?.classList?.contains("patchbay-panel"));
  const boxes = panel ? [[shown[0].pos[0], shown[0].pos[1] + panel.y, shown[0].size[0], panel.element.offsetHeight]]
    : !shown.length && view ? [view] : [
    ...nodes.map((n) => [n.pos[0], n.pos[1] - 30, n.size[0], n.size[1] + 30]),
    ...(shown.length ? [] : rootGraph.groups.map((g) => [...g.pos, ...g.size])),
  ];
  const air = panel ? 4 : 30;
  const left = Math.min(...boxes.map((b) => b[0])) - air, top = Math.min(...boxes.map((b) => b[1])) - air;
  const right = Math.max(...boxes.map((b) => b[0] + b[2])) + air;
  const bottom = Math.max(...boxes.map((b) => b[1] + b[3])) + air;
  const scale = Math.min(width / (right - left), height / (bottom - top));
  canvas.ds.scale = scale;
  canvas.ds.offset[0] = x / scale - left;
  canvas.ds.offset[1] = y / scale - top;
  for (const node of rootGraph.nodes) node.has_errors = false;
  canvas.show_info = false;
  canvas.setDirty(true, true);
  return [(right - left) * scale, (bottom - top) * scale];
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--address", default="")
    parser.add_argument("--large", type=Path)
    options = parser.parse_args()
    with server_at(options.address) as address, chromium() as browser:
        for nodes2 in (False, True) if options.large else (False,):
            context = browser.new_context(viewport=window(LEFT + WIDTH + 16, ABOVE + HEIGHT + BELOW))
            page = open_comfyui(context, address, nodes2)
            page.add_style_tag(content=_NO_COMPLAINTS)
            for path in sorted((ROOT / "workflows").glob("*.json")):
                if not options.words or any(word in path.name for word in options.words):
                    picture = workflow_picture(page, path)
                    if not nodes2:
                        write_thumbnail(picture, path.with_suffix(".jpg"))
                    if options.large:
                        options.large.mkdir(parents=True, exist_ok=True)
                        renderer = "nodes2" if nodes2 else "classic"
                        _picture(page, None, None).save(options.large / f"{path.stem}-{renderer}.png")
                    print(path.stem, picture.size, flush=True)
            context.close()


def workflow_picture(page: Page, path: Path) -> Image.Image:
    """What came out of a workflow where it needs no other model, otherwise what is seen of it when it is opened."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    load_workflow(page, workflow, path.stem)
    runs = "Klein Nano" in path.name and not any(word in path.name for word in TAKE_MINUTES)
    if runs:
        run_workflow(page)
        page.evaluate(SPLIT)
        for word, part in SCROLLED_TO.items():
            if word in path.name:
                page.evaluate(_SCROLL, part)
    page.keyboard.press("Escape")
    return _picture(page, OUTCOMES if runs else (), workflow["extra"].get("patchbay_view"))


def _picture(page: Page, outcomes: Sequence[tuple[str, int]] | None, view: Sequence[float] | None) -> Image.Image:
    size: Sequence[float] = page.evaluate(_FIT, [WIDTH, HEIGHT, LEFT, ABOVE, outcomes, view])
    page.wait_for_timeout(1500)
    png = page.screenshot(clip={"x": LEFT, "y": ABOVE, "width": size[0], "height": size[1]})
    return Image.open(io.BytesIO(png)).convert("RGB")


def write_thumbnail(picture: Image.Image, path: Path) -> None:
    """A JPEG of at most the size of a thumbnail, written in one go."""
    small = picture.copy()
    small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    part = path.with_suffix(".jpg.part")
    small.save(part, format="JPEG", quality=QUALITY, optimize=True)
    part.replace(path)


if __name__ == "__main__":
    main()

"""Pictures of side bar, LoRA card and nodes: ``.runtime/venv/bin/python -m tools.panel_pictures [WORD...]``.

Takes them from a real ComfyUI in a real browser, from runs on Klein Nano: ``docs/side_bar.webp`` and
``docs/lora_card.webp`` for the README, ``js/help`` for the side bar's help, ``js/docs/NODE`` for the help of each node,
in English and Japanese. With words, only the pictures with one of them in their name. ``--address URL`` uses a ComfyUI
that runs already. Japanese needs a Japanese font on this machine.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from .chromium import chromium, load_workflow, open_comfyui, run_workflow, server_at, window
from .errors import ToolError
from .paths import ROOT

DOCS, HELP, NODES = ROOT / "docs", ROOT / "js" / "help", ROOT / "js" / "docs"
LANGUAGES = ("en", "ja")
WINDOW = window(1500, 1800)
PIXELS = 1.5
"""Of a picture for one of the page: sharp on most screens, and still small."""
SIDE_BAR_WIDTH, WIDE_SIDE_BAR = 440, 860
EDGE = 12
"""Pixels of canvas around a node."""
MARGIN = 10
BADGE = 18
"""Height of the verdict above a node's title."""
JUDGED = ("PatchbayApplyLora", "PatchbayCheckLora", "PatchbayScheduleLora")
NODE_LEFT, NODE_TOP = 110, 190
"""Where a node lies on the page, clear of ComfyUI's menus."""
DUOTONE, CONCEPT = "klein-nano-duotone.safetensors", "klein-nano-concept-instruments.safetensors"

TALLER = {
    "PatchbayBenchmark": 130, "PatchbayFeatureShift": 150, "PatchbayFitStrengths": 30, "PatchbayInspectFile": 450,
    "PatchbayMergeLoras": -200, "PatchbayApplyLoraStack": -250, "PatchbayApplyLora": -60, "PatchbayBlockSweep": 40,
}  # fmt: skip
"""Pixels by which a node is taller than in its workflow, so that all that it shows is seen."""
NODE_PICTURES: dict[str, tuple[str, str, int]] = {
    "PatchbayApplyLora": ("LoRA by block", "PatchbayApplyLora", 1),
    "PatchbayApplyLoras": ("Three LoRAs in one node", "PatchbayApplyLoras", 0),
    "PatchbayApplyLoraStack": ("Block strength presets and LoRA stacks", "PatchbayApplyLoraStack", 0),
    "PatchbayBenchmark": ("What does this LoRA cost", "PatchbayBenchmark", 0),
    "PatchbayBlockSweep": ("Which blocks matter", "PatchbayBlockSweep", 0),
    "PatchbayBlockStrengths": ("Block strength presets and LoRA stacks", "PatchbayBlockStrengths", 0),
    "PatchbayCheckLora": ("Does this LoRA fit", "PatchbayCheckLora", 1),
    "PatchbayCompareImages": ("Compare with and without a LoRA", "PatchbayCompareImages", 0),
    "PatchbayFeatureShift": ("Does this LoRA transfer", "PatchbayFeatureShift", 0),
    "PatchbayFitStrengths": ("Fit a LoRA to another model", "PatchbayFitStrengths", 0),
    "PatchbayInspectFile": ("Merge three LoRAs into one", "PatchbayInspectFile", 0),
    "PatchbayLoraGrid": ("Compare LoRAs and strengths", "PatchbayLoraGrid", 0),
    "PatchbayInspectModel": ("What is inside this merge", "PatchbayInspectModel", 0),
    "PatchbayMeasureReport": ("What does this LoRA cost", "PatchbayMeasureReport", 0),
    "PatchbayMergeLoras": ("Merge three LoRAs into one", "PatchbayMergeLoras", 0),
    "PatchbaySaveLora": ("Save a LoRA with its block strengths", "PatchbaySaveLora", 0),
    "PatchbayScheduleLora": ("LoRA for some of the steps", "PatchbayScheduleLora", 0),
    "PatchbayShowPatches": ("Merge or bypass a LoRA", "PatchbayShowPatches", 0),
}
"""Node: the bundled workflow (for Klein Nano) in which it is shown, its type, and which of its kind."""

_BUILD = """
(steps) => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  let before = null;
  steps.forEach(([type, values], i) => {
    const node = window.LiteGraph.createNode(type);
    rootGraph.add(node);
    node.pos = [i * 480, 0];
    for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name];
    before?.connect(0, node, 0);
    before = node;
  });
  // Off the page: the pictures are not of them.
  window.app.canvas.ds.offset[1] = 9000;
}
"""
_SET = """
(values) => {
  for (const { type, widgets } of window.app.rootGraph.nodes) {
    const wanted = values[type] ?? {};
    for (const widget of widgets ?? []) if (widget.name in wanted) widget.value = wanted[widget.name];
  }
}
"""
_SELECT = """
([type, index]) => {
  const node = window.app.rootGraph.nodes.filter((each) => each.type === type)[index];
  window.app.canvas.deselectAll();
  window.app.canvas.selectNode(node);
}
"""
_PLACE = """
([type, index, left, top, taller]) => {
  const { canvas, rootGraph } = window.app;
  const node = rootGraph.nodes.filter((each) => each.type === type)[index];
  for (const group of [...rootGraph.groups]) rootGraph.remove(group);
  for (const each of rootGraph.nodes) if (each !== node) each.pos = [each.pos[0] + 20000, each.pos[1]];
  // What ComfyUI writes under a node while it runs.
  node.widgets = node.widgets.filter((widget) => !widget.name.startsWith("$$") || widget.onRemove?.());
  node.setSize([node.size[0], node.size[1] + taller]);
  canvas.deselectAll();
  canvas.show_info = false;
  canvas.render_curved_connections = false;
  canvas.ds.scale = 1;
  canvas.ds.offset[0] = left - node.pos[0];
  canvas.ds.offset[1] = top - node.pos[1];
  canvas.links_render_mode = window.LiteGraph.HIDDEN_LINK;
  canvas.setDirty(true, true);
  return [node.size[0], node.size[1]];
}
"""
_WIDTH = """
(pixels) => {
  const panel = document.querySelector(".patchbay-side").closest(".p-splitterpanel");
  panel.style.flexBasis = `${pixels}px`;
}
"""
_QUIET_PAGE = "[data-testid='error-overlay'], .p-toast, .selection-toolbox { display: none !important }"


class Pictures:
    """One ComfyUI page in one language, and what is photographed of it."""

    def __init__(self, page: Page, locale: str, words: Sequence[str]) -> None:
        self.page = page
        self.locale = locale
        self.words = words
        page.add_style_tag(content=_QUIET_PAGE)

    def wanted(self, *names: str) -> bool:
        """Whether one of these pictures was asked for."""
        return not self.words or any(word in name for name in names for word in self.words)

    def keep(self, path: Path, png: bytes) -> None:
        """Write a picture without loss, in one go."""
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        part = path.with_suffix(".part")
        picture.save(part, format="WEBP", lossless=True, quality=100, method=6)
        part.replace(path)
        print(path.relative_to(ROOT), picture.size, f"{path.stat().st_size // 1024} KiB", flush=True)

    def clip(self, left: float, top: float, width: float, height: float) -> bytes:
        """A part of the page."""
        return self.page.screenshot(clip={"x": left, "y": top, "width": width, "height": height})

    def around(self, element: Locator) -> bytes:
        """An element with a margin."""
        box = element.bounding_box() or {}
        return self.clip(box["x"] - MARGIN, box["y"] - MARGIN, box["width"] + 2 * MARGIN, box["height"] + 2 * MARGIN)

    def side_bar(self, width: int) -> Locator:
        """The side bar, opened, with a width in pixels."""
        side = self.page.locator(".patchbay-side")
        if side.count() == 0:
            self.page.evaluate("() => window.app.extensionManager.command.execute('Patchbay.ToggleSidebar')")
        side.wait_for()
        self.page.evaluate(_WIDTH, width)
        self.page.wait_for_timeout(500)
        return side

    def select(self, node_type: str, index: int = 0) -> None:
        """Select a node, and let the side bar follow."""
        self.page.evaluate(_SELECT, [node_type, index])
        self.page.wait_for_timeout(900)

    # --- what is photographed ---------------------------------------------------------------------------

    def side_bar_pictures(self) -> None:
        """The map, a block's layers, two runs, and for the README the whole side bar."""
        if not self.wanted("side_bar", "map", "block", "compare"):
            return
        loaded = ["UNETLoader", {"unet_name": "klein-nano-base.safetensors"}]
        stock = ["LoraLoaderModelOnly", {"lora_name": CONCEPT, "strength_model": 0.5}]
        ours = ["PatchbayApplyLora", {"lora_name": DUOTONE, "blocks": "all=1, single_blocks.0=0, double_blocks.1=0.5"}]
        self.page.evaluate(_BUILD, [loaded, stock, ours, ["PatchbayShowPatches", {}]])
        run_workflow(self.page)
        side = self.side_bar(SIDE_BAR_WIDTH)
        self.select("PatchbayShowPatches")
        if self.locale == "en":
            self._readme_side_bar(side)
        self.page.mouse.move(900, 1200)
        self.keep(HELP / f"map_{self.locale}.webp", self.around(side.locator(".patchbay-maps")))
        self.select("PatchbayApplyLora")
        side.locator(".patchbay-map-row[data-address='double_blocks.1']").first.click()
        block = side.locator(".patchbay-block")
        block.wait_for()
        box = block.bounding_box() or {}
        second = block.locator(".patchbay-block-layer").nth(1).bounding_box() or {}
        self.keep(
            HELP / f"block_{self.locale}.webp",
            self.clip(box["x"], box["y"], box["width"], second["y"] + second["height"] - box["y"] + 4),
        )
        side.locator("[data-key='block close']").click()
        self.page.evaluate(_SET, {"PatchbayApplyLora": {"blocks": "double_blocks.*=1, single_blocks.*=0.5"}})
        run_workflow(self.page)
        self.side_bar(WIDE_SIDE_BAR)
        self.select("PatchbayApplyLora")
        earlier = side.locator("select[data-key=compare] option[value^='run ']").first
        side.locator("select[data-key=compare]").select_option(earlier.get_attribute("value"))
        self.page.wait_for_timeout(500)
        self.keep(HELP / f"compare_{self.locale}.webp", self.around(side.locator(".patchbay-map-figures")))
        self.page.evaluate("() => window.app.extensionManager.command.execute('Patchbay.ToggleSidebar')")

    def _readme_side_bar(self, side: Locator) -> None:
        """With the pointer on a layer, so that what is said about it is seen too."""
        side.locator(".patchbay-map-row[data-address='single_blocks.3'] .patchbay-map-cell").nth(1).hover()
        tip = self.page.locator(".patchbay-tip")
        tip.wait_for()
        self.page.wait_for_timeout(300)
        bar, beside = side.bounding_box() or {}, tip.bounding_box() or {}
        last = side.locator(".patchbay-side-body > :last-child").bounding_box() or {}
        right = beside["x"] + beside["width"] + EDGE
        self.keep(
            DOCS / "side_bar.webp",
            self.clip(bar["x"], bar["y"], right - bar["x"], last["y"] + last["height"] + EDGE - bar["y"]),
        )

    def card_picture(self) -> None:
        """The card of a LoRA on a stock loader, for a model that it does not fit."""
        if self.locale != "en" or not self.wanted("lora_card"):
            return
        loaded = ["UNETLoader", {"unet_name": "klein-nano-wide.safetensors"}]
        self.page.evaluate(_BUILD, [loaded, ["LoraLoaderModelOnly", {"lora_name": DUOTONE}]])
        self.page.evaluate(_SELECT, ["LoraLoaderModelOnly", 0])
        self.page.evaluate("() => window.app.extensionManager.command.execute('Patchbay.LoraCard')")
        card = self.page.locator("dialog.patchbay-dialog")
        card.locator(".patchbay-facts").first.wait_for()
        self.page.wait_for_timeout(300)
        self.keep(DOCS / "lora_card.webp", card.screenshot())
        self.page.keyboard.press("Escape")

    def node_pictures(self) -> None:
        """Each node with what it shows after a run of its workflow."""
        wanted = {node: where for node, where in NODE_PICTURES.items() if self.wanted(node)}
        for workflow in sorted({where[0] for where in wanted.values()}):
            path = ROOT / "workflows" / f"{workflow} (Klein Nano).json"
            load_workflow(self.page, json.loads(path.read_text(encoding="utf-8")), path.stem)
            run_workflow(self.page)
            for node, (_, node_type, index) in wanted.items():
                if NODE_PICTURES[node][0] == workflow:
                    target = NODES / node / f"{picture_name(node)}_{self.locale}.webp"
                    self.keep(target, self._node(node_type, index))

    def _node(self, node_type: str, index: int) -> bytes:
        width, height = self.page.evaluate(_PLACE, [node_type, index, NODE_LEFT, NODE_TOP, TALLER.get(node_type, 0)])
        self.page.mouse.move(NODE_LEFT - 40, NODE_TOP - 60)
        self.page.wait_for_timeout(1500)
        above = 30 + (BADGE if node_type in JUDGED else 0) + EDGE
        return self.clip(NODE_LEFT - EDGE, NODE_TOP - above, width + 2 * EDGE, height + above + EDGE)


def picture_name(node: str) -> str:
    """``PatchbayApplyLora`` is shown in ``apply_lora``."""
    plain = node.removeprefix("Patchbay")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in plain).lstrip("_")


@contextmanager
def pictures(browser: Browser, address: str, locale: str, words: Sequence[str]) -> Iterator[Pictures]:
    """A page of its own for one language."""
    context = browser.new_context(viewport=WINDOW, device_scale_factor=PIXELS)
    more: dict[str, Any] = {"Comfy.Locale": locale, "Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
    yield Pictures(open_comfyui(context, address, nodes2=False, **more), locale, words)
    context.close()


def require_japanese_font() -> None:
    """Without one, Japanese is drawn as boxes.

    Raises:
        ToolError: the system's list of fonts has none; where there is no such list, nothing is asked.
    """
    program = shutil.which("fc-list")
    if program and not subprocess.run([program, ":lang=ja"], capture_output=True, text=True).stdout.strip():
        raise ToolError("no Japanese font on this machine: install one, for example the package fonts-noto-cjk.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--address", default="")
    options = parser.parse_args()
    require_japanese_font()
    with server_at(options.address) as address, chromium() as browser:
        for locale in LANGUAGES:
            with pictures(browser, address, locale, options.words) as made:
                made.side_bar_pictures()
                made.card_picture()
                made.node_pictures()


if __name__ == "__main__":
    main()

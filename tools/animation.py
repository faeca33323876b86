"""The animated picture of the README: ``.runtime/venv/bin/python -m tools.animation [--address URL] [--frames DIR]``.

Plays a scene in a real ComfyUI in a real browser and writes ``docs/patchbay.webp``. Every frame says itself how long it
is shown, so that a slow machine makes the same film. ``--frames`` also keeps the frames as PNG files, to look at.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

from .chromium import chromium, load_workflow, open_comfyui, run_workflow, server_at, window
from .errors import ToolError
from .paths import ROOT

WIDE, BASE = "klein-nano-wide.safetensors", "klein-nano-base.safetensors"
WORKFLOW = ROOT / "workflows" / "Compare with and without a LoRA (Klein Nano).json"
TARGET = ROOT / "docs" / "patchbay.webp"
WIDTH, HEIGHT = 1120, 700
QUALITY = 82
LARGEST_BYTES = 4_000_000
FRAME_MS = 70
APPLY, COMPARE, MODEL = "PatchbayApplyLora", "PatchbayCompareImages", "UNETLoader"

_POINTER = """
() => {
  const svg = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const arrow = svg("path", { d: "M2 2 L2 19 L6.5 15 L9.5 22 L13 20.5 L10 14 L16 14 Z", fill: "white",
    stroke: "black", "stroke-width": "1.5" });
  const pointer = svg("svg", { width: 26, height: 28, id: "pointer-of-the-film" }, arrow);
  pointer.style.cssText = "position:fixed;left:0;top:0;z-index:99999;pointer-events:none";
  document.body.append(pointer);
}
"""
_POINT = """
([x, y]) => {
  document.getElementById("pointer-of-the-film").style.transform = `translate(${x - 2}px, ${y - 2}px)`;
}
"""
_BOX = """
([types, y, height]) => {
  const nodes = window.app.rootGraph.nodes.filter((node) => types.length === 0 || types.includes(node.type));
  const left = Math.min(...nodes.map((n) => n.pos[0])), right = Math.max(...nodes.map((n) => n.pos[0] + n.size[0]));
  const top = Math.min(...nodes.map((n) => n.pos[1] - 30));
  const bottom = Math.max(...nodes.map((n) => n.pos[1] + n.size[1]));
  return [left, top + (bottom - top) * y, right - left, (bottom - top) * height];
}
"""
_VIEW = """
([scale, x, y]) => {
  const { ds } = window.app.canvas;
  if (scale) { ds.scale = scale; ds.offset[0] = x; ds.offset[1] = y; window.app.canvas.setDirty(true, true); }
  return [ds.scale, ds.offset[0], ds.offset[1]];
}
"""
_CHOOSE = """
([type, value]) => {
  const widget = window.app.rootGraph.nodes.find((node) => node.type === type).widgets[0];
  widget.value = value;
  widget.callback?.(value);
  window.app.canvas.setDirty(true, true);
}
"""
_DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(null))))"


class Film:
    """Frames, and the hand that moves the pointer."""

    def __init__(self, page: Page, folder: Path | None = None) -> None:
        self.page = page
        self.folder = folder
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        self.frames: list[Image.Image] = []
        self.shown: list[int] = []
        self.at = (WIDTH * 0.6, HEIGHT * 0.55)
        page.evaluate("() => { window.app.canvas.show_info = false; }")
        page.evaluate(_POINTER)
        page.evaluate(_POINT, self.at)

    def shot(self, milliseconds: int = FRAME_MS) -> None:
        """Keep what is on the page, to be shown that long."""
        self.page.evaluate(_DRAWN)
        self.frames.append(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        self.shown.append(milliseconds)
        if self.folder:
            self.frames[-1].save(self.folder / f"{len(self.frames):03}.png", compress_level=1)

    def glide(self, x: float, y: float, steps: int = 8) -> None:
        """Move the pointer there in a straight line, slower at both ends."""
        from_x, from_y = self.at
        for step in range(1, steps + 1):
            share = _eased(step / steps)
            self.at = (from_x + (x - from_x) * share, from_y + (y - from_y) * share)
            self.page.mouse.move(*self.at)
            self.page.evaluate(_POINT, self.at)
            self.shot()

    def glide_to(self, element: Locator) -> None:
        """Move the pointer to the middle of an element."""
        self.glide(*_middle(element))

    def drag(self, x: float, y: float, steps: int = 10) -> None:
        """Press, move and let go."""
        self.page.mouse.down()
        self.glide(x, y, steps)
        self.page.mouse.up()

    def look_at(self, types: list[str], y: float = 0.0, height: float = 1.0, left: int = 70, steps: int = 10) -> None:
        """Move the canvas so that nodes of these types (none: all) fill the view; of their height, a part."""
        x0, y0, box_width, box_height = self.page.evaluate(_BOX, [types, y, height])
        free_width, free_height, top = WIDTH - left - 20, HEIGHT - 120, 105
        scale = min(free_width / box_width, free_height / box_height, 1.5)
        x = (left + (free_width - box_width * scale) / 2) / scale - x0
        target = (scale, x, (top + (free_height - box_height * scale) / 2) / scale - y0)
        begin = self.page.evaluate(_VIEW, [0, 0, 0])
        for step in range(1, steps + 1):
            share = _eased(step / steps)
            now = begin[0] * (target[0] / begin[0]) ** share
            # What lies in the middle of the page goes there in a straight line.
            middles = [
                [(side / 2) / view[0] - view[axis] for axis, side in ((1, WIDTH), (2, HEIGHT))]
                for view in (begin, target)
            ]
            away = (1 / begin[0] - 1 / now) / (1 / begin[0] - 1 / target[0]) if begin[0] != target[0] else share
            centre = [one + (other - one) * away for one, other in zip(*middles, strict=True)]
            self.page.evaluate(_VIEW, [now, (WIDTH / 2) / now - centre[0], (HEIGHT / 2) / now - centre[1]])
            self.shot()

    def write(self, path: Path) -> None:
        """Write the film.

        Raises:
            ToolError: it is too large for a README.
        """
        part = path.with_suffix(".webp.part")
        first, *others = self.frames
        first.save(
            part, format="WEBP", save_all=True, append_images=others, duration=self.shown, loop=0, quality=QUALITY,
            method=4, minimize_size=True,
        )  # fmt: skip
        if part.stat().st_size > LARGEST_BYTES:
            raise ToolError(f"{path.name} would be {part.stat().st_size:,} bytes, more than {LARGEST_BYTES:,}.")
        part.replace(path)
        print(f"{path.name}: {len(self.frames)} frames, {sum(self.shown) / 1000:.1f} s, {path.stat().st_size:,} bytes")


def play(page: Page, film: Film) -> None:
    """The scene: a LoRA that does not fit, the model that it was made for, run, compare, turn the single blocks down,
    run again, compare with the slider."""
    run = page.get_by_role("button", name="Run", exact=True).first
    page.evaluate(_CHOOSE, [MODEL, WIDE])
    page.locator(".patchbay-panel[data-verdict-level=error]").first.wait_for(state="attached")
    film.look_at([APPLY], 0.45, 0.55, steps=1)
    film.shot(2400)
    film.look_at([MODEL], steps=8)
    film.glide_to(page.get_by_text(WIDE).first)
    film.shot(500)
    page.evaluate(_CHOOSE, [MODEL, BASE])
    film.shot(700)
    page.locator(".patchbay-panel[data-verdict-level=ok]").first.wait_for(state="attached")
    film.look_at([APPLY], 0.45, 0.55, steps=8)
    film.shot(1600)
    film.glide_to(run)
    film.shot(300)
    run_workflow(page)
    film.look_at([COMPARE], 0.2, 0.8)
    _slide(page, film, (0.85, 0.3))
    film.look_at([APPLY], 0.28, 0.5)
    film.shot(500)
    bar = page.locator("[role=slider][data-selector='single_blocks.1']").first
    film.glide_to(bar)
    box = bar.bounding_box()
    assert box is not None
    page.keyboard.down("Shift")
    film.drag(film.at[0], film.at[1] + box["height"] * 0.36, 12)
    page.keyboard.up("Shift")
    film.shot(1300)
    film.glide_to(run)
    film.shot(300)
    run_workflow(page)
    film.look_at([COMPARE], 0.2, 0.8)
    _slide(page, film, (0.8, 0.3, 0.5))
    film.shot(1800)


def _slide(page: Page, film: Film, stops: tuple[float, ...]) -> None:
    """The viewer's slider to each of these shares of the picture."""
    page.get_by_role("button", name="Slider", exact=True).first.click()
    stage = page.locator(".patchbay-stage").first
    handle = stage.get_by_role("slider").first
    handle.wait_for(state="visible")
    page.wait_for_timeout(300)
    box = stage.bounding_box()
    assert box is not None
    film.glide_to(handle)
    for share in stops:
        film.drag(box["x"] + box["width"] * share, film.at[1])
    film.shot(700)


def _middle(element: Locator) -> tuple[float, float]:
    box = element.bounding_box()
    if box is None:
        raise ToolError(f"{element} is not on the page: has its name changed? See tools/animation.py.")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def _eased(share: float) -> float:
    return share * share * (3 - 2 * share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="")
    parser.add_argument("--frames", type=Path)
    options = parser.parse_args()
    with server_at(options.address) as address, chromium() as browser:
        page = open_comfyui(browser.new_context(viewport=window(WIDTH, HEIGHT)), address, nodes2=True)
        load_workflow(page, json.loads(WORKFLOW.read_text(encoding="utf-8")), WORKFLOW.stem)
        film = Film(page, options.frames)
        play(page, film)
        film.write(TARGET)


if __name__ == "__main__":
    main()

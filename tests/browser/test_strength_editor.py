"""The strength editor in ComfyUI's own frontend: what a bar does to the text, to undo and to the next run."""

from __future__ import annotations

from typing import Any

from comfy_page import ComfyPage
from playwright.sync_api import Locator
from support import ROOT

WORKFLOW = ROOT / "workflows" / "LoRA by block (Klein Nano).json"
NODE = "Only the double blocks"
TEXT = "all=0, double_blocks.*=1"

PRESETS = ROOT / "workflows" / "Block strength presets and LoRA stacks (Klein Nano).json"

FOOT_SAYS = """
(text) => [...document.querySelectorAll("[data-under-test] .patchbay-sb-foot")]
  .some((foot) => foot.textContent.includes(text))
"""
_NODE = """
(title) => [window.app.rootGraph, ...window.app.rootGraph.subgraphs.values()]
  .flatMap((graph) => graph.nodes).find((node) => node.title === title || node.type === title)
"""
_IS_EDITOR = "(widget) => widget.name === 'patchbay_strengths'"
"""It comes with the first node that has one, a moment after the node."""
_SHOW = f"""
async (title) => {{
  const node = ({_NODE})(title);
  const {{ element }} = node.widgets.find({_IS_EDITOR});
  const {{ canvas }} = window.app;
  document.querySelectorAll("[data-under-test]").forEach((each) => each.removeAttribute("data-under-test"));
  element.setAttribute("data-under-test", "");
  // Fitting the view moves it for a while: the node is centred again until it stays.
  let before = "";
  for (let still = 0, frame = 0; still < 6 && frame < 300; frame += 1) {{
    const {{ x, y, width, height }} = element.getBoundingClientRect();
    const now = JSON.stringify([canvas.ds.scale, x, y, width, height]);
    still = now === before && canvas.ds.scale === 1 && width > 300 ? still + 1 : 0;
    if (still === 0) {{
      canvas.ds.scale = 1;
      canvas.centerOnNode(node);
      canvas.setDirty(true, true);
    }}
    before = now;
    await new Promise((done) => requestAnimationFrame(() => done(null)));
  }}
}}
"""
_MOVE_INTO_SUBGRAPH = """
(title) => {
  const { canvas, rootGraph } = window.app;
  const node = rootGraph.nodes.find((each) => each.title === title);
  const { node: host } = rootGraph.convertToSubgraph(new Set([node]));
  canvas.openSubgraph(host.subgraph, host);
}
"""
_SORTED_ANEW = """
(root) => {
  const seen = [root, ...root.querySelectorAll("*")].filter((element) => element.checkVisibility());
  const costs = (element, part) => {
    const style = getComputedStyle(element, part);
    if (part && style.content === "none") return false;
    const rounded = style.overflow !== "visible" && parseFloat(style.borderTopLeftRadius) > 0;
    const { opacity, transform, filter } = style;
    return opacity !== "1" || transform !== "none" || filter !== "none" || (rounded && element.tagName !== "INPUT");
  };
  const parts = seen.flatMap((element) => ["", "::before", "::after"].map((part) => [element, part]));
  return parts.filter((each) => costs(...each)).map(([element, part]) => element.className + part);
}
"""
"""What Chromium sorts into layers anew for each picture; a field for text is cut by the browser itself."""
_COPY = """
(title) => {
  const { canvas, rootGraph } = window.app;
  const known = new Set(rootGraph.nodes);
  const node = rootGraph.nodes.find((each) => each.title === title);
  canvas.selectNode(node);
  canvas.copyToClipboard([node]);
  canvas.pasteFromClipboard();
  rootGraph.nodes.find((each) => !known.has(each)).title = "the copy";
}
"""


def _text(page: ComfyPage, title: str = NODE) -> str:
    return page.page.evaluate(f"(title) => ({_NODE})(title).widgets.find((w) => w.name === 'blocks').value", title)


def _wait_for_text(page: ComfyPage, text: str, title: str = NODE) -> None:
    got = f"({_NODE})(title)?.widgets.find((w) => w.name === 'blocks').value"
    page.page.wait_for_function(f"([title, text]) => {got} === text", arg=[title, text])


def _write(page: ComfyPage, text: str, title: str = NODE) -> None:
    """As a workflow, an undo or another pack writes: the widget, and nobody is told."""
    page.page.evaluate(
        f"([title, text]) => {{ ({_NODE})(title).widgets.find((w) => w.name === 'blocks').value = text; }}",
        [title, text],
    )


def _editor(page: ComfyPage, title: str = NODE) -> Locator:
    """The editor on the page that belongs to a node, once its blocks and the LoRA's energy are known."""
    page.page.wait_for_function(f"(title) => ({_NODE})(title)?.widgets?.some(({_IS_EDITOR}))", arg=title)
    page.page.evaluate(_SHOW, title)
    editor = page.page.locator("[data-under-test]")
    editor.locator(".patchbay-sb").first.wait_for(state="visible")
    page.page.wait_for_function("() => document.querySelector('[data-under-test] .patchbay-sb[style*=energy]')")
    return editor


def _bar(editor: Locator, selector: str) -> Locator:
    return editor.locator(f'.patchbay-sb[data-selector="{selector}"]')


def _drag(page: ComfyPage, slider: Locator, up: float = 0, right: float = 0, held: str = "", end: str = "") -> None:
    """Drags a bar, with a key held down; ``end`` is pressed before the button is let go."""
    box = slider.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse, keyboard = page.page.mouse, page.page.keyboard
    mouse.move(x, y)
    mouse.down()
    if held:
        keyboard.down(held)
    mouse.move(x + right / 2, y - up / 2, steps=3)
    mouse.move(x + right, y - up, steps=3)
    if end:
        keyboard.press(end)
    mouse.up()
    if held:
        keyboard.up(held)


def _last(text: str) -> tuple[str, float]:
    """Selector and strength of the last item."""
    selector, _, value = text.rpartition(", ")[2].rpartition("=")
    return selector, float(value)


def test_bars_write_the_text_and_follow_it(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    editor = _editor(comfy_page)
    assert editor.evaluate(_SORTED_ANEW) == []
    bar = _bar(editor, "single_blocks.1")
    _drag(comfy_page, bar, 30)
    written = _text(comfy_page)
    assert written.startswith(f"{TEXT}, single_blocks.1=")
    value = float(written.rpartition("=")[2])
    assert value > 0
    assert float(bar.get_attribute("aria-valuenow") or "nan") == value
    comfy_page.page.keyboard.press("Control+z")
    _wait_for_text(comfy_page, TEXT)
    _editor(comfy_page)
    comfy_page.page.keyboard.press("Control+y")
    _wait_for_text(comfy_page, written)
    _editor(comfy_page)
    comfy_page.page.keyboard.press("Control+z")
    _wait_for_text(comfy_page, TEXT)
    bar = _bar(_editor(comfy_page), "single_blocks.1")
    assert bar.get_attribute("aria-valuenow") == "0"
    bar.focus()
    comfy_page.page.keyboard.press("ArrowUp")
    assert _text(comfy_page) == f"{TEXT}, single_blocks.1=0.05"
    comfy_page.page.keyboard.press("Shift+ArrowUp")
    assert _text(comfy_page) == "all=0, double_blocks.*=1, single_blocks.*=0.1"
    comfy_page.page.keyboard.type("-0.3")
    comfy_page.page.keyboard.press("Enter")
    assert _text(comfy_page).endswith("single_blocks.*=0.1, single_blocks.1=-0.3")
    comfy_page.screenshot("strength editor")
    _write(comfy_page, "single_blocks.2=1.25 # up")
    bar = _bar(_editor(comfy_page), "single_blocks.2")
    comfy_page.page.wait_for_function("(bar) => bar.getAttribute('aria-valuenow') === '1.25'", arg=bar.element_handle())
    bar.dblclick()
    assert _text(comfy_page) == "# up"
    saved = comfy_page.page.evaluate(f"(title) => ({_NODE})(title).serialize().widgets_values", NODE)
    assert "# up" in saved
    comfy_page.assert_no_pack_errors()


def test_the_gestures_and_the_menu(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    editor = _editor(comfy_page)
    bar = _bar(editor, "single_blocks.1")
    _drag(comfy_page, bar, 40, held="Alt")
    selector, fine = _last(_text(comfy_page))
    assert selector == "single_blocks.1"
    assert 0 < fine < 0.2, "a fifth of the way"
    _drag(comfy_page, bar, 40, end="Escape")
    assert _last(_text(comfy_page)) == (selector, fine), "Escape takes the drag back"
    _drag(comfy_page, bar, 40, held="Shift")
    selector, whole = _last(_text(comfy_page))
    assert selector == "single_blocks.*"
    assert whole > fine
    bar.dblclick()
    assert _last(_text(comfy_page)) == ("single_blocks.1", 1)

    tall = _height(comfy_page)
    editor.locator(".patchbay-sb-unfold").click()
    part = editor.locator('.patchbay-sb-flat[data-selector="single_blocks.1.attn"]')
    part.wait_for(state="visible")
    assert _height(comfy_page) > tall
    editor = _editor(comfy_page)
    before = _text(comfy_page)
    _drag(comfy_page, part, right=-30)
    selector, value = _last(_text(comfy_page))
    assert selector == "single_blocks.1.attn"
    assert value < 1
    comfy_page.screenshot("strength editor with parts")
    number = editor.get_by_role("textbox", name="Strength of attn", exact=True)
    number.fill("\u22121,5")
    number.press("Enter")
    assert _last(_text(comfy_page)) == (selector, -1.5)
    assert part.get_attribute("aria-valuenow") == "-1.5"
    editor.locator(".patchbay-sb-detail").click(position={"x": 4, "y": 4})
    for key, text in (("Control+z", f"{before}, {selector}={value:g}"), ("Control+z", before)):
        comfy_page.page.keyboard.press(key)
        _wait_for_text(comfy_page, text)
        _editor(comfy_page)
    assert _height(comfy_page) == tall, "the parts are folded again, and the node is not taller than they are"

    editor = _editor(comfy_page)
    editor.get_by_role("button", name="Presets").click()
    comfy_page.page.get_by_role("menuitem", name="Only attention").click()
    assert "attn=1" in _text(comfy_page)
    assert "0…1" in editor.locator(".patchbay-sb-kind-value").first.inner_text()
    comfy_page.assert_no_pack_errors()


def test_copies_files_and_subgraphs_have_the_text(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    _write(comfy_page, "single_blocks.2=-0.25")
    comfy_page.page.evaluate(_COPY, NODE)
    assert _bar(_editor(comfy_page, "the copy"), "single_blocks.2").get_attribute("aria-valuenow") == "-0.25"
    comfy_page.page.evaluate(
        "() => window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.rootGraph.serialize())))"
    )
    assert _bar(_editor(comfy_page, "the copy"), "single_blocks.2").get_attribute("aria-valuenow") == "-0.25"
    comfy_page.page.evaluate(_MOVE_INTO_SUBGRAPH, NODE)
    editor = _editor(comfy_page)
    comfy_page.page.wait_for_function(FOOT_SAYS, arg="Blocks of the model file")
    _bar(editor, "single_blocks.2").focus()
    comfy_page.page.keyboard.press("ArrowUp")
    assert _text(comfy_page) == "single_blocks.2=-0.2"
    sent = [node["inputs"]["blocks"] for node in comfy_page.prompt().values() if "blocks" in node["inputs"]]
    assert "single_blocks.2=-0.2" in sent
    _bars_of_block_strengths(comfy_page)
    comfy_page.assert_no_pack_errors()


def _bars_of_block_strengths(comfy_page: ComfyPage) -> None:
    """They stand on the node's preset, on the node that reads the text too; alone they say what to connect."""
    comfy_page.load_workflow(PRESETS)
    editor = _editor(comfy_page, "PatchbayBlockStrengths")
    bar = _bar(editor, "double_blocks.1")
    off = "(bar) => bar.getAttribute('aria-valuenow') === '0'"
    comfy_page.page.wait_for_function(off, arg=bar.element_handle())
    bar.focus()
    comfy_page.page.keyboard.press("ArrowUp")
    assert _text(comfy_page, "PatchbayBlockStrengths") == "double_blocks.1=0.05"
    reader = _bar(_editor(comfy_page, "PatchbayApplyLora"), "double_blocks.1")
    now = "(bar) => bar.getAttribute('aria-valuenow') === '0.05'"
    comfy_page.page.wait_for_function(now, arg=reader.element_handle())
    comfy_page.page.evaluate(
        """
        () => {
          window.app.rootGraph.clear();
          const node = window.LiteGraph.createNode("PatchbayBlockStrengths");
          window.app.rootGraph.add(node);
        }
        """
    )
    comfy_page.page.wait_for_function(
        "() => [...document.querySelectorAll('.patchbay-editor .patchbay-empty')]"
        ".some((each) => each.textContent.startsWith('Connect a model'))"
    )
    _blocks_of_the_file_until_a_model_is_connected(comfy_page)


def _blocks_of_the_file_until_a_model_is_connected(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    page.evaluate(
        """
        () => {
          const node = window.LiteGraph.createNode("PatchbayApplyLora");
          window.app.rootGraph.add(node);
          node.widgets.find(({ name }) => name === "lora_name").value = "klein-nano-duotone.safetensors";
        }
        """
    )
    editor = _editor(comfy_page, "PatchbayApplyLora")
    page.wait_for_function(FOOT_SAYS, arg="Blocks of the LoRA file, no model yet")
    editor.locator(".patchbay-sb").nth(5).wait_for(state="attached")
    page.evaluate(
        """
        () => {
          const { rootGraph } = window.app;
          const model = window.LiteGraph.createNode("UNETLoader");
          rootGraph.add(model);
          model.widgets[0].value = "klein-nano-base.safetensors";
          model.connect(0, rootGraph.nodes.find(({ type }) => type === "PatchbayApplyLora"), 0);
        }
        """
    )
    page.wait_for_function(FOOT_SAYS, arg="Blocks of the model file")


def _height(page: ComfyPage) -> float:
    return page.page.evaluate(f"(title) => ({_NODE})(title).size[1]", NODE)


def test_the_next_run_has_the_strength_of_the_bar(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    comfy_page.queue_and_wait()
    before, picture = _report(comfy_page), _picture(comfy_page)
    _drag(comfy_page, _bar(_editor(comfy_page), "single_blocks.1"), 30)
    written = _text(comfy_page)
    comfy_page.queue_and_wait()
    after = _report(comfy_page)
    value = float(written.rpartition("=")[2])
    assert after["blocks"] == written
    assert _strengths(before, "single_blocks.1") == {0.0}
    assert _strengths(after, "single_blocks.1") == {value}
    assert _strengths(after, "double_blocks.1") == _strengths(before, "double_blocks.1") == {1.0}
    dragged = _picture(comfy_page)
    assert dragged != picture
    _write(comfy_page, f"other=0\nsingle_blocks.0=0, single_blocks.2-3=0\nsingle_blocks.1={value:g}")
    comfy_page.queue_and_wait()
    assert _report(comfy_page)["blocks"] != written
    assert _picture(comfy_page) == dragged, "the same strengths, written in another way"


def _report(page: ComfyPage) -> dict[str, Any]:
    node = page.page.evaluate(f"(title) => String(({_NODE})(title).id)", NODE)
    return page.page.evaluate("(id) => window.app.nodeOutputs[id].patchbay_report[0]", node)


def _strengths(report: dict[str, Any], block: str) -> set[float]:
    return {layer["block_strength"] for layer in report["layers"] if layer["block"] == block}


def _picture(page: ComfyPage) -> list[int]:
    """The pixels that the comparison shows as *only double blocks*."""
    return page.page.evaluate(
        """
        async () => {
          const { rootGraph, nodeOutputs } = window.app;
          const node = rootGraph.nodes.find(({ type }) => type === "PatchbayCompareImages");
          const { filename, subfolder, type } = nodeOutputs[node.id].patchbay_compare[0].pairs[0].a;
          const url = `/view?${new URLSearchParams({ filename, subfolder, type })}`;
          const bitmap = await createImageBitmap(await (await fetch(url)).blob());
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
          canvas.drawImage(bitmap, 0, 0);
          return [...canvas.getImageData(0, 0, bitmap.width, bitmap.height).data];
        }
        """
    )

"""A report is bright only beside the inputs that made it: other LoRA, blocks, model, another copy of the template."""

from __future__ import annotations

from typing import Any

from comfy_page import ComfyPage
from side_bar import can_be_read, open_side_bar

BUILD = """
() => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  const [model, ours, show] = ["UNETLoader", "PatchbayApplyLora", "PatchbayShowPatches"].map((type, i) => {
    const node = window.LiteGraph.createNode(type);
    rootGraph.add(node);
    node.pos = [60 + i * 480, 120];
    return node;
  });
  model.connect(0, ours, 0);
  ours.connect(0, show, 0);
}
"""
WRITE = """
([type, name, value]) => {
  const { widgets } = window.app.rootGraph.nodes.find((node) => node.type === type);
  widgets.find((widget) => widget.name === name).value = value;
  window.app.canvas.setDirty(true, true);
}
"""
LINES = """
(wanted) => {
  const cards = [...document.querySelectorAll(".patchbay-card")];
  const lines = cards.map((card) => card.getAttribute("data-earlier") ?? "");
  return cards.length === 2 && cards.every((card) => card.querySelector(".patchbay-summary"))
    && lines.every((line) => line === wanted);
}
"""
TRUE_TO_CANVAS = """
() => {
  const cards = [...document.querySelectorAll(".patchbay-card")];
  return cards.length === 2 && cards.every((card) => card.querySelector(".patchbay-summary")
    && (card.getAttribute("data-earlier")?.includes("instruments") || card.textContent.includes("duotone")));
}
"""
SIDE = "(wanted) => (document.querySelector('.patchbay-side .patchbay-earlier')?.textContent ?? '') === wanted"
HIDDEN = """
(name) => window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayApplyLora")
  .widgets.filter(({ hidden }) => hidden).map((widget) => widget.name).join() === name
"""
"""Without a CLIP, its strength means nothing."""
COMPACT = """
() => [...document.querySelectorAll(".lg-node-widgets")].every((grid) => !grid.textContent.includes("strength_clip")
  && [...grid.querySelectorAll("textarea")].every((field) => field.offsetHeight < 50))
"""
"""Nodes 2.0 shows neither that strength nor a text field taller than its one line."""
OPEN = "async (workflow) => { await window.app.loadGraphData(workflow, true, true, 'the template again'); }"
APPLY = "PatchbayApplyLora"


def test_a_result_of_other_inputs_is_dimmed_and_says_of_which(comfy_page: ComfyPage) -> None:
    page = comfy_page.page
    page.evaluate(BUILD)
    inputs = (("UNETLoader", "unet_name", "klein-nano-base"), (APPLY, "lora_name", "klein-nano-duotone"))
    for node, name, value in inputs:
        page.evaluate(WRITE, [node, name, f"{value}.safetensors"])
    page.evaluate(WRITE, [APPLY, "blocks", "double_blocks.*=0"])
    page.wait_for_function(HIDDEN, arg="strength_clip")
    page.wait_for_function(COMPACT)
    open_side_bar(comfy_page)
    comfy_page.queue_and_wait()
    _all_say(comfy_page, "")
    changes = (
        (APPLY, "blocks", "double_blocks.*=0.5", "double_blocks.*=0"),
        (APPLY, "lora_name", "klein-nano-monochrome.safetensors", "klein-nano-duotone.safetensors"),
        (APPLY, "strength_model", 0.5, 1),
        ("UNETLoader", "unet_name", "klein-nano-distilled.safetensors", "klein-nano-base.safetensors"),
    )
    for node, name, value, before in changes:
        page.evaluate(WRITE, [node, name, value])
        said = str(before).removesuffix(".safetensors") if isinstance(before, str) else f"{name}={before}"
        _all_say(comfy_page, f"From an earlier run: {said}")
        if name == "blocks":
            can_be_read(comfy_page, 10)
            comfy_page.screenshot("report of an earlier run")
        page.evaluate(WRITE, [node, name, before])
        _all_say(comfy_page, "")
    _a_template_opened_afresh(comfy_page)
    comfy_page.assert_no_pack_errors()


def _a_template_opened_afresh(comfy_page: ComfyPage) -> None:
    """Every copy of a template shares its id: the results of another copy are not bright in this one."""
    page = comfy_page.page
    saved: dict[str, Any] = page.evaluate("() => window.app.rootGraph.serialize()")
    page.evaluate(WRITE, [APPLY, "lora_name", "klein-nano-concept-instruments.safetensors"])
    page.evaluate(WRITE, [APPLY, "blocks", "single_blocks.*=0.25"])
    comfy_page.queue_and_wait()
    _all_say(comfy_page, "")
    page.evaluate(OPEN, saved)
    # Either the page still has the other copy's results, then dimmed, or the run of these very inputs is shown.
    page.wait_for_function(TRUE_TO_CANVAS)


def _all_say(comfy_page: ComfyPage, line: str) -> None:
    comfy_page.page.wait_for_function(LINES, arg=line)
    comfy_page.page.wait_for_function(SIDE, arg=line)

"""The verdict before a run, as a badge on nodes with one LoRA, in ComfyUI's own frontend."""

from __future__ import annotations

import json

from comfy_page import ComfyPage
from gguf_files import write_gguf
from pack.nodes.core.files.header import read_header
from support import ROOT

from tools.server import ComfyServer

WORKFLOW = ROOT / "workflows" / "Does this LoRA fit (Klein Nano).json"
_BADGES = """
(type) => window.app.rootGraph.nodes.filter((node) => node.type === type).map((node) => node.badges
  .map((badge) => (typeof badge === "function" ? badge() : badge).text).filter((text) => /^[✓△✗]/.test(text)))
"""
_STOCK = """
() => {
  const { rootGraph } = window.app;
  const loader = window.LiteGraph.createNode("LoraLoaderModelOnly");
  loader.pos = [400, 900];
  rootGraph.add(loader);
  rootGraph.nodes.find((node) => node.type === "UNETLoader").connect(0, loader, 0);
  loader.widgets.find((widget) => widget.name === "lora_name").value = "klein-nano-duotone.safetensors";
}
"""


def _wait(page: ComfyPage, node: str, badges: list[list[str]]) -> None:
    page.page.wait_for_function(
        f"([node, wanted]) => JSON.stringify(({_BADGES})(node)) === wanted",
        arg=[node, json.dumps(badges, ensure_ascii=False, separators=(",", ":"))],
    )


_MENU = """
() => {
  const node = window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayCheckLora");
  const item = window.app.canvas.getNodeMenuOptions(node).find((each) => each?.content === "Choose a LoRA that fits");
  item?.callback();
  return Boolean(item);
}
"""
"""The list from the menu of a node with one LoRA."""
_CHOSEN = """
(name) => window.app.rootGraph.nodes.find(({ type }) => type === "PatchbayCheckLora")
  .widgets.find((widget) => widget.name === "lora_name").value === name
"""


def test_check_says_it_before_the_run_and_follows_the_choice(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    _wait(comfy_page, "PatchbayCheckLora", [["✓ fits"], ["✗ does not fit"]])
    comfy_page.focus_node("PatchbayCheckLora")
    if comfy_page.renderer == "nodes2":
        comfy_page.page.locator('.patchbay-panel[data-verdict="✗ does not fit"]').wait_for(state="attached")
    comfy_page.screenshot("verdict-pill")
    comfy_page.page.evaluate(
        "() => { for (const n of window.app.rootGraph.nodes.filter((n) => n.type === 'UNETLoader'))"
        " n.widgets.find((w) => w.name === 'unet_name').value = 'klein-nano-base.safetensors'; }"
    )
    comfy_page.page.keyboard.press("Shift")
    _wait(comfy_page, "PatchbayCheckLora", [["✓ fits"], ["✓ fits"]])
    comfy_page.page.wait_for_function(_MENU)
    comfy_page.page.locator(".patchbay-pick-search").fill("mono")
    comfy_page.page.locator(".patchbay-pick-line .patchbay-dot-ok").first.wait_for()
    comfy_page.page.keyboard.press("Enter")
    comfy_page.page.wait_for_function(_CHOSEN, arg="klein-nano-monochrome.safetensors")
    comfy_page.assert_no_pack_errors()


def test_other_loaders_say_it_where_the_user_wants_it(comfy_page: ComfyPage) -> None:
    comfy_page.load_workflow(WORKFLOW)
    _wait(comfy_page, "PatchbayCheckLora", [["✓ fits"], ["✗ does not fit"]])
    comfy_page.page.evaluate(_STOCK)
    _wait(comfy_page, "LoraLoaderModelOnly", [[]])
    switch = "(on) => window.app.extensionManager.setting.set('LoraPatchbay.Nodes.ShowVerdicts', on)"
    comfy_page.page.evaluate(switch, True)
    _wait(comfy_page, "LoraLoaderModelOnly", [["✓ fits"]])
    comfy_page.page.evaluate(switch, False)
    _wait(comfy_page, "LoraLoaderModelOnly", [[]])
    comfy_page.assert_no_pack_errors()


_ONE = """
([type, widget, value]) => {
  const { rootGraph } = window.app;
  rootGraph.clear();
  const [loader, check] = [type, "PatchbayCheckLora"].map((each, i) => {
    const node = window.LiteGraph.createNode(each);
    node.pos = [60 + i * 420, 120];
    rootGraph.add(node);
    return node;
  });
  loader.connect(0, check, 0);
  loader.widgets.find(({ name }) => name === widget).value = value;
  check.widgets.find(({ name }) => name === "lora_name").value = "klein-nano-duotone.safetensors";
}
"""
"""One loader and a Check LoRA."""
_SET = """
([type, widget, value]) => {
  const node = window.app.rootGraph.nodes.find((each) => each.type === type);
  node.widgets.find(({ name }) => name === widget).value = value;
  window.app.canvas.setDirty(true, true);
}
"""


def test_a_gguf_loader_has_a_pill(comfy_page: ComfyPage, comfy_server: ComfyServer) -> None:
    for name in ("klein-nano-distilled", "klein-nano-wide"):
        header = read_header(ROOT / "models" / "diffusion_models" / f"{name}.safetensors")
        shapes = {key: info.shape for key, info in header.tensors.items()}
        write_gguf(comfy_server.base / "models" / "diffusion_models" / f"{name}.gguf", shapes)
    comfy_page.page.evaluate(_ONE, ["ProbeGGUFLoader", "unet_name", "klein-nano-distilled.gguf"])
    _wait(comfy_page, "PatchbayCheckLora", [["✓ fits"]])
    comfy_page.page.evaluate(_SET, ["ProbeGGUFLoader", "unet_name", "klein-nano-wide.gguf"])
    _wait(comfy_page, "PatchbayCheckLora", [["✗ does not fit"]])
    comfy_page.assert_no_pack_errors()


def test_a_loader_that_names_no_file_has_the_pill_of_its_last_run(comfy_page: ComfyPage) -> None:
    """Another LoRA is judged against what came out of the loader; another loader is not known before it ran."""
    loader, check = "ProbeLoader", "PatchbayCheckLora"
    comfy_page.page.evaluate(_ONE, [loader, "which", "wide"])
    comfy_page.page.wait_for_timeout(1000)
    _wait(comfy_page, check, [[]])
    comfy_page.queue_and_wait()
    _wait(comfy_page, check, [["✗ does not fit"]])
    comfy_page.page.evaluate(_SET, [loader, "which", "distilled"])
    _wait(comfy_page, check, [[]])
    comfy_page.queue_and_wait()
    _wait(comfy_page, check, [["✓ fits"]])
    comfy_page.page.evaluate(_SET, [check, "lora_name", "klein-nano-monochrome.safetensors"])
    _wait(comfy_page, check, [["✓ fits"]])
    comfy_page.page.evaluate(_SET, [loader, "which", "wide"])
    _wait(comfy_page, check, [[]])
    comfy_page.assert_no_pack_errors()

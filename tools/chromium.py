"""ComfyUI's page in a headless Chromium, for pictures. Needs the test tools: run it with the runtime's Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from .client import ComfyClient
from .errors import ToolError
from .paths import RUNTIME
from .progress import Progress
from .runtime import ensure_runtime
from .server import ComfyServer
from .versions import COMFYUI_VERSION
from .web_tools import any_browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
QUIET: dict[str, Any] = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.40.0",
    "Comfy.Release.Status": "what's new seen",
    "Comfy.Workflow.Persist": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.ColorPalette": "dark",
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}
READY_MS = 120_000
_READY = "() => Boolean(window.app?.vueAppReady && window.app?.rootGraph && window.app?.extensionManager)"
_QUEUE = """
async () => {
  const api = window.comfyAPI.api.api;
  const once = { once: true };
  const ended = new Promise((done) => {
    api.addEventListener("execution_success", () => done("success"), once);
    api.addEventListener("execution_error", (event) => done(String(event.detail?.exception_message)), once);
    api.addEventListener("execution_interrupted", () => done("interrupted"), once);
  });
  await window.comfyAPI.app.app.queuePrompt(0, 1);
  return await ended;
}
"""


@contextmanager
def server_at(address: str) -> Iterator[str]:
    """The address of a ComfyUI that runs already, or of one that is started for this."""
    if address:
        yield address
        return
    base = RUNTIME / "pictures"
    server = ComfyServer(ensure_runtime(COMFYUI_VERSION, Progress()), base, base / "comfyui.log")
    with server:
        yield server.address


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    program = any_browser()
    if program is None:
        raise ToolError("no Chromium was found. Run 'python3 patchbay.py setup', or set PATCHBAY_BROWSER.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def open_comfyui(context: BrowserContext, address: str, nodes2: bool, **more: Any) -> Page:
    """ComfyUI, ready, as somebody sees it who has used it before.

    Args:
        more: Settings by name.
    """
    settings = {**QUIET, "Comfy.Locale": "en", "Comfy.VueNodes.Enabled": nodes2, **more}
    ComfyClient(address).post_json("/settings", settings)
    page = context.new_page()
    page.set_default_timeout(READY_MS)
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function(_READY)
    page.wait_for_selector("#graph-canvas")
    # The canvas has a size of its own from the page's first layout on.
    page.wait_for_timeout(1000)
    return page


def load_workflow(page: Page, workflow: dict[str, Any], name: str) -> None:
    """Open a workflow in place of what is on the canvas."""
    page.evaluate("([workflow, name]) => window.app.loadGraphData(workflow, true, true, name)", [workflow, name])
    count = len(workflow["nodes"])
    page.wait_for_function("(count) => window.app.rootGraph.nodes.length === count", arg=count)
    page.wait_for_timeout(1000)


def run_workflow(page: Page) -> None:
    """Run what is on the canvas, to the end.

    Raises:
        ToolError: it ended otherwise than well.
    """
    result = page.evaluate(_QUEUE)
    if result != "success":
        raise ToolError(f"the workflow did not run: {result}. Run it in ComfyUI and mend what the node says.")
    page.wait_for_timeout(1500)


def window(width: int, height: int) -> ViewportSize:
    """The page's size in pixels."""
    return ViewportSize(width=width, height=height)

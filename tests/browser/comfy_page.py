"""ComfyUI's page in a real browser, with what the tests ask of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from playwright.sync_api import ConsoleMessage, Error, Page, Route, TimeoutError

ARTEFACTS = Path(__file__).resolve().parents[2] / "test-artefacts"
START_MS = 60_000
LOAD_MS = 30_000
RUN_MS = 180_000

_THEIRS = "Command Workspace.ToggleSidebarTab.lora-patchbay already registered"
"""The frontend forgets a tab that is taken away, but not its command, and warns when the tab comes back."""
_READY = "() => Boolean(window.app?.vueAppReady && window.app?.rootGraph && window.app?.extensionManager)"
_LOAD = "async ([workflow, name]) => { await window.app.loadGraphData(workflow, true, true, name); }"
_QUEUE = """
() => {
  const result = (window.__patchbayRun = { state: "running" });
  const { api, app } = window.comfyAPI ? { api: window.comfyAPI.api.api, app: window.comfyAPI.app.app } : window;
  const finish = (state) => (event) => { result.detail = event.detail ?? null; result.state = state; };
  const once = { once: true };
  api.addEventListener("execution_success", finish("success"), once);
  api.addEventListener("execution_error", finish("error"), once);
  api.addEventListener("execution_interrupted", finish("interrupted"), once);
  app.queuePrompt(0, 1).then((accepted) => { if (accepted === false) result.state = "refused"; });
}
"""
_OVERLAPS = """
async () => {
  const title = window.LiteGraph.NODE_TITLE_HEIGHT;
  const nodes = () => window.app.rootGraph.nodes.map((node) =>
    [node.title || node.type, node.pos[0], node.pos[1] - title, node.size[0], node.size[1] + title]);
  let before = "";
  for (let still = 0, frame = 0; still < 6 && frame < 120; frame += 1) {
    await new Promise((done) => requestAnimationFrame(() => done(null)));
    const now = JSON.stringify(nodes());
    still = now === before ? still + 1 : 0;
    before = now;
  }
  const frames = window.app.rootGraph.groups.map((group) => [group.title, ...group.pos, ...group.size]);
  const cover = ([, x, y, w, h], [, left, top, width, height]) =>
    x < left + width && left < x + w && y < top + height && top < y + h;
  const pairs = (boxes) => boxes.flatMap((one, index) =>
    boxes.slice(index + 1).filter((other) => cover(one, other)).map((other) => `${one} / ${other}`));
  return [...pairs(nodes()), ...pairs(frames)];
}
"""


@dataclass
class ComfyPage:
    """One page of ComfyUI's frontend, and everything that went wrong on it."""

    page: Page
    address: str
    renderer: str
    """``classic`` or ``nodes2``."""
    theme: str
    """``dark`` or ``light``."""
    console_complaints: list[str] = field(default_factory=list)
    """Errors and warnings."""
    page_errors: list[str] = field(default_factory=list)
    outside_requests: list[str] = field(default_factory=list)
    """Requests to other machines; none gets through."""

    def watch(self) -> None:
        """Collect errors, and keep every request on this machine."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_page_error)
        self.page.route(lambda url: urlparse(url).hostname not in ("127.0.0.1", "localhost"), self._refuse)

    def open(self, query: str = "/") -> None:
        """Open ComfyUI and wait until it can be used."""
        self.page.goto(self.address + query, wait_until="domcontentloaded", timeout=START_MS)
        self.page.wait_for_function(_READY, timeout=START_MS)
        # The splash screen goes once the first graph is drawn.
        self.page.wait_for_selector("#graph-canvas", timeout=START_MS)
        self.next_frame()

    def load_workflow(self, path: Path) -> None:
        """Open a workflow file as if it was dropped on the canvas, and fit it into the view."""
        workflow = json.loads(path.read_text(encoding="utf-8"))
        loaded = "(count) => window.app.rootGraph.nodes.length === count"
        try:
            self.page.evaluate(_LOAD, [workflow, path.stem])
            self.page.wait_for_function(loaded, arg=len(workflow["nodes"]), timeout=LOAD_MS / 6)
        except TimeoutError:
            # The frontend drops a workflow that comes while it still goes back to the one before, as after a change of
            # the language.
            self.page.evaluate(_LOAD, [workflow, path.stem])
            self.page.wait_for_function(loaded, arg=len(workflow["nodes"]), timeout=LOAD_MS)
        self.fit_view()

    def fit_view(self) -> None:
        """Show the whole graph."""
        self.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.next_frame()

    def queue_and_wait(self) -> None:
        """Press Run, in effect, and wait for the end.

        Raises:
            AssertionError: a node raised an error, or the workflow was refused.
        """
        self.page.evaluate(_QUEUE)
        self.page.wait_for_function("() => window.__patchbayRun.state !== 'running'", timeout=RUN_MS)
        result = self.page.evaluate("() => window.__patchbayRun")
        detail = result.get("detail") or {}
        assert result["state"] == "success", (
            f"{result['state']}: node {detail.get('node_id')} ({detail.get('node_type')}) "
            f"{detail.get('exception_type')}: {detail.get('exception_message')}"
        )
        self.next_frame()

    def next_frame(self, count: int = 2) -> None:
        """Let the page draw."""
        for _ in range(count):
            self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(null)))")

    def focus_node(self, node_type: str) -> int:
        """Centre the view on the first node of a type at full size; its id."""
        node_id = self.page.evaluate(
            """
            (type) => {
              const node = window.app.rootGraph.nodes.find((each) => each.type === type);
              if (!node) return null;
              const canvas = window.app.canvas;
              canvas.ds.scale = 1;
              canvas.centerOnNode(node);
              canvas.setDirty(true, true);
              return node.id;
            }
            """,
            node_type,
        )
        assert node_id is not None, f"there is no {node_type} on the canvas"
        self.next_frame(4)
        return node_id

    def overlaps(self) -> list[str]:
        """Pairs of nodes or of frames that cover each other, once the nodes have taken the room that they need."""
        return self.page.evaluate(_OVERLAPS)

    def missing_node_types(self) -> list[str]:
        """Types of the nodes on the canvas that this ComfyUI does not know."""
        return self.page.evaluate(
            "() => window.app.rootGraph.nodes.map((node) => node.type)"
            ".filter((type) => !window.LiteGraph.registered_node_types[type])"
        )

    def complaints(self) -> list[str]:
        """Texts of the dialogs and of the toasts that warn."""
        return self.page.evaluate(
            """
            () => [...document.querySelectorAll(
                "[role=dialog], .p-dialog, .p-toast-message-error, .p-toast-message-warn, [data-testid=error-overlay]"
              )].filter((element) => element.checkVisibility()).map((element) => element.innerText.trim())
            """
        )

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the page in ``test-artefacts``."""
        path = ARTEFACTS / f"{name}-{self.renderer}-{self.theme}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
        return path

    def prompt(self) -> dict[str, Any]:
        """The canvas in API format, as the frontend itself converts it."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def assert_no_pack_errors(self) -> None:
        """No uncaught error at all, and no error or warning on the console that is about the pack."""
        assert self.page_errors == []
        ours = [text for text in self.console_complaints if "patchbay" in text.lower() and not text.startswith(_THEIRS)]
        assert ours == [], ours

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console_complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_page_error(self, error: Error) -> None:
        self.page_errors.append(f"{error.message}\n{error.stack or ''}")

    def _refuse(self, route: Route) -> None:
        self.outside_requests.append(route.request.url)
        route.abort()

"""Fixtures of the browser tests: one browser for the session, a page of ComfyUI for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from comfy_page import ComfyPage
from playwright.sync_api import Browser, BrowserContext, Route, ViewportSize, sync_playwright
from support import skip_or_fail

from tools.client import ComfyClient
from tools.errors import ToolError
from tools.frontend import frontend_folder
from tools.server import ComfyServer
from tools.versions import NEWEST_FRONTEND
from tools.web_tools import any_browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = ViewportSize(width=1680, height=1050)
QUIET: dict[str, Any] = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.40.0",
    "Comfy.Release.Status": "what's new seen",
    "Comfy.Workflow.Persist": False,
    "Comfy.Workflow.ConfirmDelete": False,
}
"""Settings of somebody who has been here before: no tour, no news."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium, one for the whole session."""
    try:
        program = any_browser()
    except ToolError as error:
        pytest.fail(str(error), pytrace=False)
    if program is None:
        skip_or_fail("no Chromium, Chrome or Edge on this machine, and none could be installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[pytest.param("classic", marks=pytest.mark.all), "nodes2"])
def renderer(request: pytest.FixtureRequest) -> str:
    """Both ways in which ComfyUI draws nodes; the older one in the layer ``all``, and in the quick run where a test has
    one page for many."""
    return request.param


@pytest.fixture
def theme() -> str:
    """ComfyUI's palette; a test that needs another parametrises this name."""
    return "dark"


@contextmanager
def fresh_page(
    browser: Browser,
    comfy_server: ComfyServer,
    comfy: ComfyClient,
    renderer: str,
    theme: str,
    frontend: Path | None = None,
) -> Iterator[ComfyPage]:
    """A page of its own that ComfyUI can be opened in, with these settings; ``frontend`` is a folder of static files of
    another one."""
    settings = {**QUIET, "Comfy.VueNodes.Enabled": renderer == "nodes2", "Comfy.ColorPalette": theme}
    comfy.post_json("/settings", settings)
    context = browser.new_context(viewport=VIEWPORT, locale="en-US")
    fresh = ComfyPage(context.new_page(), comfy_server.address, renderer, theme)
    fresh.watch()
    if frontend is not None:
        _serve_from(frontend, context)
    yield fresh
    context.close()


def _serve_from(frontend: Path, context: BrowserContext) -> None:
    """Give the page these files in the place of the server's, which is all that ``--front-end-root`` changes."""

    def file_of(url: str) -> Path:
        return frontend / (unquote(urlparse(url).path).lstrip("/") or "index.html")

    def answer(route: Route) -> None:
        route.fulfill(path=file_of(route.request.url))

    def is_here(url: str) -> bool:
        return file_of(url).is_file() and file_of(url).resolve().is_relative_to(frontend.resolve())

    context.route(is_here, answer)
    # To the browser such a page comes from no network at all, so it would not let it talk to this machine.
    context.grant_permissions(["local-network-access"])


@pytest.fixture
def unopened_page(
    browser: Browser, comfy_server: ComfyServer, comfy: ComfyClient, renderer: str, theme: str
) -> Iterator[ComfyPage]:
    """A fresh page with the settings of the test, on which the test itself opens ComfyUI."""
    with fresh_page(browser, comfy_server, comfy, renderer, theme) as fresh:
        yield fresh


@pytest.fixture
def comfy_page(unopened_page: ComfyPage) -> ComfyPage:
    """ComfyUI, open in a fresh page with the settings of the test."""
    unopened_page.open()
    return unopened_page


@pytest.fixture(scope="session", params=["classic", pytest.param("nodes2", marks=pytest.mark.all)])
def lasting_page(
    request: pytest.FixtureRequest, browser: Browser, comfy_server: ComfyServer, comfy: ComfyClient
) -> Iterator[ComfyPage]:
    """One page for many tests, as of somebody who opens one workflow after the other."""
    with fresh_page(browser, comfy_server, comfy, request.param, "dark") as fresh:
        fresh.open()
        yield fresh


@pytest.fixture(scope="session")
def newest_page(browser: Browser, comfy_server: ComfyServer, comfy: ComfyClient) -> Iterator[ComfyPage]:
    """One page for many tests, with the newest frontend that is known, and the way of drawing that it begins with."""
    folder = Path(os.environ.get("PATCHBAY_TEST_NEWEST_FRONTEND") or frontend_folder(NEWEST_FRONTEND))
    if not (folder / "index.html").is_file():
        skip_or_fail(f"frontend {NEWEST_FRONTEND} is not there: run 'python3 patchbay.py test browser'")
    with fresh_page(browser, comfy_server, comfy, "nodes2", "dark", folder) as fresh:
        fresh.open()
        yield fresh

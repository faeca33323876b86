"""``patchbay.py test``: the static checks side by side, then the tests in as many processes as help."""

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .fixtures import ensure_fixtures
from .frontend import ensure_frontend
from .paths import ARTEFACTS, ROOT
from .progress import Progress
from .runtime import Runtime
from .versions import NEWEST_FRONTEND
from .web_tools import ensure_browser, ensure_node_packages, node_command, playwright_environment

FOLDERS = ("unit", "host", "server", "browser")
"""Layers that are folders of tests and run anywhere."""
WHOLE = ("checks", *FOLDERS)
"""What runs when no layer is named."""
LAYERS = (*WHOLE, "gpu", "timing", "fuzz", "versions", "all")
MOST_WORKERS = 4
"""The tests that share one ComfyUI stay in one process, and take longer than a third of the others."""


@dataclass(frozen=True)
class Check:
    """One static check and how it ended."""

    name: str
    command: Sequence[str]
    passed: bool = False
    seconds: float = 0.0
    output: str = ""


def run_tests(runtime: Runtime, layers: Sequence[str], expression: str, progress: Progress) -> int:
    """Run checks and test layers; the exit code."""
    failed: list[str] = []
    if {"checks", "all"} & set(layers):
        ensure_node_packages(runtime, progress)
        failed = _run_checks(static_checks(runtime), progress)
    folders = layer_folders(layers)
    if not folders:
        return 1 if failed else 0
    environment = test_environment(runtime, folders, progress)
    command = [str(runtime.python), "-m", "pytest", *map(str, folders), *pytest_options(layers, expression)]
    code = run_pytest(command, environment)
    if "timing" in layers:
        code = _run_timing_scripts(runtime) or code
    if failed:
        progress.say(f"Checks that failed: {', '.join(failed)} (their output is above the tests)")
    return code or (1 if failed else 0)


def layer_folders(layers: Sequence[str]) -> list[Path]:
    """The folders of tests that layers name, each once."""
    names: dict[str, None] = {}
    for layer in layers:
        names.update(dict.fromkeys(FOLDERS if layer in ("all", "timing") else (layer,)))
    folders = [ROOT / "tests" / name for name in names]
    return [folder for folder in folders if any(folder.rglob("test_*.py"))]


def pytest_options(layers: Sequence[str], expression: str = "", cores: int | None = None) -> list[str]:
    """Which tests of the folders run, and in how many processes.

    What measures time has the machine for itself, and so has what fills a GPU.
    """
    left_out = [name for name in ("gpu", "timing", "all") if name not in layers]
    marks = " and ".join(f"not {name}" for name in left_out)
    if "timing" in layers:
        marks = "timing"
    workers = min(cores or os.cpu_count() or 1, MOST_WORKERS)
    alone = workers < 2 or {"gpu", "timing"} & set(layers)
    options = ["-m", marks] if marks else []
    options += [] if alone else ["-n", str(workers), "--dist", "loadfile"]
    return options + (["-k", expression] if expression else [])


def test_environment(runtime: Runtime, folders: Sequence[Path], progress: Progress) -> dict[str, str]:
    """What the tests are told, after what they need is there."""
    names = {folder.name for folder in folders}
    # A core for each process: torch's threads of several busy ones on few cores mostly wait for one another.
    env = {"OMP_NUM_THREADS": "1", **os.environ, "PATCHBAY_TEST_COMFYUI": str(runtime.comfyui)}
    if runtime.frontend:
        env["PATCHBAY_TEST_FRONTEND"] = str(runtime.frontend)
    if "unit" in names:
        ensure_fixtures(progress)
    if "browser" in names:
        env.update(playwright_environment(runtime))
        env["PATCHBAY_TEST_NEWEST_FRONTEND"] = str(ensure_frontend(runtime, NEWEST_FRONTEND, progress))
        browser = ensure_browser(runtime, progress)
        if browser:
            env["PATCHBAY_BROWSER"] = str(browser)
    ARTEFACTS.mkdir(exist_ok=True)
    return env


def run_pytest(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run pytest; its exit code. When this command is ended, pytest ends first: it has a ComfyUI to stop."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def static_checks(runtime: Runtime) -> list[Check]:
    """The checks that need no ComfyUI, and where their tools are."""
    python, node = str(runtime.python), node_command(runtime)
    checks = [
        Check("ruff", (python, "-m", "ruff", "check", "--quiet", ".")),
        Check("basedpyright", (python, "-m", "basedpyright", "--level", "error", "--pythonpath", python)),
    ]
    tsc = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    if (ROOT / "jsconfig.json").exists() and tsc.exists():
        checks.append(Check("tsc", (*node, str(tsc), "-p", "jsconfig.json")))
        checks.append(Check("tsc, published types", (*node, str(tsc), "-p", "tests/unit/js/published")))
    if scripts := _scripts("*.test.mjs"):
        checks.append(Check("node --test", (*node, "--test", *scripts)))
    return checks


def _scripts(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "unit" / "js").rglob(pattern))


def _run_timing_scripts(runtime: Runtime) -> int:
    """What of the web side asserts how fast it is."""
    scripts = _scripts("*.timing.mjs")
    return subprocess.run([*node_command(runtime), "--test", *scripts], cwd=ROOT).returncode if scripts else 0


def _run_checks(checks: Sequence[Check], progress: Progress) -> list[str]:
    """Run checks two at a time; the names of those that failed."""
    with progress.step("Checks"), ThreadPoolExecutor(max_workers=2) as pool:
        done = list(pool.map(_run_check, checks))
    for check in done:
        progress.say(f"  {check.name}: {'passed' if check.passed else 'FAILED'} in {check.seconds:.1f} s")
    for check in done:
        if not check.passed:
            progress.say(f"\n{check.name}:\n{check.output.strip()}\n")
    return [check.name for check in done if not check.passed]


def _run_check(check: Check) -> Check:
    started = time.monotonic()
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1"}
    try:
        result = subprocess.run(
            check.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        passed, output = result.returncode == 0, result.stdout
    except OSError as error:
        passed, output = False, f"{Path(check.command[0]).name} could not be started: {error}"
    return Check(check.name, check.command, passed, time.monotonic() - started, output)

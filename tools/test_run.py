"""``patchbay.py test``: the static checks side by side, then every test in one pytest."""

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .fixtures import ensure_fixtures
from .paths import ARTEFACTS, ROOT
from .progress import Progress
from .runtime import Runtime
from .web_tools import ensure_browser, ensure_node_packages, node_command, playwright_environment

END_SECONDS = 30.0


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
    layers = list(dict.fromkeys(layers))
    failed: list[str] = []
    if "checks" in layers:
        ensure_node_packages(runtime, progress)
        failed = _run_checks(static_checks(runtime), progress)
    folders = [ROOT / "tests" / layer for layer in layers if layer != "checks"]
    folders = [folder for folder in folders if any(folder.rglob("test_*.py"))]
    if not folders:
        return 1 if failed else 0
    env = dict(os.environ)
    env["PATCHBAY_TEST_COMFYUI"] = str(runtime.comfyui)
    if any(folder.name == "unit" for folder in folders):
        ensure_fixtures(progress)
    if any(folder.name == "browser" for folder in folders):
        env.update(playwright_environment(runtime))
        browser = ensure_browser(runtime, progress)
        if browser:
            env["PATCHBAY_BROWSER"] = str(browser)
    ARTEFACTS.mkdir(exist_ok=True)
    command = [str(runtime.python), "-m", "pytest", *map(str, folders)]
    if "gpu" not in layers:
        command += ["-m", "not gpu"]
    if expression:
        command += ["-k", expression]
    code = _run_pytest(command, env)
    if failed:
        progress.say(f"Checks that failed: {', '.join(failed)} (their output is above the tests)")
    return code or (1 if failed else 0)


def _run_pytest(command: Sequence[str], env: dict[str, str]) -> int:
    """Run pytest; when this command is ended, pytest ends first, because it has a ComfyUI to stop."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
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
    scripts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "unit" / "js").rglob("*.test.mjs"))
    if scripts:
        checks.append(Check("node --test", (*node, "--test", *scripts)))
    return checks


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

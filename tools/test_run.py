"""``patchbay.py test``: the static checks side by side, then the tests in two pytests side by side."""

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from .fixtures import ensure_fixtures
from .paths import ARTEFACTS, ROOT
from .progress import Progress
from .runtime import Runtime
from .web_tools import ensure_browser, ensure_node_packages, node_command, playwright_environment

END_SECONDS = 30.0
NO_TESTS = 5
"""pytest's exit code when it found none to run."""


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
    options = [] if "gpu" in layers else ["-m", "not gpu"]
    options += ["-k", expression] if expression else []
    commands = [
        [str(runtime.python), "-m", "pytest", *map(str, group), *options] for group in _groups(folders) if group
    ]
    code = _run_side_by_side(commands, env)
    if failed:
        progress.say(f"Checks that failed: {', '.join(failed)} (their output is above the tests)")
    return code or (1 if failed else 0)


def _groups(folders: Sequence[Path]) -> list[list[Path]]:
    """Layers that have their work in one process, and those that share a server: each keeps about one core busy."""
    if (os.cpu_count() or 1) < 2:
        return [list(folders)]
    shared = ("server", "browser")
    return [[f for f in folders if f.name in shared], [f for f in folders if f.name not in shared]]


def _run_side_by_side(commands: Sequence[Sequence[str]], env: dict[str, str]) -> int:
    """Run each pytest; the first one's output is shown at once, the others' when all have ended.

    Returns:
        The first exit code that is a failure. That no test of one pytest matches an expression is none when some of
        another do.
    """
    # A core for each: torch's threads of several busy processes on few cores mostly wait for one another.
    env = {"OMP_NUM_THREADS": "1", **env} if len(commands) > 1 else env
    with ExitStack() as stack:
        files = [None, *(stack.enter_context(TemporaryFile("w+", encoding="utf-8")) for _ in commands[1:])]
        running = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            for command, file in zip(commands, files, strict=True)
        ]
        try:
            codes = [process.wait() for process in running]
        except KeyboardInterrupt:
            _end(running)
            raise
        for file in filter(None, files):
            file.seek(0)
            print(file.read(), flush=True)
    if len(codes) > 1 and set(codes) != {NO_TESTS}:
        codes = [0 if code == NO_TESTS else code for code in codes]
    return next((code for code in codes if code), 0)


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """When this command is ended, each pytest ends first, because it may have a ComfyUI to stop."""
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


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

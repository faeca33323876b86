"""Virtual environments and packages: uv where it can be had, pip where not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ToolError
from .paths import RUNTIME, venv_program, venv_python
from .progress import DownloadMeter, Progress, Step, run_logged

UV = "uv==0.13.9"
TRIES = 2
"""An install is tried again once: a dropped connection is the usual cause, and what arrived is kept."""


@dataclass(frozen=True)
class Installer:
    """Makes virtual environments and installs packages into them."""

    boot_python: Path
    """A Python with pip, used for fetching sdists and when there is no uv."""
    uv: Path | None
    """The uv program, or None when its package has no build for this platform."""
    log: Path
    """Where the output of every command goes."""

    def ensure_venv(self, venv: Path) -> Path:
        """The Python of a virtual environment, which is made when it is missing or does not start."""
        python = venv_python(venv)
        if _starts(python):
            return python
        if venv.exists():
            shutil.rmtree(venv)
        if self.uv:
            command = [self.uv, "venv", "--quiet", "--python", sys.executable, venv]
        else:
            command = [sys.executable, "-m", "venv", venv]
        run_logged(command, self.log, "making the virtual environment", env=self.environment())
        return python

    def install(self, python: Path, what: str, packages: Sequence[str | Path], step: Step) -> None:
        """Install packages (names, or ``-r`` and a file). What is already there is left alone."""
        command: list[str | Path]
        if self.uv:
            command = [self.uv, "pip", "install", "--python", python, *packages]
        else:
            command = [python, "-m", "pip", "install", "--progress-bar", "off", *packages]
        for attempt in range(1, TRIES + 1):
            try:
                run_logged(command, self.log, f"installing {what}", DownloadMeter(step), self.environment())
                return
            except ToolError:
                if attempt == TRIES:
                    raise
                step.note = "failed, trying again"

    def environment(self) -> dict[str, str]:
        """Environment for uv and pip: no questions, no other Python, the index that pip is set up for."""
        env = dict(os.environ)
        env.setdefault("UV_PYTHON_DOWNLOADS", "never")
        env.setdefault("UV_HTTP_TIMEOUT", "300")
        env.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        env["UV_NO_PROGRESS"] = "1"
        env["PYTHONUTF8"] = "1"
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"):
            env.pop(name, None)
        if self.uv and "UV_DEFAULT_INDEX" not in env and "UV_INDEX_URL" not in env:
            index = env.get("PIP_INDEX_URL") or _configured_index(self.boot_python)
            if index:
                env["UV_DEFAULT_INDEX"] = index
        return env


def ensure_installer(progress: Progress) -> Installer:
    """The installer, which is set up in ``.runtime/boot`` on the first call."""
    boot = RUNTIME / "boot"
    log = RUNTIME / "setup.log"
    python, uv = venv_python(boot), venv_program(boot, "uv")
    without_uv = boot / "no-uv"
    if not _starts(python) or not (uv.exists() or without_uv.exists()):
        with progress.step("Installer"):
            _make_boot(boot, log)
            plain = Installer(python, None, log)
            try:
                command = [python, "-m", "pip", "install", "--quiet", UV]
                run_logged(command, log, "installing uv", env=plain.environment())
            except ToolError:
                progress.say("uv cannot be installed here; pip is used instead, which is slower.")
                without_uv.touch()
    return Installer(python, uv if uv.exists() else None, log)


def _make_boot(boot: Path, log: Path) -> None:
    """Make the virtual environment that holds pip and uv, on a bare Debian after adding ``venv`` itself."""
    if _starts(venv_python(boot)):
        return
    shutil.rmtree(boot, ignore_errors=True)
    command = [sys.executable, "-m", "venv", boot]
    try:
        run_logged(command, log, "making a virtual environment")
    except ToolError as error:
        shutil.rmtree(boot, ignore_errors=True)
        if not can_apt_install():
            raise ToolError(
                f"{error}\nThis Python cannot make virtual environments. On Debian and Ubuntu run "
                "'sudo apt install python3-venv', elsewhere install Python from python.org."
            ) from error
        apt_install(["python3-venv"], log)
        run_logged(command, log, "making a virtual environment")


def can_apt_install() -> bool:
    """Whether Debian packages can be installed without asking anyone."""
    return os.name == "posix" and shutil.which("apt-get") is not None and os.geteuid() == 0


def apt_install(packages: Sequence[str], log: Path) -> None:
    """Install Debian packages as root."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_logged(["apt-get", "update", "-q"], log, "apt-get update", env=env)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    run_logged(command, log, f"installing {', '.join(packages)}", env=env)


def _starts(python: Path) -> bool:
    """Whether a virtual environment's Python runs: it does not once the Python it was made from is gone."""
    if not python.exists():
        return False
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _configured_index(boot_python: Path) -> str:
    """The package index of pip's own settings, which uv does not read; empty when there is none."""
    command = [boot_python, "-m", "pip", "config", "get", "global.index-url"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""

"""Where everything that the commands make lies. All of it is git-ignored."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository, which is also the pack's folder."""

RUNTIME = Path(os.environ.get("PATCHBAY_RUNTIME") or ROOT / ".runtime").resolve()
"""The private runtime. ``PATCHBAY_RUNTIME`` moves it, e.g. to share one between clones."""

ARTEFACTS = ROOT / "test-artefacts"
"""Logs and screenshots of the last test run."""

DEMO_OUTPUT = ROOT / "demo-output"
"""Where ``demo`` writes unless ``--output`` says otherwise."""

PACK_FOLDER = "lora-patchbay"
"""The pack's folder name below ``custom_nodes``."""


def venv_python(venv: Path) -> Path:
    """The Python of a virtual environment."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def venv_program(venv: Path, name: str) -> Path:
    """A program that a package installed into a virtual environment."""
    return venv / "Scripts" / f"{name}.exe" if os.name == "nt" else venv / "bin" / name


def shown(path: Path) -> str:
    """A path as the user would type it: relative to the current folder when it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def python_tag() -> str:
    """The running Python and platform, as part of what a stamp depends on."""
    return f"{sys.platform}-{sys.version_info.major}.{sys.version_info.minor}"

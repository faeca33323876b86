"""Keep pytest from importing the pack's root ``__init__`` as a test package, and the root off ``sys.path``.

ComfyUI's own module is called ``nodes``, and so is the pack's folder: with the root on ``sys.path`` the one
would hide the other.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The root is a plain folder, whatever files are in it."""
    return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure() -> None:
    """Undo what ``python -m pytest`` does to ``sys.path``."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

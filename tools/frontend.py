"""ComfyUI's frontend in another version than the one that a ComfyUI asks for, from the package index."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from . import stamps
from .errors import ToolError
from .installer import ensure_installer
from .paths import RUNTIME
from .progress import Progress
from .runtime import Runtime

PACKAGE = "comfyui-frontend-package"
_INNER = Path("comfyui_frontend_package") / "static"


def frontend_folder(version: str) -> Path:
    """Where the static files of a version lie, or will lie."""
    return RUNTIME / f"frontend-{version}" / _INNER


def ensure_frontend(runtime: Runtime, version: str, progress: Progress) -> Path:
    """The static files of a version, fetched when they are not there yet.

    Raises:
        ToolError: the version is none, or could not be fetched.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ToolError(f"frontend {version!r}: expected a version of {PACKAGE} like 1.58.1.")
    folder = frontend_folder(version)
    if (folder / "index.html").is_file():
        return folder
    with stamps.setup_lock():
        if (folder / "index.html").is_file():
            return folder
        whole = RUNTIME / f"frontend-{version}"
        part = whole.with_name(f"{whole.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        installer = ensure_installer(progress)
        with progress.step(f"Frontend {version}") as step:
            packages = ["--no-deps", "--target", part, f"{PACKAGE}=={version}"]
            installer.install(runtime.python, f"frontend {version}", packages, step)
        if not (part / _INNER / "index.html").is_file():
            shutil.rmtree(part)
            raise ToolError(f"{PACKAGE} {version} holds no {_INNER.as_posix()}/index.html, so it is not used.")
        shutil.rmtree(whole, ignore_errors=True)
        os.replace(part, whole)
    return folder


def with_frontend(runtime: Runtime, version: str, progress: Progress) -> Runtime:
    """The runtime with another frontend; an empty version leaves ComfyUI's own."""
    return replace(runtime, frontend=ensure_frontend(runtime, version, progress)) if version else runtime

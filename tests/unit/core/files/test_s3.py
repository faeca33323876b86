"""``s3://`` against a real S3 server (moto's) on this machine: only headers travel, and no key is in a message."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import run
from lora_files import flux2_shapes, lora_shapes, write_lora
from pack.nodes.core.files.elsewhere.address import FIRST, RemoteFile
from safetensors.torch import save_file

for package in ("s3fs", "moto", "flask_cors"):
    pytest.importorskip(package)
SIZES = {"hidden": 512}
KEY, SECRET = "AKIAPATCHBAY", "a-secret-of-the-environment"


@dataclass
class Bucket:
    """An S3 server with one bucket, and what it was asked for."""

    endpoint: str = ""
    system: Any = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of each request."""
    sent: int = 0
    """Bytes of all bodies."""

    def put(self, path: Path) -> str:
        self.system.put_file(str(path), f"models/{path.name}")
        self.asked.clear()
        self.sent = 0
        return f"s3://models/{path.name}"


@pytest.fixture(scope="module")
def served() -> Iterator[Bucket]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    bucket, application = Bucket(), DomainDispatcherApplication(create_backend_app)

    def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        bucket.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE", "")))
        for piece in application(environ, start_response):
            bucket.sent += len(piece)
            yield piece

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    bucket.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


@pytest.fixture
def bucket(served: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """The keys come from the environment, as those of a user do, and from no file of this machine."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    given = {
        "AWS_ENDPOINT_URL": served.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    served.system = s3fs.S3FileSystem(skip_instance_cache=True)
    if not served.system.exists("models"):
        served.system.mkdir("models")
    return served


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s3") / "model.safetensors"
    save_file({key: torch.zeros(shape, dtype=torch.bfloat16) for key, shape in flux2_shapes(**SIZES).items()}, path)
    assert path.stat().st_size > 20_000_000
    return path


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """Its alphas are values, which have to be asked for beside the header."""
    shapes = lora_shapes(flux2_shapes(**SIZES))
    names = sorted({key.rsplit(".lora_", 1)[0] for key in shapes})
    layers = {
        name: {
            "lora_down.weight": torch.ones(shapes[f"{name}.lora_A.weight"]),
            "lora_up.weight": torch.ones(shapes[f"{name}.lora_B.weight"]),
            "alpha": torch.tensor(2.0 + index),
        }
        for index, name in enumerate(names)
    }
    return write_lora(tmp_path / "style.safetensors", layers)


def test_check_reads_headers_and_says_what_it_says_of_files_here(bucket: Bucket, model: Path, lora: Path) -> None:
    here = run("check", lora, "--model", model, "--json")
    there_model, there_lora = bucket.put(model), bucket.put(lora)
    code, out, err = run("check", there_lora, "--model", there_model, "--json")
    assert (code, json.loads(out)) == (0, json.loads(here[1])), err
    assert json.loads(out)[0]["layers"][3]["alpha"] == 5.0
    pieces = [part for method, path, part in bucket.asked if method == "GET" and path == "/models/model.safetensors"]
    assert pieces == [f"bytes=0-{FIRST - 1}"], "one request, for the beginning"
    assert bucket.sent < 2 * FIRST + lora.stat().st_size
    assert bucket.sent < model.stat().st_size / 20


def test_inspect_reads_the_header(bucket: Bucket, model: Path) -> None:
    here = json.loads(run("inspect", model, "--json")[1])
    address = bucket.put(model)
    code, out, err = run("inspect", address, "--json")
    assert (code, json.loads(out)) == (0, here)
    assert bucket.sent <= FIRST + 4096
    assert "2 requests" in err


@pytest.mark.all
def test_a_piece_in_the_middle_is_asked_for_alone(bucket: Bucket, lora: Path) -> None:
    file = RemoteFile(bucket.put(lora))
    raw = lora.read_bytes()
    start = len(raw) - 1000
    assert file.read(start, 64) == raw[start : start + 64]
    assert file.size_bytes == len(raw)


@pytest.mark.all
def test_what_goes_wrong_is_a_sentence_without_keys(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("inspect", "s3://models/missing.safetensors")
    assert (code, out) == (2, "")
    assert "s3://models/missing.safetensors: there is no such file" in err
    code, _, err = run("inspect", "s3://no-such-bucket/x.safetensors")
    assert (code, "no such file" in err) == (2, True)
    assert bucket.endpoint not in err
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    code, _, err = run("inspect", "s3://models/x.safetensors")
    assert (code, "cannot be read" in err) == (2, True)
    assert not any(word in err for word in (KEY, SECRET))


@pytest.mark.all
def test_a_folder_is_a_library(bucket: Bucket, model: Path, lora: Path) -> None:
    bucket.put(model)
    bucket.put(lora)
    code, out, _ = run("scan", "s3://models", "--json")
    rows = {row["file"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert {"model.safetensors": model.stat().st_size, "style.safetensors": lora.stat().st_size} == {
        name: row["size_bytes"] for name, row in rows.items()
    }
    assert bucket.sent < 2 * FIRST + lora.stat().st_size + 16_384

"""Files elsewhere: what travels, what is said when it cannot, and that tokens stay where they belong."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli_runs import ROOT, run
from files_server import Files, serve
from lora_files import flux2_shapes, lora_shapes, write_lora
from pack.nodes.core.cli.sources import split_address
from pack.nodes.core.errors import HeaderError, RemoteError
from pack.nodes.core.files.elsewhere import http
from pack.nodes.core.files.elsewhere.address import FIRST, RemoteFile, shown_address
from pack.nodes.core.files.elsewhere.place import is_address
from pack.nodes.core.files.header import read_header

pytest.importorskip("fsspec")
GB = 1_000_000_000
MODEL, LORA = "flux2 model.safetensors", "lora.safetensors"


def head_of(shapes: dict[str, tuple[int, ...]], padding: int = 0) -> tuple[bytes, int]:
    """The beginning of a bfloat16 file of these shapes, and the size of the whole."""
    header: dict[str, object] = {"__metadata__": {"note": "x" * padding}}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * shape[1]
        header[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw, 8 + len(raw) + end


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setattr(http, "PAUSE", 0.01)
    for name in ("HF_TOKEN", "HF_ENDPOINT", "LORA_PATCHBAY_TOKENS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as given:
        yield given


def big_model(files: Files, padding: int = 0) -> str:
    shapes = flux2_shapes(hidden=6144, double=8, single=18, context=15360)
    address = files.add(MODEL.replace(" ", "%20"), *head_of(shapes, padding))
    assert files.heads[f"/{MODEL.replace(' ', '%20')}"][1] > 20 * GB
    return address


@pytest.mark.parametrize(("padding", "requests"), [(0, 1), (FIRST, 2)])
def test_a_model_of_20_gb_costs_two_requests_at_most(files: Files, padding: int, requests: int) -> None:
    model = big_model(files, padding)
    lora = files.add(LORA, *head_of(lora_shapes(flux2_shapes(hidden=6144, double=8, single=18))))
    code, out, err = run("check", lora, "--model", model)
    assert (code, "fits" in out) == (0, True), (out, err)
    asked = [a for a in files.asked if "model" in a.path]
    assert len(asked) == requests
    assert files.sent < 2_000_000
    assert f"{requests} request" in err
    assert MODEL in RemoteFile(model).name


def test_it_is_judged_as_the_same_file_here(files: Files, tmp_path: Path) -> None:
    """Alphas are values, so they are asked for, too."""
    shapes = lora_shapes(flux2_shapes())
    names = sorted({key.rsplit(".lora_", 1)[0] for key in shapes})
    layers = {
        name: {
            "lora_down.weight": torch.ones(shapes[f"{name}.lora_A.weight"]),
            "lora_up.weight": torch.ones(shapes[f"{name}.lora_B.weight"]),
            "alpha": torch.tensor(2.0 + index),
        }
        for index, name in enumerate(names)
    }
    path = write_lora(tmp_path / LORA, layers)
    _, size = head_of(flux2_shapes())
    model = tmp_path / "model.safetensors"
    model.write_bytes(head_of(flux2_shapes())[0].ljust(size, b"\0"))
    address = files.add(LORA, path.read_bytes())
    here, there = (run("check", file, "--model", model, "--json") for file in (path, address))
    assert json.loads(here[1]) == json.loads(there[1])
    assert json.loads(there[1])[0]["layers"][3]["alpha"] == 5.0
    measured = run("check", address, "--model", model, "--json", "--measure")
    assert json.loads(measured[1])[0]["layers"][0]["delta_norm"] > 0


def test_a_server_that_sends_no_parts(files: Files) -> None:
    files.ranges = False
    model = big_model(files)
    assert read_header(RemoteFile(model)).size_bytes > 20 * GB
    assert files.sent < 16_000_000, "what was not asked for is not read on"
    with pytest.raises(RemoteError, match="sends no parts of files.*download the file first"):
        RemoteFile(model).read(GB, 10)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([404], "there is no such file"),
        ([401], "put your token into the environment variable LORA_PATCHBAY_TOKENS"),
        ([403], "the server refuses it"),
        ([429] * 9, r"too many requests \(HTTP 429\) \(4 tries\)"),
        ([503] * 9, "the server has an error"),
        ([0] * 9, "the connection was cut"),
        ([418], "HTTP 418"),
    ],
)
def test_what_goes_wrong_is_one_sentence(files: Files, answers: list[int], sentence: str) -> None:
    address = big_model(files)
    files.answers = list(answers)
    with pytest.raises(RemoteError, match=sentence):
        read_header(RemoteFile(address))
    files.answers = list(answers)
    code, out, err = run("inspect", f"{address}?key=secret")
    assert (code, "secret" in out + err) == (2, False)


@pytest.mark.parametrize("answers", [[429], [503, 429], [0], [0, 503, 0]])
def test_a_server_that_recovers_is_asked_again(files: Files, answers: list[int]) -> None:
    address = big_model(files)
    files.answers = answers
    count = len(answers) + 1
    assert len(read_header(RemoteFile(address)).tensors) > 50
    assert len(files.asked) == count


def test_nobody_listens(files: Files) -> None:
    address = files.address("x").replace(str(files.port), "9")
    with pytest.raises(RemoteError, match="no connection"):
        read_header(RemoteFile(address))


def test_what_is_there_instead_of_a_model(files: Files) -> None:
    with pytest.raises(HeaderError, match="an HTML page"):
        read_header(RemoteFile(files.add("a.safetensors", b"<!doctype html><title>Sign in</title>")))
    with pytest.raises(HeaderError, match="the file is empty"):
        read_header(RemoteFile(files.add("b.safetensors", b"")))
    with pytest.raises(HeaderError, match="pickle, which cannot be read in part"):
        read_header(RemoteFile(files.add("c.pt", b"PK\x03\x04\0\0\x08\x08" + bytes(99))))


def test_the_hub_gets_its_token_and_nobody_else(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub redirects to another host, which must not see the token."""
    big_model(files, FIRST)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{files.port}")
    away = f"http://localhost:{files.port}/{MODEL.replace(' ', '%20')}?signed=yes"
    files.redirect["/owner/name/resolve/v2/folder/x.safetensors"] = away
    header = read_header(RemoteFile("hf://owner/name@v2/folder/x.safetensors"))
    assert header.size_bytes > 20 * GB
    assert [a.token for a in files.asked if a.host.startswith("127.")] == ["Bearer hf_secret"]
    assert [a.token for a in files.asked if a.host.startswith("localhost")] == ["", ""]


def test_a_token_for_any_host(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    address = big_model(files)
    files.token = "for-this"
    code, _, err = run("inspect", address)
    assert (code, "LORA_PATCHBAY_TOKENS" in err) == (2, True)
    monkeypatch.setenv("LORA_PATCHBAY_TOKENS", f"other=no, 127.0.0.1:{files.port}=for-this")
    code, out, err = run("inspect", address)
    assert (code, "for-this" in out + err) == (0, False), err


def test_peft_files_bring_their_configuration(files: Files) -> None:
    shapes = {key.replace("diffusion_model.", "base_model.model."): s for key, s in lora_shapes(flux2_shapes()).items()}
    address = files.add("run/adapter_model.safetensors", *head_of(shapes))
    files.add("run/adapter_config.json", json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}).encode())
    model = files.add("model.safetensors", *head_of(flux2_shapes()))
    _, out, _ = run("check", address, "--model", model, "--json")
    assert {layer["scale"] for layer in json.loads(out)[0]["layers"]} == {2.0}


def test_other_protocols_go_through_fsspec(tmp_path: Path) -> None:
    import fsspec

    raw, size = head_of(flux2_shapes())
    fsspec.filesystem("memory").pipe_file("/bucket/m.safetensors", raw.ljust(size, b"\0"))
    file = RemoteFile("memory://bucket/m.safetensors")
    assert len(read_header(file).tensors) == len(flux2_shapes())
    assert file.traffic.bytes <= FIRST
    for address, sentence in (
        ("memory://bucket/none.safetensors", "no such file"),
        ("nothing://x/y", "no kind of address"),
        ("hf://owner", "is not hf://OWNER/NAME/FILE"),
    ):
        with pytest.raises(RemoteError, match=sentence):
            read_header(RemoteFile(address))


def test_a_folder_elsewhere_is_scanned_and_remembered() -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    raw, size = head_of(lora_shapes(flux2_shapes()))
    for name in ("a", "sub/b"):
        system.pipe_file(f"/library/{name}.safetensors", raw.ljust(size, b"\0"))
    system.pipe_file("/library/c.safetensors", b"<html>")
    first = run("scan", "memory://library", "--json")
    rows = {row["file"]: row for row in map(json.loads, first[1].splitlines())}
    assert {name: bool(row["error"]) for name, row in rows.items()} == {
        "a.safetensors": False, "sub/b.safetensors": False, "c.safetensors": True,
    }  # fmt: skip
    assert rows["a.safetensors"]["size_bytes"] == size
    assert run("scan", "memory://library", "--json") == first
    assert run("scan", "memory://library", "--only", "same")[0] == 64
    assert "cannot be listed" in run("scan", "memory://none")[2] or run("scan", "memory://none")[1]


def test_addresses() -> None:
    assert not any(map(is_address, (r"C:\models\x.safetensors", "a/b.safetensors", "./https:/x", "x")))
    assert all(map(is_address, ("https://a/b", "s3://b/c", "simplecache::s3://b/c")))
    assert shown_address("https://me:pw@host:1/a%20b.sft?token=t#x") == "https://host:1/a%20b.sft"


def test_it_is_not_there_without_fsspec_and_says_how_to_get_it(tmp_path: Path) -> None:
    """Blocked in a process of its own, as on a machine where it is not installed."""
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from lora_patchbay.cli.main import main\n"
        "sys.exit(main(['inspect', 'https://localhost/x.safetensors']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert 'needs fsspec and aiohttp. Install with: python -m pip install "fsspec[http]"' in done.stderr


def test_the_pack_in_comfyui_knows_nothing_of_it(tmp_path: Path) -> None:
    """Only the command line imports it, and nothing of it is imported before an address is opened."""
    users = {
        path.relative_to(ROOT / "nodes").as_posix()
        for path in (ROOT / "nodes").rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("elsewhere.address", "elsewhere.http", "fsspec"))
    }
    assert {user for user in users if not user.startswith(("core/cli/", "core/cluster/"))} == {
        "core/check/collection.py", "core/files/elsewhere/address.py", "core/files/elsewhere/http.py",
    }  # fmt: skip
    (tmp_path / "lora_patchbay").symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    code = "import sys; from lora_patchbay.cli import main; print({'fsspec', 'aiohttp', 'dask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"


def test_loras_elsewhere_are_compared_and_only_the_tensors_that_are_asked_for_travel(
    files: Files, tmp_path: Path
) -> None:
    layer = "diffusion_model.double_blocks.0.img_attn.proj"
    parts = {"lora_A.weight": torch.ones(2, 8), "lora_B.weight": torch.ones(8, 2)}
    write_lora(tmp_path / "a.safetensors", {layer: parts})
    write_lora(tmp_path / "b.safetensors", {layer: parts | {"lora_B.weight": torch.ones(8, 2) * 3}})
    addresses = [files.add(name, (tmp_path / name).read_bytes()) for name in ("a.safetensors", "b.safetensors")]
    here = run("compare", tmp_path / "a.safetensors", f"{tmp_path / 'b.safetensors'}:0.5")
    code, out, err = run("compare", addresses[0], f"{addresses[1]}:0.5")
    assert (code, out) == here[:2]
    assert "the same, times 1.5" in out
    assert err.count(" request") == 2
    model = big_model(files)
    before = files.sent
    code, out, _ = run("compare", *addresses, "--model", model)
    assert files.sent - before < 2_000_000
    assert run("compare", addresses[0], files.address("missing.safetensors"))[0] == 2


@pytest.mark.parametrize(
    ("text", "address", "strengths"),
    [
        ("https://h:8080/x.safetensors", "https://h:8080/x.safetensors", (1.0, 1.0, "")),
        ("https://h:8080/x.safetensors:0.5", "https://h:8080/x.safetensors", (0.5, 0.5, "")),
        ("hf://o/n@main/x.safetensors:0.5:-1", "hf://o/n@main/x.safetensors", (0.5, -1.0, "")),
        ("hf://o/n@main/x.safetensors:2@double=0", "hf://o/n@main/x.safetensors", (2.0, 2.0, "double=0")),
        ("http://h:80", "http://h:80", (1.0, 1.0, "")),
        ("https://u@h/x.safetensors?a=1", "https://u@h/x.safetensors?a=1", (1.0, 1.0, "")),
    ],
)
def test_an_address_may_have_strengths_behind_it(text: str, address: str, strengths: tuple[float, float, str]) -> None:
    found, typed = split_address(text)
    assert found == address
    assert (typed.strength_model, typed.strength_clip, typed.blocks) == strengths

"""The verdict on a file is the one of the safetensors library, in one sentence, whatever the bytes."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lora_files import shared, write_raw
from pack.nodes.core.errors import HeaderError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.files.safetensors_header import DTYPE_BITS
from safetensors import safe_open
from safetensors.torch import save_file
from support import some


def library_accepts(path: Path) -> bool:
    try:
        with safe_open(path, "np"):
            return True
    except Exception:  # noqa: BLE001 - whatever it says, it refuses
        return False


def we_accept(path: Path) -> bool:
    try:
        read_header(path)
    except HeaderError as error:
        text = str(error)
        assert text.startswith(path.name)
        assert text.endswith(".")
        assert "\n" not in text
        return False
    return True


def test_shared_malformed_files() -> None:
    folder = shared("malformed")
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    for name, verdict in some(expected.items()):
        assert we_accept(folder / name) == verdict["safetensors_0_8_0"].startswith("OK"), name


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry()},
        {"a": entry(extra=[1, {"b": 2}])},
        {"a": ["F32", [2], [0, 8]]},
        {"a": entry(shape=[2.0])},
        {"a": entry(shape=[True])},
        {"a": entry(shape=[-2])},
        {"a": entry(shape=[2**64])},
        {"a": entry(shape=[2**63, 2, 0])},
        {"a": entry(shape=[0, 2**63, 2], offsets=[0, 0])},
        {"a": entry(offsets=[0, 8, 8])},
        {"a": entry(offsets=[0])},
        {"a": entry(offsets=[1, 9])},
        {"a": entry(dtype="f32")},
        {"a": entry(dtype="F4", shape=[16])},
        {"a": entry(dtype="F4", shape=[15], offsets=[0, 8])},
        {"a": entry(dtype="F6_E2M3", shape=[4], offsets=[0, 3]), "b": entry(dtype="U8", shape=[5], offsets=[3, 8])},
        {"a": entry(), "b": entry(offsets=[4, 8], shape=[1])},
        {"a": entry(), "__metadata__": None},
        {"a": entry(), "__metadata__": {"x": "y"}},
        {"a": entry(), "__metadata__": {"x": None}},
        {"a": entry(), "__metadata__": ["x"]},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": None},
        {"": entry()},
        '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"__metadata__":{},"__metadata__":{},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":NaN}}',
        '{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"\\ud83c\\udfa8":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}\n\t ',
        '{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}',
        '\ufeff{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        "[]",
        "null",
        "[" * 100_000,
    ],
)
def test_same_verdict_as_the_library(tmp_path: Path, header: object) -> None:
    path = write_raw(tmp_path / "x.safetensors", header, bytes(8))  # type: ignore[arg-type]
    assert we_accept(path) == library_accepts(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**65) | st.floats() | st.sampled_from(["F32", "I8", "BF16", "x", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(sorted(DTYPE_BITS)) | json_values,
        "shape": st.lists(st.integers(0, 4), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(0, 16), min_size=2, max_size=2) | json_values,
    },
)
headers = st.dictionaries(
    st.sampled_from(["a", "b", "c", "__metadata__"]) | st.text(max_size=3), entries | json_values, max_size=4
)
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(header=headers, data=st.binary(max_size=16))
def test_fuzz_headers(tmp_path: Path, header: dict[str, object], data: bytes) -> None:
    path = write_raw(tmp_path / "x.safetensors", json.dumps(header).encode("utf-8", "replace"), data)
    assert we_accept(path) == library_accepts(path)


@quick
@given(data=st.binary(max_size=200))
def test_fuzz_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    accepted = we_accept(path)
    if data[:4] != b"GGUF":
        assert accepted == library_accepts(path)


@quick
@given(cut=st.integers(0, 400), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_fuzz_damaged_file(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3), "b": torch.zeros(2, 2)}, path, {"k": "v"})
    data = bytearray(path.read_bytes())
    data[min(at, len(data) - 1)] = byte
    path.write_bytes(bytes(data)[: max(0, len(data) - cut)])
    assert we_accept(path) == library_accepts(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"abc", "only 3 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\r\n<html lang='en'>", "an HTML page"),
        (b'{"error":"Access to this model is restricted"}', "a text in JSON form"),
        (struct.pack("<Q", 10**12) + b"xxxx", "is not a safetensors, GGUF or PyTorch file"),
        (struct.pack("<Q", 100) + b"{}", "the download is probably incomplete"),
    ],
)
def test_what_people_find_instead_of_a_model(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError, match=match):
        read_header(path)


def test_truncated_download_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(
        HeaderError, match=r"describes 400 bytes of tensors, the file holds 350; the download is incomplete"
    ):
        read_header(path)


def test_scalars_of_every_dtype(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int8)
    tensors = {str(dtype): torch.tensor(3, dtype=dtype) for dtype in dtypes}
    save_file({**tensors, "one": torch.tensor([2.5]), "matrix": torch.zeros(2, 2)}, path)
    header = read_header(path)
    assert header.scalars(header.tensors) == {**dict.fromkeys(tensors, 3.0), "one": 2.5}


def test_file_order_and_metadata(tmp_path: Path) -> None:
    second, first = entry(offsets=[8, 16]), entry()
    path = write_raw(
        tmp_path / "x.safetensors", {"second": second, "first": first, "__metadata__": {"k": "v"}}, bytes(16)
    )
    header = read_header(path)
    assert list(header.tensors) == ["first", "second"]
    assert header.metadata == {"k": "v"}


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    size = 2_000_000_000
    path = write_raw(tmp_path / "x.safetensors", {"a": entry("U8", [size], [0, size])})
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + size)
    tracemalloc.start()
    header = read_header(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.tensors["a"].count == size
    assert peak < 1_000_000

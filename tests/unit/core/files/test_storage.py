"""Quantised weights: what the file says about each is named, and its shape is that of the weight when it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pack.nodes.core.files.header import read_header
from pack.nodes.core.files.storage import StoredShapes, read_quantisation
from pack.nodes.core.files.tensors import Header
from safetensors.torch import save_file

I8, U8, FP8 = torch.int8, torch.uint8, torch.float8_e4m3fn
CASES = [
    ({"format": "int8_tensorwise"}, I8, "int8", False),
    ({"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 256}, I8, "int8 convrot", False),
    ({"format": "int8_tensorwise", "params": {"convrot": True}}, I8, "int8 convrot", False),
    ({"format": "convrot_w4a4", "convrot_groupsize": 256}, I8, "convrot w4a4", True),
    ({"format": "asym_w4a8_int8"}, I8, "w4a8", True),
    ({"format": "svdquant_w4a4"}, I8, "svdquant w4a4", True),
    ({"format": "awq_w4a16"}, I8, "awq w4a16", True),
    ({"format": "nvfp4"}, U8, "nvfp4", True),
    ({"format": "mxfp8"}, FP8, "mxfp8", False),
    ({"format": "float8_e4m3fn"}, FP8, "scaled fp8 e4m3", False),
    ({"format": "newest_int6"}, I8, "newest_int6", False),
]


def quantised(path: Path, config: object, dtype: torch.dtype, columns: int, rows: int = 32) -> Header:
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    tensors = {
        "blocks.0.q.weight": torch.zeros(rows, columns).to(dtype),
        "blocks.0.q.weight_scale": torch.ones(1),
        "blocks.0.q.comfy_quant": torch.tensor(list(raw), dtype=U8),
        "head.weight": torch.zeros(8, 32, dtype=torch.bfloat16),
    }
    save_file(tensors, path)
    return read_header(path)


def shape(header: Header) -> tuple[int, ...]:
    return StoredShapes(header).of(header.tensors["blocks.0.q.weight"])


@pytest.mark.parametrize(("config", "dtype", "name", "packed"), CASES)
def test_the_format_that_the_file_names(
    tmp_path: Path, config: dict[str, object], dtype: torch.dtype, name: str, packed: bool
) -> None:
    header = quantised(tmp_path / "x.safetensors", config, dtype, 16 if packed else 32)
    assert shape(header) == (32, 32)
    found = read_quantisation(header)
    assert found.formats == {name: 1, "bf16": 1}
    assert found.parameters == 32 * 32 + 8 * 32
    assert found.whole == ("head.weight",)


def test_padding_is_no_part_of_the_weight(tmp_path: Path) -> None:
    config = {"format": "nvfp4", "orig_shape": [20, 30]}
    assert shape(quantised(tmp_path / "x.safetensors", config, U8, 16)) == (20, 30)
    untrue = {"format": "nvfp4", "orig_shape": [20_000, 30]}
    assert shape(quantised(tmp_path / "y.safetensors", untrue, U8, 16)) == (32, 32)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]", b'{"format": 4}', b"\xff" * 9, b'{"format": "nvfp4", "orig_shape": 3}']
)
def test_what_is_no_configuration_is_no_crash(tmp_path: Path, raw: bytes) -> None:
    header = quantised(tmp_path / "x.safetensors", raw or b" ", I8, 32)
    assert shape(header)[0] == 32
    assert str(read_quantisation(header))


def test_one_json_for_all_layers_in_the_metadata(tmp_path: Path) -> None:
    metadata = {"_quantization_metadata": json.dumps({"layers": {"blocks.0.q": {"format": "convrot_w4a4"}}})}
    save_file({"blocks.0.q.weight": torch.zeros(32, 16, dtype=I8)}, tmp_path / "x.safetensors", metadata)
    header = read_header(tmp_path / "x.safetensors")
    assert (shape(header), str(read_quantisation(header))) == ((32, 32), "convrot w4a4")

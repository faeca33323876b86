"""Files written tensor by tensor are what the safetensors library reads, and half a file never stays."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.files.writer import TensorWriter, metadata_size
from safetensors import safe_open
from safetensors.torch import load_file

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "half": torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    "eight": torch.tensor([1.0, 0.25]).to(torch.float8_e4m3fn),
    "alpha": torch.tensor(4.0),
    "index": torch.tensor([1, 2, 3]),
    "empty": torch.zeros(0, 4),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}
METADATA = {"title": 'quotes " and \u00e9\u732b', "lone": "half \ud800 pair", "empty": ""}


def write(path: Path, metadata: dict[str, str] | None = None) -> TensorWriter:
    metadata = METADATA if metadata is None else metadata
    with TensorWriter(path, TENSORS, metadata_size(metadata)) as writer:
        for key, tensor in TENSORS.items():
            writer.add(key, tensor)
        assert writer.finish(metadata) == path.stat().st_size
    return writer


def test_the_library_reads_the_same_tensors_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.safetensors"
    writer = write(path)
    for key, tensor in load_file(path).items():
        assert tensor.dtype == TENSORS[key].dtype
        assert torch.equal(tensor.float(), TENSORS[key].float())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {**METADATA, "lone": "half ? pair"}
    header = read_header(path)
    assert hashlib.sha256(path.read_bytes()[header.data_start :]).hexdigest() == writer.data_hash
    assert [entry.name for entry in path.parent.iterdir()] == ["x.safetensors"]


def test_an_error_leaves_nothing_and_an_older_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    with TensorWriter(path, ["a"], 0) as writer:
        writer.add("a", torch.ones(2))
        with pytest.raises(PatchbayError, match="is there twice"):
            writer.add("a", torch.ones(2))
        with pytest.raises(PatchbayError, match="dtype that cannot be stored"):
            writer.add("b", torch.ones(2, dtype=torch.complex64))
        with pytest.raises(PatchbayError, match="shorten the metadata"):
            writer.finish({"long": "x" * 10_000})
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]

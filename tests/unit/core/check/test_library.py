"""Pictures of LoRAs: beside the file or in its header, and never anything else."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from pack.nodes.core.check.library import MOST_PREVIEW_BYTES, lora_facts, preview_path, read_preview
from support import ROOT

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
LORA = ROOT / "models" / "loras" / "klein-nano-duotone.safetensors"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    path = tmp_path / "ink.v2.safetensors"
    path.write_bytes(LORA.read_bytes())
    return path


@pytest.mark.parametrize("ending", [".png", ".preview.png", ".jpg", ".jpeg", ".webp", ".preview.webp"])
def test_a_picture_of_the_files_name_is_found(lora: Path, ending: str) -> None:
    assert preview_path(lora) is None
    beside = lora.with_name("ink.v2" + ending)
    beside.write_bytes(JPEG)
    assert preview_path(lora) == str(beside)
    found = read_preview(lora)
    assert found is not None
    assert (found.kind, found.data) == ("image/jpeg", JPEG)


def test_what_is_no_picture_or_too_large_is_not_handed_out(lora: Path) -> None:
    beside = lora.with_name("ink.v2.png")
    for content in (b"", b"<svg onload=alert(1)>", b"secret text"):
        beside.write_bytes(content)
        assert read_preview(lora) is None
    with open(beside, "wb") as stream:
        stream.write(PNG)
        stream.truncate(MOST_PREVIEW_BYTES + 1)
    assert os.path.getsize(beside) > MOST_PREVIEW_BYTES
    assert read_preview(lora) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), PNG),
        ("data:image/png;base64,!!!", None),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(), None),
        ("https://example.invalid/x.png", None),
    ],
)
def test_the_picture_in_the_header(tmp_path: Path, text: str, expected: bytes | None) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    tensors = {"x.lora_A.weight": torch.zeros(2, 4), "x.lora_B.weight": torch.zeros(4, 2)}
    save_file(tensors, path, {"modelspec.thumbnail": text})
    found = read_preview(path)
    assert (found.data if found else None) == expected
    assert lora_facts(path).thumbnail == text.startswith("data:image/")


def test_facts_of_a_real_file() -> None:
    facts = lora_facts(LORA)
    assert facts.ranks == (4, 8, 16, 32)
    assert "FLUX.2" in facts.architecture
    assert facts.size_bytes == LORA.stat().st_size

"""Tiny LoRA and model files of known contents, made on the spot; and the shared real data, where it exists."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from pack.nodes.core.files.tensors import Header, TensorInfo
from safetensors.torch import save_file

SHARED = Path(__file__).parents[4] / "shared" / "data"


def shared(path: str) -> Path:
    """A path of the shared data, or a skip that says so."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"the shared test data is not here: {path}")
    return found


def header_of(path: Path) -> Header:
    """A header from a JSON file of keys and shapes; it has no values, so scalars cannot be read."""
    data = json.loads(path.read_text(encoding="utf-8"))
    tensors = data.get("tensors", data) if isinstance(data, dict) else dict.fromkeys(data)
    infos: dict[str, TensorInfo] = {}
    for key, value in tensors.items():
        if key != "__metadata__":
            dtype, shape = value if value and isinstance(value[0], str) else ("F32", value or ())
            infos[key] = TensorInfo(key, dtype, tuple(shape), 0, 0)
    metadata = (data.get("__metadata__") or {}) if isinstance(data, dict) else {}
    return Header(path.name, 0, "safetensors", infos, metadata)


def header_from(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Header:
    """A header of these float32 tensors."""
    infos = {key: TensorInfo(key, "F32", shape, 0, 0) for key, shape in shapes.items()}
    return Header("made.safetensors", 0, "safetensors", infos, metadata or {})


def write_raw(path: Path, header: bytes | str | dict[str, object], data: bytes = b"") -> Path:
    """A file with this header, however wrong."""
    raw = json.dumps(header).encode() if isinstance(header, dict) else header
    raw = raw.encode() if isinstance(raw, str) else raw
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def flux2_shapes(hidden: int = 128, double: int = 2, single: int = 3, context: int = 192) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a FLUX.2 model; hidden 3072 with 5 and 20 blocks is Klein 4B."""
    h = hidden
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (h, 128),
        "txt_in.weight": (h, context),
        "time_in.in_layer.weight": (h, 256),
        "time_in.out_layer.weight": (h, h),
        "single_stream_modulation.lin.weight": (3 * h, h),
        "final_layer.linear.weight": (128, h),
        "final_layer.adaLN_modulation.1.weight": (2 * h, h),
    }
    for stream in ("img", "txt"):
        shapes[f"double_stream_modulation_{stream}.lin.weight"] = (6 * h, h)
        for i in range(double):
            block = f"double_blocks.{i}.{stream}_"
            shapes[f"{block}attn.qkv.weight"] = (3 * h, h)
            shapes[f"{block}attn.proj.weight"] = (h, h)
            shapes[f"{block}mlp.0.weight"] = (6 * h, h)
            shapes[f"{block}mlp.2.weight"] = (h, 3 * h)
    for i in range(single):
        shapes[f"single_blocks.{i}.linear1.weight"] = (9 * h, h)
        shapes[f"single_blocks.{i}.linear2.weight"] = (h, 4 * h)
    return shapes


def lora_shapes(
    model: dict[str, tuple[int, ...]], rank: int = 4, prefix: str = "diffusion_model."
) -> dict[str, tuple[int, ...]]:
    """A LoRA in ai-toolkit's spelling for every block of a model."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, (rows, columns) in model.items():
        if "blocks." in key:
            name = prefix + key.removesuffix(".weight")
            shapes[f"{name}.lora_A.weight"] = (rank, columns)
            shapes[f"{name}.lora_B.weight"] = (rows, rank)
    return shapes


def write_lora(path: Path, layers: dict[str, dict[str, torch.Tensor]], metadata: dict[str, str] | None = None) -> Path:
    """A LoRA file from layer name to suffix to tensor."""
    tensors = {f"{name}.{suffix}": t.contiguous() for name, parts in layers.items() for suffix, t in parts.items()}
    save_file(tensors, path, metadata)
    return path

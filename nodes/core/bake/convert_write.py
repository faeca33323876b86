"""Write a converted LoRA: the tensors in the target's spelling, and PEFT's configuration where it wants one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..check.model_file import ModelFile
from ..errors import PatchbayError
from ..files.writer import TensorWriter, metadata_size
from ..lora.adapters import SUFFIXES
from ..lora.keys import split_key
from ..lora.scale_sources import ADAPTER_METADATA, HEADER_ALPHAS
from ..match.other_layout import unet_names
from ..match.peft_files import CONFIG_NAME
from .convert import DIFFUSERS, KOHYA, PEFT, Changed, Conversion, Piece, describe_kind, stacked_factors
from .convert_names import DiffusersNames, Module

if TYPE_CHECKING:
    from torch import Tensor

_SPELLED = {"down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight"}
_KEPT = frozenset({"lora", "loha", "lokr", "glora", "oft", "boft", "diff", "norm", "diff_b", "norm_b"})
"""Formats that ComfyUI's loader and LyCORIS read under their own names."""
_DROPPED = (ADAPTER_METADATA, *HEADER_ALPHAS, "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
MADE_FOR_PROGRAM = "patchbay.converted_to"


@dataclass(frozen=True)
class Converted:
    """What was written."""

    path: Path
    size_bytes: int
    layers: int


def write_converted(
    path: Path, conversion: Conversion, model: ModelFile, target: str, metadata: Mapping[str, str]
) -> Converted:
    """Write what a file changes in the spelling of ``target``; for PEFT, ``path`` becomes a folder of two files.

    Raises:
        PatchbayError: a layer cannot be said there; nothing is written then.
        OSError: a file cannot be written.
    """
    make = _by_modules if target in (DIFFUSERS, PEFT) else _by_weights
    made = dict(make(conversion, model, target))
    kept = {key: value for key, value in metadata.items() if key not in _DROPPED}
    kept[MADE_FOR_PROGRAM] = target
    file = path / "adapter_model.safetensors" if target == PEFT else path
    with TensorWriter(file, made, metadata_size(kept)) as writer:
        for key, tensor in made.items():
            writer.add(key, tensor)
        size = writer.finish(kept)
    if target == PEFT:
        _write_config(path / CONFIG_NAME, made)
    layers = {parts.name if (parts := split_key(key)) is not None else key for key in made}
    return Converted(file, size, len(layers))


# --- names of the model's own layers: ComfyUI and kohya ---------------------------------------------------


def _by_weights(conversion: Conversion, model: ModelFile, target: str) -> Iterator[tuple[str, Tensor]]:
    names: Mapping[str, str] = {}
    if target == KOHYA and model.checked.match.id in ("sd15", "sd2"):
        names = {own: other for other, own in unet_names(model.checked.shapes).items()}
    for changed in conversion.weights:
        name = f"diffusion_model.{changed.name}"
        if target == KOHYA:
            name = "lora_unet_" + names.get(changed.name, changed.name).replace(".", "_")
        yield from _weight(name, changed, target)


def _weight(name: str, changed: Changed, target: str) -> Iterator[tuple[str, Tensor]]:
    import torch

    whole = len(changed.pieces) == 1 and changed.pieces[0].offset is None
    biases = [piece for piece in changed.pieces if piece.source.parameter == "bias"]
    if whole or (biases and len(changed.pieces) == 1):
        yield from _kept(name.removesuffix(".bias"), changed.pieces[0], target)
        return
    if any(piece.offset is not None and piece.offset[0] != 0 for piece in changed.pieces):
        raise PatchbayError(f"{changed.name}: a part of its columns is changed, which cannot be said in this form.")
    made = changed.low_rank()
    parts = [(up, down, scale, piece.offset[1] if piece.offset else 0) for piece, up, down, scale in made]
    up, down, scale = stacked_factors(parts, changed.shape[0])
    yield f"{name}.lora_down.weight", _columns(down, changed)
    yield f"{name}.lora_up.weight", up
    yield f"{name}.alpha", torch.tensor(scale * down.shape[0])


def _kept(name: str, piece: Piece, target: str) -> Iterator[tuple[str, Tensor]]:
    """A layer in its own format."""
    import torch

    layer = piece.source
    kind = layer.adapter.name if layer.adapter is not None else ""
    if kind not in _KEPT:
        raise PatchbayError(f"{layer.name}: {describe_kind(layer)} has no form there that is computed as it is meant.")
    if layer.dora and (target == KOHYA or _is_by_rows(piece)):
        raise PatchbayError(
            f"{layer.name}: {describe_kind(layer)} is not computed there as it was trained. Save LoRA can write it as "
            "a difference or a LoRA."
        )
    scale, rank = layer.scale, layer.rank
    scaled = layer.adapter is not None and layer.adapter.scaled_by_alpha
    for role, tensor in piece.tensors.items():
        if scaled and not rank and scale != 1.0 and role in ("lokr_w1", "lokr_w1_b"):
            tensor = tensor.float() * scale
        yield f"{name}.{_SPELLED.get(role) or _suffix(layer.roles[role], role)}", tensor
    if scaled and rank:
        yield f"{name}.alpha", torch.tensor(scale * rank)
    elif not scaled and "alpha" in layer.roles and layer.alpha is not None:
        yield f"{name}.alpha", torch.tensor(layer.alpha)


def _suffix(key: str, role: str) -> str:
    """The end of a key as LyCORIS and ComfyUI spell it."""
    for end in (role, f"{role}.weight"):
        if SUFFIXES.get(end) == role:
            return end
    return key.rpartition(".")[2]


def _is_by_rows(piece: Piece) -> bool:
    magnitude = piece.tensors["dora_scale"]
    return piece.source.dora != "dora_scale" or magnitude.dim() < 2 or magnitude.shape[0] != 1


def _columns(down: Tensor, changed: Changed) -> Tensor:
    """``down`` with the kernel of a convolution again."""
    return down.reshape(down.shape[0], *changed.shape[1:])


# --- modules of diffusers' classes: diffusers and PEFT ----------------------------------------------------


def _by_modules(conversion: Conversion, model: ModelFile, target: str) -> Iterator[tuple[str, Tensor]]:
    names = DiffusersNames(model.checked.match.id, model.checked.shapes)
    for changed in conversion.weights:
        made = changed.low_rank()
        for module in names.modules(changed.name, changed.shape):
            parts = [part for entry in made for part in _on_module(entry, module)]
            if not parts:
                continue
            up, down, scale = stacked_factors(parts, module.rows)
            up = up if scale == 1.0 else up.float() * scale
            prefix = "base_model.model." if target == PEFT else names.prefix
            if module.name.startswith("text_conditioner."):  # a component of its own in Anima's pipeline
                prefix = "" if target == DIFFUSERS else prefix
            yield f"{prefix}{module.name}.lora_A.weight", _columns(down, changed)
            kernel = (1,) * (len(changed.shape) - 2)
            yield f"{prefix}{module.name}.lora_B.weight", up.reshape(*up.shape, *kernel).contiguous()


def _on_module(
    entry: tuple[Piece, Tensor, Tensor, float], module: Module
) -> Iterator[tuple[Tensor, Tensor, float, int]]:
    """The rows of a piece that lie in a module, as parts of it."""
    import torch

    piece, up, down, scale = entry
    if piece.offset is not None and piece.offset[0] != 0:
        raise PatchbayError(f"{piece.source.name}: changes a part of the columns, which cannot be said in this form.")
    start = piece.offset[1] if piece.offset is not None else 0
    found: list[tuple[int, Tensor]] = []
    for there, row, count in module.runs:
        first, last = max(row, start), min(row + count, start + up.shape[0])
        if first < last:
            found.append((there + first - row, up[first - start : last - start]))
    if not found:
        return
    found.sort(key=lambda item: item[0])
    first = found[0][0]
    rows = torch.zeros(found[-1][0] + found[-1][1].shape[0] - first, up.shape[1], dtype=up.dtype)
    for position, part in found:
        rows[position - first : position - first + part.shape[0]] = part
    yield rows, down, scale, first


def _write_config(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """PEFT's configuration: every module by its name, and the rank of each, with alpha as its equal."""
    ends = ".lora_A.weight"
    factors = {key.removesuffix(ends): tensor for key, tensor in tensors.items() if key.endswith(ends)}
    ranks = {name.removeprefix("base_model.model."): int(tensor.shape[0]) for name, tensor in factors.items()}
    most = max(set(ranks.values()), key=list(ranks.values()).count)
    others = {name: rank for name, rank in ranks.items() if rank != most}
    fields = {
        "peft_type": "LORA", "task_type": None, "inference_mode": True, "r": most, "lora_alpha": most,
        "rank_pattern": others, "alpha_pattern": others, "target_modules": sorted(ranks), "lora_dropout": 0.0,
        "bias": "none", "use_dora": False, "use_rslora": False,
    }  # fmt: skip
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(fields, indent=2), encoding="utf-8")
    os.replace(temporary, path)

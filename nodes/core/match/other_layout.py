"""A model file in another layout than the model's own, brought to the names that ComfyUI gives its layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ..model.families import family
from .diffusers_names import WEIGHT, Shapes
from .name_table import Target

Part = tuple[int, int] | None
"""First row of a slice and its rows, in units of the weight's columns; ``None`` for the whole weight."""
Row = tuple[str, str, Part]
"""The model's own name, the other name, and the part it means. ``#`` stands for a block number, the same in both."""

_WIDE = {"proj_mlp": 4, "linear1_qkv": 3}
"""Height of the parts of a stack in units of the weight's columns, where it is not one."""


@lru_cache(64)
def _rows(architecture: str) -> tuple[Row, ...]:
    """The links of a family in which the model has one layer, one row for each name of the file."""
    known = family(architecture)
    found: list[Row] = []
    for link in known.links if known else ():
        if len(link.model) != 1 or link.when or (link.order and len(link.file) > 1):
            continue
        start = 0
        for name in link.file:
            height = _WIDE.get(name.rpartition(".")[2], 1)
            found.append((link.model[0], name, (start, height) if len(link.file) > 1 or height > 1 else None))
            start += height
    return tuple(found)


_FIRST_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _hashed(name: str) -> tuple[str, str]:
    """A name with ``#`` for its first block number, and that number."""
    match = _FIRST_NUMBER.search(name)
    return (name, "") if match is None else (f"{name[: match.start()]}#{name[match.end() :]}", match[0])


@lru_cache(32)
def _by_other(architecture: str) -> Mapping[str, Row]:
    found: dict[str, Row] = {}
    for row in _rows(architecture):
        found.setdefault(row[1], row)
    return found


def renamed_shapes(shapes: Shapes, architecture: str) -> dict[str, tuple[int, ...]]:
    """The weights of a file in diffusers' layout by the model's own names, with q, k and v put together."""
    rows = _by_other(architecture)
    found: dict[str, tuple[int, ...]] = {}
    for layer, parameter, shape in layers_of(shapes):
        hashed, number = _hashed(layer)
        row = rows.get(layer) or (rows.get(hashed) if number else None)
        if row is None:
            found[layer + parameter] = shape
            continue
        key = row[0].replace("#", number) + parameter
        # Parts follow each other without gaps, so that their rows add up.
        before = found.get(key, (0,))[0] if row[2] is not None else 0
        found[key] = (before + shape[0], *shape[1:]) if shape else shape
    return found


def layers_of(shapes: Shapes) -> Iterable[tuple[str, str, tuple[int, ...]]]:
    """Layer, parameter with its dot (empty where the key has none that is known) and shape of each weight."""
    for key, shape in shapes.items():
        layer, dot, parameter = key.rpartition(".")
        yield (layer, f".{parameter}", shape) if dot and parameter in ("weight", "bias") else (key, "", shape)


_HUNYUAN: tuple[tuple[str, str], ...] = (
    ("txt_in.t_embedder.mlp.0.", "txt_in.t_embedder.in_layer."),
    ("txt_in.t_embedder.mlp.2.", "txt_in.t_embedder.out_layer."),
    ("txt_in.c_embedder.linear_1.", "txt_in.c_embedder.in_layer."),
    ("txt_in.c_embedder.linear_2.", "txt_in.c_embedder.out_layer."),
    ("_mod.linear.", "_mod.lin."), ("_attn_qkv.", "_attn.qkv."), ("mlp.fc1.", "mlp.0."), ("mlp.fc2.", "mlp.2."),
    ("_attn_proj.", "_attn.proj."), (".modulation.linear.", ".modulation.lin."),
    ("_attn_q_norm.weight", "_attn.norm.query_norm.weight"), ("_attn_k_norm.weight", "_attn.norm.key_norm.weight"),
    (".q_norm.weight", ".norm.query_norm.weight"), (".k_norm.weight", ".norm.key_norm.weight"),
    ("_in.mlp.2.", "_in.out_layer."), ("_in.mlp.0.", "_in.in_layer."),
)  # fmt: skip
"""Tencent's names to those of ComfyUI, in this order."""


def hunyuan_name(key: str) -> str:
    """ComfyUI's name of a weight that has Tencent's."""
    for old, new in _HUNYUAN:
        key = key.replace(old, new)
    return re.sub(r"_norm\.scale$", "_norm.weight", key)


# --- UNets of Stable Diffusion, whose layers are counted out -----------------------------------------------

_RESNET = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_UNET_BASIC = {
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
}  # fmt: skip


def add_unet_names(names: dict[str, Target], shapes: Shapes, prefix: str) -> None:
    """Add diffusers' names to those of a UNet, and the names that attention processors of old diffusers had."""
    for other, own in unet_names(shapes).items():
        key = f"{own}{WEIGHT}"
        if key not in shapes:
            continue
        names.setdefault(other, f"{prefix}{key}")
        # Attention processors of old diffusers.
        old = other.replace(".to_", ".processor.to_")
        names.setdefault(old.removesuffix(".0") if old.endswith(".to_out.0") else old, f"{prefix}{key}")
        if own.startswith("label_emb.0."):
            names.setdefault(other.replace("add_embedding", "class_embedding"), f"{prefix}{key}")


def renamed_unet(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The weights of a UNet in diffusers' layout by the original names."""
    names = unet_names(shapes)
    return {names.get(layer, layer) + parameter: shape for layer, parameter, shape in layers_of(shapes)}


def unet_names(shapes: Shapes) -> dict[str, str]:
    """Layers of a UNet by diffusers' names to the original ones, counted out from whichever the file uses."""
    names = {other: own for own, other in _UNET_BASIC.items()}
    levels = _levels(shapes)
    count, to_old = len(levels), any(key.startswith("down_blocks.") for key in shapes)
    layers = {layer for layer, _, _ in layers_of(shapes)}
    for own, other, kind in _unet_places(levels):
        _match_inside(names, layers, own, other, kind, to_old)
    block = 0
    for level, resnets in enumerate(levels):
        block += resnets + 1
        if level < count - 1:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{block}.0.op"
    block = -1
    for level, resnets in enumerate(reversed(levels)):
        block += resnets + 1
        if level < count - 1:
            # It stands behind the attention where the block has one.
            attention = f"up_blocks.{level}.attentions." if to_old else f"output_blocks.{block}.1.proj_in"
            place = 2 if any(layer.startswith(attention) for layer in layers) else 1
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{block}.{place}.conv"
    return names


def _levels(shapes: Shapes) -> list[int]:
    """Resnets of each level on the way down."""
    counts: dict[int, int] = {}
    if any(key.startswith("down_blocks.") for key in shapes):
        for key in shapes:
            match = re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.", key)
            if match:
                counts[int(match[1])] = max(counts.get(int(match[1]), 0), int(match[2]) + 1)
        return [counts[level] for level in sorted(counts)]
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"input_blocks\.(\d+)\.", key))}
    levels = [0]
    for block in range(1, max(blocks, default=0) + 1):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            levels.append(0)
        else:
            levels[-1] += 1
    return levels


def _unet_places(levels: list[int]) -> Iterable[tuple[str, str, str]]:
    """Original place, diffusers' place, and what stands there: ``resnet`` or ``attention``."""
    block = 0
    for level, resnets in enumerate(levels):
        for number in range(resnets):
            block += 1
            yield f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{number}", "resnet"
            yield f"input_blocks.{block}.1", f"down_blocks.{level}.attentions.{number}", "attention"
        block += 1
    yield "middle_block.0", "mid_block.resnets.0", "resnet"
    yield "middle_block.1", "mid_block.attentions.0", "attention"
    yield "middle_block.2", "mid_block.resnets.1", "resnet"
    block = 0
    for level, resnets in enumerate(reversed(levels)):
        for number in range(resnets + 1):
            yield f"output_blocks.{block}.0", f"up_blocks.{level}.resnets.{number}", "resnet"
            yield f"output_blocks.{block}.1", f"up_blocks.{level}.attentions.{number}", "attention"
            block += 1


def _match_inside(names: dict[str, str], layers: Iterable[str], own: str, other: str, kind: str, to_old: bool) -> None:
    if kind == "resnet":
        names.update({f"{other}.{new}": f"{own}.{old}" for old, new in _RESNET.items()})
        return
    here = f"{other if to_old else own}."
    for layer in layers:
        inside = layer[len(here) :] if layer.startswith(here) else ""
        if inside.startswith(("transformer_blocks.", "norm", "proj_in", "proj_out")):
            names[f"{other}.{inside}"] = f"{own}.{inside}"

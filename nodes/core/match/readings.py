"""What a LoRA file means beyond its header: names in other spellings, named PEFT adapters, ``adapter_config.json``.

Pure: names in, names out. Which of the candidate names the model really has is decided by the host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from ..files.tensors import Header, TensorInfo
from ..lora.file import LoraFile, LoraLayer
from ..lora.scale_sources import ADAPTER_METADATA

PEFT_PREFIX = "base_model.model."

DYLORA = (
    "LyCORIS trains a DyLoRA at a random rank in every step, scaled by alpha / blocks in use, and the file does not "
    "say which rank is meant; with as_stock it is applied as ComfyUI does, all ranks at alpha / rank"
)
"""Why a LyCORIS DyLoRA is not applied."""

NO_SUCH_WEIGHT = "it belongs to no adapter that is known, and the model has no weight of this name to replace"
"""Why a tensor that is called like a weight is not understood."""

_DOTTED = (PEFT_PREFIX, "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "net.")
_JOINED = (
    "Hunyuan_video_I2V_lora_", "lora_unet__", "lora_unet_", "lora_transformer_", "lora_prior_unet_", "oft_unet_",
    "lycoris_", "diffusion_model_", "unet_",
)  # fmt: skip

_PREFIXES = (*_DOTTED, *_JOINED)

_RENAMED = (
    ("time_guidance_embed", "time_text_embed"),  # by diffusers, between FLUX.1 and FLUX.2
    ("sformer_blocks.", "transformer_blocks."),  # some exports cut a prefix too far
)

_PROCESSOR = ".processor."
_XLABS = r"^(?P<block>(?:double|single)_blocks\.\d+)\.processor\.(?P<part>qkv|proj)(?:_lora)?(?P<stream>[12]?)$"


def bare_name(name: str, prefixes: tuple[str, ...] = ()) -> str:
    """A layer name without what tools put before it, one prefix or several.

    Args:
        prefixes: Those of the model's family, beyond the usual.
    """
    known = (*prefixes, *_PREFIXES) if prefixes else _PREFIXES
    while name.startswith(known):
        first = next((prefix for prefix in known if name.startswith(prefix) and len(name) > len(prefix)), None)
        if first is None:
            return name
        name = name[len(first) :]
    return name


def candidate_names(name: str, prefixes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names under which a model may know the layer ``name`` of a file, the likeliest first.

    >>> candidate_names("base_model.model.single_stream_modulation.linear")
    ('single_stream_modulation.linear', 'single_stream_modulation.lin')
    >>> candidate_names("double_blocks.3.processor.qkv_lora2")
    ('double_blocks.3.txt_attn.qkv',)
    """
    bare = bare_name(name, prefixes)
    if _PROCESSOR in bare and (xlabs := re.match(_XLABS, bare)):
        return (_xlabs_name(xlabs),)
    names = [bare]
    for old, new in _RENAMED:
        if bare.startswith(old):
            names.append(new + bare[len(old) :])
    for end, other in ((".linear", ".lin"), ("_linear", "_lin"), ("_lora", "")):
        if bare.endswith(end):
            names.append(bare[: -len(end)] + other)
    return tuple(dict.fromkeys(names))


def _xlabs_name(match: re.Match[str]) -> str:
    block, part, stream = match["block"], match["part"], match["stream"]
    if stream:
        return f"{block}.{'img' if stream == '1' else 'txt'}_attn.{part}"
    return f"{block}.linear1_qkv" if part == "qkv" else f"{block}.linear2"


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Understanding(NamedTuple):
    """The layers of a file with the scale that its writer meant."""

    layers: tuple[LoraLayer, ...]
    remarks: Mapping[str, str] = _NOTHING
    """By layer name: what had to be assumed."""
    config: Mapping[str, Any] = _NOTHING
    """Fields of the ``adapter_config.json``, where one belongs to the file."""


def understand(file: LoraFile) -> Understanding:
    """The layers of ``file``, without PEFT's adapter names, with the scales of an ``adapter_config.json``."""
    layers = file.layers
    if file.other_keys:
        from .peft_files import without_adapter_name

        layers = without_adapter_name(file)
    raw = [layer for layer in layers if layer.name.removeprefix("transformer.").startswith(PEFT_PREFIX)]
    if not raw or ADAPTER_METADATA in file.header.metadata:
        return Understanding(layers)
    from .peft_files import with_config

    return Understanding(*with_config(file.header, layers, raw))


def needs_renaming(header: Header) -> bool:
    """Whether ComfyUI renames tensors of this file while it loads them."""
    return "img_in.lora_A.weight" in header.tensors and "single_blocks.0.norm.key_norm.scale" in header.tensors


def as_loaded(header: Header) -> Header:
    """The header with the names that ComfyUI gives to the tensors of some files while it loads them.

    Black Forest Labs' control LoRAs (depth, canny) bring whole norms and biases, and an ``img_in`` that enlarges the
    model's.
    """
    if not needs_renaming(header):
        return header
    renamed: dict[str, TensorInfo] = {}
    for key, info in header.tensors.items():
        name = key.replace(".lora_B.bias", ".diff_b").replace("_norm.scale", "_norm.set_weight")
        renamed[f"diffusion_model.{name}"] = info._replace(key=f"diffusion_model.{name}")
    reshape = "diffusion_model.img_in.reshape_weight"
    renamed.setdefault(reshape, TensorInfo(reshape, "I64", (2,), 0, 0))
    return replace(header, tensors=renamed)

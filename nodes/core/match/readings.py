"""What a LoRA file means beyond its header: names in other spellings, named PEFT adapters, ``adapter_config.json``.

Pure: names in, names out. Which of the candidate names the model really has is decided by the host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ..files.tensors import Header, TensorInfo
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.scale_sources import ADAPTER_METADATA, HeaderScale, read_header_scale

CONFIG_NAME = "adapter_config.json"
"""What PEFT's ``save_pretrained`` writes beside its tensors."""

MAX_CONFIG_BYTES = 4_000_000

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

_XLABS = re.compile(
    r"^(?P<block>(?:double|single)_blocks\.\d+)\.processor\.(?P<part>qkv|proj)(?:_lora)?(?P<stream>[12]?)$"
)

_NAMED_ADAPTER = re.compile(
    r"^(?P<head>.+\.(?:lora_[AB]|lora_magnitude_vector|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)"
    r"|oft_R|boft_[Rs]|ia3_l))\.(?P<adapter>[^.]+)(?P<tail>\.weight|\.bias)?$"
)
_PLAIN = ("weight", "bias")


def bare_name(name: str, prefixes: tuple[str, ...] = ()) -> str:
    """A layer name without what tools put before it, one prefix or several.

    Args:
        prefixes: Those of the model's family, beyond the usual.
    """
    while True:
        for prefix in (*prefixes, *_PREFIXES):
            if name.startswith(prefix) and len(name) > len(prefix):
                name = name[len(prefix) :]
                break
        else:
            return name


def candidate_names(name: str, prefixes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names under which a model may know the layer ``name`` of a file, the likeliest first.

    >>> candidate_names("base_model.model.single_stream_modulation.linear")
    ('single_stream_modulation.linear', 'single_stream_modulation.lin')
    >>> candidate_names("double_blocks.3.processor.qkv_lora2")
    ('double_blocks.3.txt_attn.qkv',)
    """
    bare = bare_name(name, prefixes)
    xlabs = _XLABS.match(bare)
    if xlabs:
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


@dataclass(frozen=True)
class AdapterConfig:
    """The PEFT configuration beside a raw PEFT file."""

    fields: Mapping[str, Any]
    scale: HeaderScale
    ranks: HeaderScale

    def rank(self, layer: str) -> int | None:
        """Rank that the configuration gives ``layer``, patterns included."""
        found = self.ranks.of(layer, 1)
        return int(found[0]) if found is not None and found[0] > 0 else None


def read_adapter_config(header: Header) -> tuple[AdapterConfig | None, str]:
    """The ``adapter_config.json`` in the folder of the file behind ``header``, and why it is missing if it is.

    Read is a plain file of bounded size in the same folder, never a link that leads elsewhere.
    """
    missing = f"the {CONFIG_NAME} that PEFT writes beside its files is missing"
    if header.source is not None:
        raw = header.source.beside(CONFIG_NAME, MAX_CONFIG_BYTES)
        return _adapter_config(raw) if raw is not None else (None, missing)
    if header.path is None:
        return None, f"no {CONFIG_NAME}"
    path = header.path.parent / CONFIG_NAME
    try:
        if path.is_symlink() and path.resolve().parent != header.path.parent.resolve():
            return None, f"{CONFIG_NAME} is a link to another folder"
        if not path.is_file():
            return None, missing
        if path.stat().st_size > MAX_CONFIG_BYTES:
            return None, f"{CONFIG_NAME} is too large to be one"
        raw = path.read_bytes()
    except OSError:
        return None, f"{CONFIG_NAME} cannot be read"
    return _adapter_config(raw)


def _adapter_config(raw: bytes) -> tuple[AdapterConfig | None, str]:
    try:
        data: Any = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None, f"{CONFIG_NAME} cannot be read"
    if not isinstance(data, dict):
        return None, f"{CONFIG_NAME} is not a PEFT configuration"
    fields = cast("dict[str, Any]", data)
    scale = {
        "lora_alpha": fields.get("lora_alpha", fields.get("alpha")),
        "alpha_pattern": fields.get("alpha_pattern"),
        "use_rslora": fields.get("use_rslora"),
    }
    ranks = {"lora_alpha": fields.get("r"), "alpha_pattern": fields.get("rank_pattern")}
    return AdapterConfig(fields, _as_header_scale(scale), _as_header_scale(ranks)), ""


def config_stamp(path: Path | None) -> tuple[int, int] | None:
    """Size and time of the ``adapter_config.json`` beside ``path``; ``None`` where there is none."""
    try:
        status = (path.parent / CONFIG_NAME).stat() if path is not None else None
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status is not None else None


def _as_header_scale(fields: Mapping[str, Any]) -> HeaderScale:
    return read_header_scale({ADAPTER_METADATA: json.dumps(fields)})


@dataclass(frozen=True)
class Understanding:
    """The layers of a file with the scale that its writer meant."""

    layers: tuple[LoraLayer, ...]
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])
    """By layer name: what had to be assumed."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the ``adapter_config.json``, where one belongs to the file."""


def understand(file: LoraFile) -> Understanding:
    """The layers of ``file``, without PEFT's adapter names, with the scales of an ``adapter_config.json``."""
    layers = _without_adapter_name(file)
    raw = [layer for layer in layers if layer.name.removeprefix("transformer.").startswith(PEFT_PREFIX)]
    if not raw or ADAPTER_METADATA in file.header.metadata:
        return Understanding(layers)
    config, missing = read_adapter_config(file.header)
    if config is not None:
        missing = _contradiction(config, raw)
    if config is None or missing:
        remark = f"{missing}: scale 1 is assumed"
        remarks = {layer.name: remark for layer in raw if _is_scaled(layer) and "alpha" not in layer.roles}
        return Understanding(layers, remarks)
    return Understanding(tuple(_scaled(layer, config) for layer in layers), {}, config.fields)


def _is_scaled(layer: LoraLayer) -> bool:
    return layer.adapter is not None and layer.adapter.scaled_by_alpha


def _contradiction(config: AdapterConfig, layers: list[LoraLayer]) -> str:
    """Why a configuration cannot be the one of these layers: in a folder of many files it may be another's."""
    for layer in layers:
        rank = config.rank(layer.name)
        if _is_scaled(layer) and layer.rank is not None and rank is not None and rank != layer.rank:
            return f"the {CONFIG_NAME} in the folder is of another file (rank {rank}, this file has {layer.rank})"
    return ""


def _scaled(layer: LoraLayer, config: AdapterConfig) -> LoraLayer:
    if not _is_scaled(layer) or "alpha" in layer.roles or not layer.name.startswith((PEFT_PREFIX, "transformer.")):
        return layer
    # PEFT scales a LoKr by alpha / r even where both factors are whole and no rank shows in the shapes.
    rank = layer.rank if layer.rank is not None else config.rank(layer.name)
    found = config.scale.of(layer.name, rank) if rank else None
    if found is None:
        return layer
    scale, source, alpha = found
    return replace(layer, scale=scale, alpha=alpha, scale_source=source.replace(ADAPTER_METADATA, CONFIG_NAME))


def _without_adapter_name(file: LoraFile) -> tuple[LoraLayer, ...]:
    """The layers with ``.lora_A.<adapter>.weight`` read as ``.lora_A.weight``, where the file has one such adapter."""
    matches = {key: match for key in file.other_keys if (match := _NAMED_ADAPTER.match(key))}
    matches = {key: match for key, match in matches.items() if match["adapter"] not in _PLAIN}
    if len({match["adapter"] for match in matches.values()}) != 1:
        return file.layers
    original = {match["head"] + (match["tail"] or ""): key for key, match in matches.items()}
    if any(new in file.header.tensors for new in original):
        return file.layers
    back = {key: key for key in file.header.tensors} | original
    renamed = {old: new for new, old in original.items()}
    tensors = {renamed.get(key, key): info for key, info in file.header.tensors.items()}
    tensors = {key: info._replace(key=key) for key, info in tensors.items()}
    again = read_lora(replace(file.header, tensors=tensors))
    return tuple(replace(layer, roles={role: back[key] for role, key in layer.roles.items()}) for layer in again.layers)


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

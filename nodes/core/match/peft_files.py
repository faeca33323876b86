"""Files as PEFT itself writes them: the adapter's name in the keys, and the scale in an ``adapter_config.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..files.tensors import Header
from ..lora.file import LoraFile, LoraLayer, read_lora
from ..lora.scale_sources import ADAPTER_METADATA, HeaderScale, read_header_scale
from .readings import PEFT_PREFIX

CONFIG_NAME = "adapter_config.json"
"""What PEFT's ``save_pretrained`` writes beside its tensors."""

MAX_CONFIG_BYTES = 4_000_000

_NAMED_ADAPTER = (
    r"^(?P<head>.+\.(?:lora_[AB]|lora_magnitude_vector|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)"
    r"|oft_R|boft_[Rs]|ia3_l))\.(?P<adapter>[^.]+)(?P<tail>\.weight|\.bias)?$"
)
_PLAIN = ("weight", "bias")


class AdapterConfig(NamedTuple):
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


def with_config(
    header: Header, layers: tuple[LoraLayer, ...], raw: list[LoraLayer]
) -> tuple[tuple[LoraLayer, ...], Mapping[str, str], Mapping[str, Any]]:
    """The layers of a file with the scales of the configuration beside it, what had to be assumed, and its fields.

    Args:
        raw: Those of ``layers`` that PEFT itself wrote.
    """
    config, missing = read_adapter_config(header)
    if config is not None:
        missing = _contradiction(config, raw)
    if config is None or missing:
        remark = f"{missing}: scale 1 is assumed"
        remarks = {layer.name: remark for layer in raw if _is_scaled(layer) and "alpha" not in layer.roles}
        return layers, remarks, {}
    return tuple(_scaled(layer, config) for layer in layers), {}, config.fields


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


def without_adapter_name(file: LoraFile) -> tuple[LoraLayer, ...]:
    """The layers with ``.lora_A.<adapter>.weight`` read as ``.lora_A.weight``, where the file has one such adapter."""
    named = re.compile(_NAMED_ADAPTER)
    matches = {key: match for key in file.other_keys if (match := named.match(key))}
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

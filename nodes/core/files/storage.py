"""How the weights of a model are stored: formats with counts, and the layers that were left whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from .quant_configs import QuantConfig, read_quant_configs
from .safetensors_header import DTYPE_BITS
from .tensors import Header, TensorInfo

_DTYPE_NAMES = {
    "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp64", "F8_E4M3": "fp8 e4m3", "F8_E5M2": "fp8 e5m2",
    "I8": "int8",
}  # fmt: skip
_WHOLE = frozenset({"fp32", "fp16", "bf16", "fp64"})
_GGML_WHOLE = frozenset({"F32", "F16", "BF16", "F64"})
_SCALES = (
    "weight_scale", "scale_weight", "weight_scale_2", "scale_input", "input_scale", "comfy_quant", "pre_quant_scale",
    "wscales", "wzeros", "smooth", "proj_down", "proj_up", "wtscale", "wcscales", "absmax", "quant_map",
    "scaled_fp8", "smooth_factor", "weight_s_rel", "weight_s_channel", "weight_codebook",
)  # fmt: skip

_COMFY_NAMES = {
    "float8_e4m3fn": "scaled fp8 e4m3", "float8_e5m2": "scaled fp8 e5m2", "int8_tensorwise": "int8",
    "convrot_w4a4": "convrot w4a4", "asym_w4a8_int8": "w4a8", "svdquant_w4a4": "svdquant w4a4",
    "awq_w4a16": "awq w4a16",
}  # fmt: skip
"""Formats of ComfyUI (``comfy/quant_ops.py``, comfy-kitchen) to the field's words; others keep their own name."""

_HALF_BYTES = re.compile(r"w4|int4|fp4|nf4")
"""Formats that pack two values in a byte, along the columns."""


@dataclass(frozen=True)
class Quantisation:
    """Formats of the weight matrices of a model."""

    formats: dict[str, int]
    """Number of matrices in each format, the most frequent first."""
    whole: tuple[str, ...]
    """Matrices that are not quantised, where others are."""
    parameters: int
    """Elements of all weights, packed ones counted as what they stand for; scales left out."""

    @property
    def is_quantised(self) -> bool:
        """Whether any matrix is."""
        return any(name not in _WHOLE for name in self.formats)

    def __str__(self) -> str:
        if not self.formats:
            return ""
        if not self.is_quantised or len(self.formats) == 1:
            return ", ".join(self.formats)
        return ", ".join(f"{name} x {count}" for name, count in self.formats.items())


def read_quantisation(header: Header) -> Quantisation:
    """Formats from dtypes and the scales beside them: fp8 plain or scaled, mxfp8, nvfp4, int8, GGUF types, nf4."""
    formats: Counter[str] = Counter()
    whole: list[str] = []
    parameters = 0
    configs = read_quant_configs(header)
    for info in header.tensors.values():
        if is_storage_key(info.key):
            continue
        name = info.dtype if header.container == "gguf" else _format(info, header, configs)
        packed = 2 if _is_packed(name) and info.dtype != "F4" else 1
        parameters += info.count * packed
        if len(info.shape) < 2 and packed == 1:
            continue
        formats[_DTYPE_NAMES.get(name, name)] += 1
        if name in _GGML_WHOLE or _DTYPE_NAMES.get(name, name) in _WHOLE:
            whole.append(info.key)
    quantised = any(name not in _WHOLE for name in formats)
    return Quantisation(dict(formats.most_common()), tuple(whole) if quantised else (), parameters)


def is_storage_key(key: str) -> bool:
    """Whether a tensor is the scale or the format of a quantised weight rather than a weight."""
    return key.rpartition(".")[2] in _SCALES or ".quant_state." in key or ".nested_" in key


class StoredShapes:
    """The shapes that the weights of a file have when they are read: whole, whatever they are packed into."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._configs = read_quant_configs(header)

    def of(self, info: TensorInfo) -> tuple[int, ...]:
        """The shape of one weight."""
        if self._header.container == "gguf" or len(info.shape) != 2 or info.dtype not in _BYTES:
            return info.shape
        rows, columns = info.shape
        if info.dtype in ("U8", "I8") and _is_packed(_format(info, self._header, self._configs)):
            columns *= 2
        config = self._configs.get(info.key.rpartition(".")[0])
        if config is None or len(config.shape) != 2:
            return rows, columns
        padded = 0 <= rows - config.shape[0] < _PADDING and 0 <= columns - config.shape[1] < _PADDING
        return config.shape if padded else (rows, columns)


_BYTES = frozenset({"U8", "I8", "F4", "F8_E4M3", "F8_E5M2"})
_PADDING = 128
"""More rows or columns than this are never added to fill a tile."""


def _is_packed(name: str) -> bool:
    return _HALF_BYTES.search(name) is not None


def comfy_format(name: str, convrot: bool) -> str:
    """A format of ComfyUI in the field's words: ``int8_tensorwise`` that is rotated is ``int8 convrot``."""
    name = _COMFY_NAMES.get(name, name)
    return f"{name} convrot" if convrot and "convrot" not in name else name


def dtype_format(name: str) -> str:
    """A dtype of safetensors in the same words: ``F8_E4M3`` is ``fp8 e4m3``."""
    return _DTYPE_NAMES.get(name, name)


def _format(info: TensorInfo, header: Header, configs: Mapping[str, QuantConfig]) -> str:
    tensors = header.tensors
    layer, _, last = info.key.rpartition(".")
    config = configs.get(layer)
    if config is not None and last == "weight" and info.dtype in _BYTES:
        return comfy_format(config.format, config.convrot)
    scale = tensors.get(f"{layer}.weight_scale")
    if info.dtype in ("F8_E4M3", "F8_E5M2"):
        if scale is not None and (scale.dtype in ("U8", "F8_E8M0") or len(scale.shape) == 2 and scale.dtype != "F32"):
            return "mxfp8"
        scaled = scale is not None or f"{layer}.scale_weight" in tensors
        return f"scaled {_DTYPE_NAMES[info.dtype]}" if scaled else info.dtype
    if info.dtype in ("U8", "I8", "F4"):
        if f"{layer}.weight_scale_2" in tensors or info.dtype == "F4":
            return "nvfp4"
        if any(key in tensors for key in (f"{info.key}.absmax", f"{info.key}.quant_state.bitsandbytes__nf4")):
            return "nf4 (bitsandbytes)"
        if info.key.endswith(".qweight"):
            return "int4 (Nunchaku)"
        if scale is not None or f"{layer}.scale_weight" in tensors:
            return "int8" if info.dtype == "I8" else "packed bytes with scales"
    return info.dtype if info.dtype in DTYPE_BITS else "unknown"

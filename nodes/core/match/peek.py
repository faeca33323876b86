"""Is a factor of a layer all zero? Read from the file a little at a time, where the answer decides something."""

from __future__ import annotations

from ..files.header import Header
from ..lora.file import LoraLayer

_PRODUCTS = ("lora", "loha", "lokr")
_NO_FACTORS = frozenset({"alpha", "dora_scale", "reshape"})
_CHUNK = 1 << 20


def is_all_zero(header: Header, layer: LoraLayer) -> bool:
    """Whether a factor of the layer's product is all zero; ``False`` where that cannot be read."""
    if layer.adapter is None or layer.adapter.name not in _PRODUCTS:
        return False
    return any(_zero(header, key) for role, key in layer.roles.items() if role not in _NO_FACTORS)


def _zero(header: Header, key: str) -> bool:
    if header.loaded is not None:
        return not bool(header.loaded[key].any())
    if header.path is None or header.container != "safetensors":
        return False
    info = header.tensors[key]
    with open(header.path, "rb", buffering=0) as file:
        file.seek(header.data_start + info.start)
        left = info.end - info.start
        while left > 0:
            part = file.read(min(_CHUNK, left))
            if not part or part.count(0) != len(part):
                return False
            left -= len(part)
    return True

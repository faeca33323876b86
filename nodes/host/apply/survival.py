"""What of a change arrives in quantised weights when it is merged, measured on the weights themselves.

ComfyUI adds a merged LoRA to the dequantised weight and quantises the sum again, most formats with stochastic rounding.
What is small against the steps of the format then arrives on average, but drowned in rounding noise.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.float
import comfy.lora
import comfy.model_management
import comfy.utils
import torch

from ...core.match.name_table import target_key
from ..comfyui.private import kept_weight
from ..comfyui.stored_as import stored_as
from ..match.roles import with_parts
from ..norms.patches import parameter, read_weight
from .plan import PlannedPatch
from .requantise import StoredRows, stored_rows

LAYERS = 4
"""So many layers are measured, spread over the model."""
SECONDS = 1.0
"""No further layer is begun after this."""
CPU_ELEMENTS = 1 << 24
"""Larger weights are measured on the GPU only (4096 x 4096: about half a second on one core)."""


_FORMATS: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()
"""Formats of the weights of the loaded models, by key."""


@dataclass(frozen=True)
class Survival:
    """How a change fares in one quantised weight."""

    kept: float
    """``<arrived, wanted> / |wanted|^2``: 1 where the change arrives in full."""
    noise: float
    """``|arrived - wanted| / |wanted|``: 0 where nothing was rounded."""


@dataclass(frozen=True)
class Requantisation:
    """What merging does to the quantised weights among those that a file changes."""

    formats: tuple[str, ...]
    """Their formats, as those of files are named: ``scaled fp8 e4m3``, ``int8 convrot``, ``nvfp4``, ..."""
    weights: int
    """Quantised weights that would be quantised again."""
    measured: dict[str, Survival]
    """By model key."""
    keys: tuple[str, ...] = ()
    """Those weights."""
    each_time: bool = False
    """They are patched anew whenever they are used (GGUF): nothing is rounded."""

    @property
    def kept(self) -> float | None:
        """Median share of the change that arrives; ``None`` where nothing was measured."""
        return statistics.median(s.kept for s in self.measured.values()) if self.measured else None

    @property
    def noise(self) -> float | None:
        """Median rounding noise as a share of the change."""
        return statistics.median(s.noise for s in self.measured.values()) if self.measured else None


def measure_requantisation(patches: Sequence[PlannedPatch], patcher: Any) -> Requantisation | None:
    """What merging ``patches`` would do to the quantised weights of ``patcher``; ``None`` if none is quantised.

    Nothing of the model is changed. What was measured for about the same strength is not measured again.
    """
    by_key: dict[str, list[PlannedPatch]] = {}
    for patch in patches:
        by_key.setdefault(target_key(patch.target), []).append(patch)
    known_formats = _FORMATS.setdefault(patcher.model, {})
    for key in by_key:
        if key not in known_formats:
            known_formats[key] = stored_as(_stored(patcher, key))
    formats = {key: known_formats[key] for key in by_key if known_formats[key]}
    if not formats:
        return None
    names = tuple(dict.fromkeys(formats.values()))
    if any(name.startswith("GGUF") for name in names):
        return Requantisation(names, len(formats), {}, tuple(formats), each_time=True)
    measured: dict[str, Survival] = {}
    begun = time.monotonic()
    for key in _sample(list(formats), patcher):
        identity = tuple((planned.patch, _bucket(planned.strength)) for planned in by_key[key])
        known = by_key[key][0].patch.found.survival
        if identity not in known:
            if measured and time.monotonic() - begun > SECONDS:
                break
            known[identity] = _measure(by_key[key], key, patcher)
        found = known[identity]
        if found is not None:
            measured[key] = found
    return Requantisation(names, len(formats), measured, tuple(formats))


def _bucket(strength: float) -> int:
    """Strengths within a factor of about 1.4 count as one."""
    return round(math.log2(abs(strength))) if strength else 0


def _stored(patcher: Any, key: str) -> Any:
    """The weight as it is stored, before any merge."""
    kept = kept_weight(patcher, key)
    return parameter(patcher, key) if kept is None else kept


def _sample(keys: list[str], patcher: Any) -> list[str]:
    """Some of the weights, spread evenly over the model, none too large for where they are measured."""
    small = [key for key in keys if _on_gpu(patcher) or _stored(patcher, key).numel() <= CPU_ELEMENTS] or keys[:1]
    step = max(1, len(small) // LAYERS)
    return small[step // 2 :: step][:LAYERS]


def _on_gpu(patcher: Any) -> bool:
    return not comfy.model_management.is_device_cpu(patcher.load_device)


def _measure(patches: list[PlannedPatch], key: str, patcher: Any) -> Survival | None:
    stored = _stored(patcher, key)
    if stored is None:
        return None
    try:
        return _compare(patches, key, patcher, stored)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        logging.info("LoRA Patchbay: quantising %s again could not be measured: %s", key, error)
        return None


def _compare(patches: list[PlannedPatch], key: str, patcher: Any, stored: Any) -> Survival | None:
    module = comfy.utils.get_attr(patcher.model, key.rpartition(".")[0])
    seed = comfy.utils.string_to_seed(key)
    setter = getattr(module, f"set_{key.rpartition('.')[2]}", None)
    offsets = [planned.patch.offset for planned in patches]
    at = min((offset[1] for offset in offsets if offset is not None and offset[0] == 0), default=0)
    rows = stored_rows(stored, at, seed, patcher.load_device, setter is not None)
    wanted = None if rows is None else _delta_of_rows(patches, key, rows)
    if rows is None or wanted is None:
        before = read_weight(patcher, key)
        if before is None:
            return None
        before = before.to(patcher.load_device).float()
        entries = [planned.patch.entry(planned.strength) for planned in patches]
        wanted = comfy.lora.calculate_weight(entries, before.clone(), key) - before
        if rows is None:
            rows = StoredRows(0, before, lambda x: _quantise_whole(x, setter, parameter(patcher, key).dtype, seed))
        wanted = wanted[rows.start : rows.start + len(rows.numbers)]
    size = float(wanted.norm())
    if size == 0:
        return None
    arrived = rows.store(rows.numbers + wanted).to(wanted.device).sub_(rows.numbers)
    kept = float((arrived * wanted).sum(dtype=torch.float64)) / size**2
    return Survival(kept, float(arrived.sub_(wanted).norm()) / size)


def _delta_of_rows(patches: list[PlannedPatch], key: str, rows: StoredRows) -> torch.Tensor | None:
    """What plain LoRAs add to the rows, without building the rest; ``None`` for everything else."""
    entries = []
    first, last = rows.start, rows.start + len(rows.numbers)
    for patch in patches:
        offset, parts = patch.patch.offset, patch.patch.parts
        if not parts.is_product or patch.patch.function is not None or (offset is not None and offset[0] != 0):
            return None
        up = parts.tensors["up"]
        begin = 0 if offset is None else offset[1]
        start, stop = max(first, begin), min(last, begin + up.shape[0])
        if start < stop:
            value = with_parts(patch.value, up=up.narrow(0, start - begin, stop - start), reshape=None)
            entries.append((patch.strength, value, 1.0, (0, start - first, stop - start), None))
    return comfy.lora.calculate_weight(entries, torch.zeros_like(rows.numbers), key)


def _quantise_whole(weight: torch.Tensor, setter: Any, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """``weight`` as ComfyUI would store it in a layer, as numbers again."""
    if setter is None:
        stored = comfy.float.stochastic_rounding(weight, dtype, seed=seed)
    else:
        stored = setter(weight, inplace_update=False, seed=seed, return_weight=True)
    if type(stored) is not torch.Tensor and hasattr(stored, "dequantize"):
        stored = stored.dequantize()
    return stored.float()

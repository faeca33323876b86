"""The factors of a LoRA on whole linear layers: taken from a file that lands, or new ones, and ready to be trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.utils
import torch
from torch import Tensor

from ...core.model.blocks import MODEL_PREFIX
from ..apply.lora_cache import LoadedLora
from ..apply.plan import MATCHES, PatchPlan, PlannedPatch, plan_patches
from ..bypass.terms import layer_kind

_MOST_RANK = 256
_NUMBER = re.compile(r"\.\d+(?=\.)")


@dataclass
class Factors:
    """``up @ down`` is added to the weight ``key``."""

    key: str
    """``diffusion_model....weight``."""
    up: Tensor
    """[out, rank], float32."""
    down: Tensor
    """[rank, in], float32."""

    @property
    def layer(self) -> str:
        """The path of the layer."""
        return self.key.removesuffix(".weight")


def plan_for(lora: LoadedLora, model: Any) -> PatchPlan:
    """What of the file lands in the model, at strength 1."""
    return plan_patches(lora, MATCHES.model_keys(model, None), 1.0, 0.0, "")


def factors_of(lora: LoadedLora, model: Any) -> dict[str, Factors]:
    """What of the file lands in linear layers of the model, as factors of whole layers.

    Parts of a fused layer become one pair of factors; other kinds of adapters become their best approximation.
    """
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for patch in plan_for(lora, model).patches:
        key = patch.patch.model_key
        weight = _weight(model, key)
        if patch.text_encoder or weight is None:
            continue
        parts.setdefault(key, []).append(_low_rank(patch, key, weight))
    return {
        key: Factors(key, torch.cat([up for up, _ in pairs], 1), torch.cat([down for _, down in pairs], 0))
        for key, pairs in parts.items()
    }


def _weight(model: Any, key: str) -> Any:
    """The weight of a linear layer; ``None`` for anything else."""
    if not key.startswith(MODEL_PREFIX) or not key.endswith(".weight"):
        return None
    try:
        module = comfy.utils.get_attr(model.model, key.removesuffix(".weight"))
    except AttributeError:
        return None
    return module.weight if layer_kind(module).kind == "linear" else None


def _low_rank(patch: PlannedPatch, key: str, weight: Any) -> tuple[Tensor, Tensor]:
    parts, offset = patch.patch.parts, patch.patch.offset
    rows, columns = weight.shape
    if parts.is_plain_lora and patch.patch.function is None and (offset is None or offset[0] == 0):
        up, down = (parts.tensors[role].detach().float().cpu().flatten(1) for role in ("up", "down"))
        scale = patch.strength * parts.scale
        size = abs(scale) ** 0.5
        up, down = up * (scale / size if size else 0.0), down * size
        if offset is not None:
            whole = torch.zeros(rows, up.shape[1])
            whole[offset[1] : offset[1] + offset[2]] = up
            up = whole
        return up, down
    stored = weight.dequantize() if hasattr(weight, "dequantize") else weight
    before = stored.detach().float().cpu().clone()
    after = comfy.lora.calculate_weight([patch.patch.entry(patch.strength)], before.clone(), key)
    u, s, v = torch.linalg.svd(after - before, full_matrices=False)
    rank = max(1, min(_MOST_RANK, int((s > 1e-4 * s[0]).sum()), rows, columns))
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]


def widened(factors: Factors, rank: int, generator: torch.Generator) -> Factors:
    """The same product with room for a higher rank: new rows of ``down`` are random, new columns of ``up`` zero."""
    missing = min(rank, *(factors.up.shape[0], factors.down.shape[1])) - factors.down.shape[0]
    if missing <= 0:
        return factors
    columns = factors.down.shape[1]
    down = torch.randn(missing, columns, generator=generator) * columns**-0.5
    up = torch.zeros(factors.up.shape[0], missing)
    return Factors(factors.key, torch.cat((factors.up, up), 1), torch.cat((factors.down, down), 0))


def new_factors(key: str, shape: Iterable[int], rank: int, generator: torch.Generator) -> Factors:
    """Factors whose product is zero."""
    rows, columns = shape
    rank = max(1, min(rank, rows, columns))
    return Factors(key, torch.zeros(rows, rank), torch.randn(rank, columns, generator=generator) * columns**-0.5)


def layer_kinds(keys: Iterable[str]) -> set[str]:
    """Layers without the numbers of their blocks: ``diffusion_model.double_blocks.img_mlp.0.weight``."""
    return {_NUMBER.sub("", key, count=1) for key in keys}


def layers_to_teach(model: Any, kinds: set[str], only: str) -> dict[str, tuple[int, int]]:
    """The linear layers of a model whose kind is one of ``kinds``, with their shapes.

    Args:
        only: Words, one of which has to be part of a layer's name; empty: every layer.
    """
    words = [word for word in re.split(r"[,\s]+", only) if word]
    found: dict[str, tuple[int, int]] = {}
    for key in model.model_state_dict():
        if not key.startswith(MODEL_PREFIX) or _NUMBER.sub("", key, count=1) not in kinds:
            continue
        if words and not any(word in key for word in words):
            continue
        weight = _weight(model, key)
        if weight is not None:
            found[key] = (int(weight.shape[0]), int(weight.shape[1]))
    return found


def start_factors(
    model: Any, landed: Mapping[str, Factors], kinds: set[str], rank: int, only: str, generator: torch.Generator
) -> list[Factors]:
    """What training starts from, layer by layer: what landed, widened to ``rank``, and zero everywhere else."""
    return [
        widened(landed[key], rank, generator) if key in landed else new_factors(key, shape, rank, generator)
        for key, shape in layers_to_teach(model, kinds, only).items()
    ]


def tensors_of(factors: Iterable[Factors], dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """As a LoRA file, in ComfyUI's own names: scale 1, no alpha."""
    found: dict[str, Tensor] = {}
    for one in factors:
        if bool(one.up.any()):
            found[f"{one.layer}.lora_A.weight"] = one.down.detach().to("cpu", dtype).contiguous()
            found[f"{one.layer}.lora_B.weight"] = one.up.detach().to("cpu", dtype).contiguous()
    return found

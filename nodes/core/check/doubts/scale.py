"""Scales that contradict the file's own metadata, or each other."""

from __future__ import annotations

import math
from collections import defaultdict

from ...lora.file import LoraFile, LoraLayer
from ...model.facts import is_text_encoder_name
from ...report.report import Doubt

_SPREAD, _SPREAD_OF_LORAS = 8, 16
"""How many times the scales of one file may differ where one alpha stands beside several ranks."""
_LEFT_OUT_RANK, _LEFT_OUT = 32, 4
"""From which rank, and from how many times too strong, an alpha that only the metadata speak of is a doubt."""


def whole_factors(file: LoraFile) -> Doubt | None:
    """LoKr with both factors whole, whose alpha is not the rank.

    LyCORIS (``modules/lokr.py``), musubi-tuner and OneTrainer write alpha = rank there, ai-toolkit a placeholder, and
    readers apply scale 1. A smaller alpha is that of a writer that scaled by alpha / rank.
    """
    dim = _dim(file)
    if dim is None or dim <= 1:
        return None
    odd = [x for x in file.layers if x.format == "lokr" and x.rank is None and _has_alpha(x) and 0 < _alpha(x) < dim]
    if not odd:
        return None
    alpha = _alpha(odd[0])
    return Doubt(
        "scale_whole_factors",
        f"alpha {alpha:g} at rank {dim:g} stands beside both whole factors of {len(odd)} LoKr layers, which every "
        f"reader applies at scale 1: its trainer may have meant {alpha / dim:.3g}; if the picture breaks, try that "
        "strength",
    )


def _dim(file: LoraFile) -> float | None:
    """The rank that the file was trained with, from its metadata or from its low-rank layers."""
    said = _number(file.header.metadata.get("ss_network_dim"))
    if said is not None:
        return said
    ranks = {x.rank for x in file.layers if x.format == "lokr" and x.rank is not None}
    return float(max(ranks)) if len(ranks) == 1 else None


def scale_spread(file: LoraFile) -> Doubt | None:
    """One alpha beside several ranks, so that the scale differs between layers of one file.

    sd-scripts trains so on purpose (``network_reg_dims``); trainers of LoKr that change ranks afterwards do not.
    Convolutions have an alpha and a rank of their own, and so may text encoders.
    """
    ranks: dict[tuple[str, float], set[int]] = defaultdict(set)
    for layer in file.layers:
        if layer.rank and _has_alpha(layer) and not layer.kernel and not is_text_encoder_name(layer.name):
            ranks[layer.format, _alpha(layer)].add(layer.rank)
    declared = _declared_ranks(file)
    by_lycoris = "lycoris" in file.header.metadata.get("ss_network_module", "")[:200].lower()
    for (kind, alpha), found in ranks.items():
        spread = max(found) / min(found)
        limit = _SPREAD if kind in ("lokr", "loha") or by_lycoris else _SPREAD_OF_LORAS
        if spread >= limit and not (kind not in ("lokr", "loha") and declared):
            return Doubt(
                "scale_spread",
                f"the scale differs {spread:g}-fold between its layers, because one alpha ({alpha:g}) stands beside "
                f"ranks {min(found)} to {max(found)}: the layers of rank {min(found)} may be too strong, or the "
                "others too weak",
            )
    return None


def _declared_ranks(file: LoraFile) -> bool:
    """Whether ranks by layer were asked for, in the manner of sd-scripts."""
    text = file.header.metadata.get("ss_network_args", "")[:100_000]
    module = file.header.metadata.get("ss_network_module", "")
    return "reg_dims" in text or "block_dims" in text or module.startswith("networks.")


def alpha_left_out(file: LoraFile) -> Doubt | None:
    """No alpha in the file, and metadata that speak of one far smaller than the rank."""
    alpha = _number(file.header.metadata.get("ss_network_alpha"))
    dim = _number(file.header.metadata.get("ss_network_dim"))
    if alpha is None or not dim or alpha <= 0 or dim < _LEFT_OUT_RANK or dim / alpha < _LEFT_OUT:
        return None
    bare = [x for x in file.layers if x.rank == dim and x.scale_source.startswith("no alpha")]
    if not bare or len(bare) * 2 < sum(1 for x in file.layers if x.rank):
        return None
    return Doubt(
        "no_alpha",
        f"it has no alpha, and its metadata say alpha {alpha:g} at rank {dim:g}: unless the scale was put into the "
        f"weights, it is {dim / alpha:.3g} times too strong; if the picture breaks, try strength {alpha / dim:.3g}",
    )


def _has_alpha(layer: LoraLayer) -> bool:
    return "alpha" in layer.roles and layer.alpha is not None and math.isfinite(layer.alpha)


def _alpha(layer: LoraLayer) -> float:
    return layer.alpha or 0.0


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text and len(text) < 40 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None

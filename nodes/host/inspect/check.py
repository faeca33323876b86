"""Does a LoRA fit the model in front of the user? Everything that applying does, but for the applying."""

from __future__ import annotations

from typing import Any

from ...core.check.report import Checked, CheckedModel, conclude
from ...core.check.verdict import find_stranger
from ..apply.layer_norms import measure_plan
from ..apply.lora_cache import LORA_CACHE
from ..apply.plan import MATCHES, plan_patches
from ..match.stock_fates import add_stock


def check_lora(path: str, name: str, model: Any, clip: Any) -> Checked:
    """Judge the LoRA at ``path`` for ``model`` and ``clip`` (which may be ``None``). Nothing is patched.

    Raises:
        HeaderError: the file is not a LoRA that can be read.
    """
    lora = LORA_CACHE.load(path, name)
    keys = MATCHES.model_keys(model, clip)
    plan = plan_patches(lora, keys, 1.0, 1.0, "")
    layers = measure_plan(plan, keys, model, clip)
    layers = add_stock(layers, lora.file, MATCHES.match(lora, keys, as_stock=True), keys)
    checked = CheckedModel(keys.summary, keys.architecture, keys.layout, keys.own_shapes)
    stranger = find_stranger(lora.file, keys.own_shapes, keys.architecture)
    return conclude(lora.file, name, checked, layers, stranger, None if clip is None else 1.0)

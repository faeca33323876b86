"""Refits a LoRA's own factors to another model from captured activations: no data set, rank kept, a new file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.errors import PatchbayError
from ..core.refit_factors import FactorSums, sample_rows
from ..core.shift_profile import ProbeId
from .activations import LayerTap, linear_of
from .folders import writable_lora_folder
from .lora_cache import LoadedLora
from .matching import has_dora_scale, is_adapter
from .patching import MATCHES, PatchPlan, PlannedPatch, apply_plan, plan_patches
from .probes import Probes, evaluate, outputs
from .run_costs import Costs

SAMPLE_BYTES = 1 << 30
"""Memory for the layer outputs that are kept of each model."""

_LEAST_ROWS, _MOST_ROWS = 16, 1024
_Captured = dict[tuple[str, ProbeId], Tensor]


@dataclass(frozen=True)
class Refitted:
    """The refit LoRA as patches, and as tensors of a file."""

    plan: PatchPlan
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    layers: int
    """Layers that were refitted."""
    left: int
    """Layers that stayed as they were: other formats, other shapes, or not a linear layer."""
    name: str
    saved_as: str = ""

    def patched(self, model: Any) -> Any:
        """A clone of ``model`` with the refit LoRA."""
        return apply_plan(self.plan, model, None, f"{self.name} (refit)")[0]

    def outputs(self, model: Any, probes: Probes, step_done: Callable[[], None]) -> dict[ProbeId, Tensor]:
        """What the model returns with it."""
        return outputs(self.patched(model), probes, step_done)

    def save(self, file_name: str) -> str:
        """Write it to the loras folder, through a temporary file; an existing file is never replaced.

        Returns:
            The file as LoRA lists name it.
        """
        root = Path(writable_lora_folder()).resolve()
        stem = file_name.strip().removesuffix(".safetensors")
        path = (root / f"{stem}.safetensors").resolve()
        if not stem or root not in path.parents:
            raise PatchbayError(
                f'refit_name: "{file_name}" is no name inside the loras folder, for example my-lora-refit.'
            )
        number = 2
        while path.exists():
            path = (root / f"{stem}-{number}.safetensors").resolve()
            number += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            save_file({key: tensor.contiguous() for key, tensor in self.tensors.items()}, temporary, self.metadata)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return str(path.relative_to(root))


def refit_lora(model: Any, reference: Any, lora: LoadedLora, probes: Probes, costs: Costs) -> Refitted:
    """Refit ``lora`` so that each layer's output on ``model`` gains what it gained on ``reference``.

    Block after block, each with the earlier ones already refitted. Only plain LoRAs on whole linear layers (or slices
    of their rows) take part.
    """
    keys = MATCHES.model_keys(model, None)
    plan = plan_patches(lora, keys, 1.0, 0.0, "")
    there = plan_patches(lora, MATCHES.model_keys(reference, None), 1.0, 0.0, "")
    fit = [patch for patch in plan.patches if _can_refit(patch, model, reference)]
    names = list(dict.fromkeys(_key(patch) for patch in fit))
    rows = _rows_for(model, names, len(probes))
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(keys.layout.place(name).address, []).append(name)
    costs.add((3 + len(blocks)) * len(probes))
    patched_reference = apply_plan(there, reference, None, lora.name)[0]
    wanted = _capture(patched_reference, probes, names, rows, costs)
    for place, value in _capture(reference, probes, names, rows, costs).items():
        wanted[place] -= value
    for place, value in _capture(model, probes, names, rows, costs).items():
        wanted[place] += value  # the output that each layer should have
    for block in [str(block) for block in keys.layout.blocks if str(block) in blocks]:
        plan = _refit_block(plan, model, probes, blocks[block], rows, wanted, costs)
    return _collect(plan, lora, {id(patch.value) for patch in fit})


def _key(patch: PlannedPatch) -> str:
    return patch.target if isinstance(patch.target, str) else patch.target[0]


def _rows_of_target(patch: PlannedPatch) -> tuple[int, int] | None:
    """(start, length) of the rows that a patch is for; ``None`` for all of them."""
    offset = None if isinstance(patch.target, str) else patch.target[1]
    return None if offset is None else (offset[1], offset[2])


def _can_refit(patch: PlannedPatch, model: Any, reference: Any) -> bool:
    value, target = patch.value, patch.target
    if not is_adapter(value) or value.name != "lora" or has_dora_scale(value):
        return False
    if any(part is not None for part in value.weights[3:6]):
        return False
    offset = None if isinstance(target, str) else target[1]
    if offset is not None and offset[0] != 0:
        return False
    layers = [linear_of(one, _key(patch)) for one in (model, reference)]
    return all(layer is not None for layer in layers) and layers[0].weight.shape == layers[1].weight.shape


def _rows_for(model: Any, names: Sequence[str], probes: int) -> int:
    width = sum(linear_of(model, name).weight.shape[0] for name in names)
    return min(max(SAMPLE_BYTES // max(1, 4 * width * probes), _LEAST_ROWS), _MOST_ROWS)


def _capture(model: Any, probes: Probes, names: Sequence[str], rows: int, costs: Costs) -> _Captured:
    """Sampled outputs of layers for every probe, float32 on the CPU."""
    found: _Captured = {}

    def tap(probe: ProbeId) -> AbstractContextManager[Any]:
        def visit(name: str, inputs: Tensor, output: Tensor) -> None:
            found[name, probe] = _sampled(output, rows)

        return LayerTap(model, names, visit)

    evaluate(model, probes, lambda *_: None, tap, costs.step)
    return found


def _sampled(values: Tensor, rows: int) -> Tensor:
    picked = sample_rows(values.shape[0], rows).to(values.device)
    return values.detach()[picked].float().cpu()


def _refit_block(
    plan: PatchPlan,
    model: Any,
    probes: Probes,
    names: Sequence[str],
    rows: int,
    wanted: _Captured,
    costs: Costs,
) -> PatchPlan:
    """The plan with the factors of one block refitted."""
    chosen = {id(p): p for p in plan.patches if _key(p) in names and _can_refit(p, model, model)}
    sums = {number: FactorSums() for number in chosen}

    def tap(probe: ProbeId) -> AbstractContextManager[Any]:
        def visit(name: str, inputs: Tensor, output: Tensor) -> None:
            missing = wanted[name, probe] - _sampled(output, rows)
            x = _sampled(inputs, rows)
            for number, patch in chosen.items():
                if _key(patch) == name:
                    part = _rows_of_target(patch)
                    rest = missing if part is None else missing[:, part[0] : part[0] + part[1]]
                    sums[number].add(patch.value.weights[1].detach().float().cpu(), x, rest)

        return LayerTap(model, names, visit)

    evaluate(apply_plan(plan, model, None, "refit")[0], probes, lambda *_: None, tap, costs.step)
    patches = tuple(_stepped(patch, sums[id(patch)]) if id(patch) in sums else patch for patch in plan.patches)
    return replace(plan, patches=patches)


def _stepped(patch: PlannedPatch, sums: FactorSums) -> PlannedPatch:
    value = patch.value
    up, down, alpha = value.weights[:3]
    scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
    if not sums.gram.numel():
        return patch
    new = (up.detach().double().cpu() + sums.step(scale)).to(torch.float32)
    return replace(patch, value=type(value)(value.loaded_keys, (new, *value.weights[1:])))


def _collect(plan: PatchPlan, lora: LoadedLora, fitted: set[int]) -> Refitted:
    """The file's tensors with the new factors in the place of the old ones."""
    tensors = dict(lora.tensors)
    old = {str(match.target): match.value for match in plan.matched.patches}
    done = 0
    for patch in plan.patches:
        before = old.get(str(patch.target))
        if before is None or id(before) not in fitted:
            continue
        up = before.weights[0]
        name = next((key for key, tensor in lora.tensors.items() if _is_same(tensor, up)), None)
        if name is not None:
            tensors[name] = patch.value.weights[0].reshape(up.shape).to(up.dtype)
            done += 1
    metadata = {str(key): str(value) for key, value in lora.header.metadata.items()}
    metadata["patchbay.refit_of"] = lora.name
    return Refitted(plan, tensors, metadata, done, len(plan.patches) - done, lora.name)


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    return tensor.data_ptr() == other.data_ptr() and tensor.numel() == other.numel()

"""Refits a LoRA's own factors to another model from captured activations: no data set, rank kept, a new file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ...core.errors import PatchbayError
from ...core.transfer.profile import ProbeId
from ...core.transfer.refit_factors import FactorSums, sample_rows
from ..apply.lora_cache import LoadedLora
from ..apply.plan import MATCHES, PatchPlan, PlannedPatch, apply_plan, plan_patches
from ..comfyui.folders import writable_lora_folder
from ..match.roles import with_parts
from ..measure.run_costs import Costs
from .activations import LayerTap, linear_of
from .probes import Probes, evaluate, outputs

SAMPLE_BYTES = 1 << 30
"""Memory for the layer outputs that are kept of each model."""

_HASHES = frozenset({"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"})
"""Metadata that is untrue of a file with other numbers."""

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


def refit_passes(model: Any, reference: Any, lora: LoadedLora) -> int:
    """How often :func:`refit_lora` evaluates every probe."""
    plan = plan_patches(lora, MATCHES.model_keys(model, None), 1.0, 0.0, "")
    return 3 + len(_by_block(model, _refittable(plan, model, reference, lora)))


def refit_lora(model: Any, reference: Any, lora: LoadedLora, probes: Probes, costs: Costs) -> Refitted:
    """Refit ``lora`` so that each layer's output on ``model`` gains what it gained on ``reference``.

    Block after block, each with the earlier ones already refitted. Only plain LoRAs on whole linear layers of blocks
    (or slices of their rows) take part, and of them those whose factor stands in the file as it is used: what could not
    be saved is not refitted.
    """
    plan = plan_patches(lora, MATCHES.model_keys(model, None), 1.0, 0.0, "")
    there = plan_patches(lora, MATCHES.model_keys(reference, None), 1.0, 0.0, "")
    blocks = _by_block(model, _refittable(plan, model, reference, lora))
    names = [name for block in blocks.values() for name in dict.fromkeys(_key(patch) for patch in block)]
    rows = _rows_for(model, names, len(probes))
    patched_reference = apply_plan(there, reference, None, lora.name)[0]
    wanted = _capture(patched_reference, probes, names, rows, costs)
    for place, value in _capture(reference, probes, names, rows, costs).items():
        wanted[place] -= value
    for place, value in _capture(model, probes, names, rows, costs).items():
        wanted[place] += value  # the output that each layer should have
    for patches in blocks.values():
        plan = _refit_block(plan, model, probes, patches, rows, wanted, costs)
    return _collect(plan, lora, [patch for block in blocks.values() for patch in block])


def _refittable(plan: PatchPlan, model: Any, reference: Any, lora: LoadedLora) -> list[PlannedPatch]:
    return [
        patch
        for patch in plan.patches
        if _can_refit(patch, model, reference) and _name_in_file(lora, _up(patch)) is not None
    ]


def _by_block(model: Any, patches: Sequence[PlannedPatch]) -> dict[str, list[PlannedPatch]]:
    """The patches of each block, in the model's order; without those of no block."""
    layout = MATCHES.model_keys(model, None).layout
    found: dict[str, list[PlannedPatch]] = {str(block): [] for block in layout.blocks}
    for patch in patches:
        found.get(layout.place(_key(patch)).address, []).append(patch)
    return {name: members for name, members in found.items() if members}


def _key(patch: PlannedPatch) -> str:
    return patch.patch.model_key


def _up(patch: PlannedPatch) -> Tensor:
    return patch.patch.parts.tensors["up"]


def _rows_of_target(patch: PlannedPatch) -> tuple[int, int] | None:
    """(start, length) of the rows that a patch is for; ``None`` for all of them."""
    offset = patch.patch.offset
    return None if offset is None else (offset[1], offset[2])


def _can_refit(patch: PlannedPatch, model: Any, reference: Any) -> bool:
    offset = patch.patch.offset
    if not patch.patch.parts.is_plain_lora:
        return False
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
    patches: Sequence[PlannedPatch],
    rows: int,
    wanted: _Captured,
    costs: Costs,
) -> PatchPlan:
    """The plan with the factors of one block refitted."""
    by_layer: dict[str, list[PlannedPatch]] = {}
    for patch in patches:
        by_layer.setdefault(_key(patch), []).append(patch)
    sums = {patch.patch: FactorSums() for patch in patches}

    def tap(probe: ProbeId) -> AbstractContextManager[Any]:
        def visit(name: str, inputs: Tensor, output: Tensor) -> None:
            missing = wanted[name, probe] - _sampled(output, rows)
            x = _sampled(inputs, rows)
            for patch in by_layer[name]:
                part = _rows_of_target(patch)
                rest = missing if part is None else missing[:, part[0] : part[0] + part[1]]
                sums[patch.patch].add(patch.patch.parts.tensors["down"].detach().float().cpu(), x, rest)

        return LayerTap(model, list(by_layer), visit)

    evaluate(apply_plan(plan, model, None, "refit")[0], probes, lambda *_: None, tap, costs.step)
    return replace(
        plan, patches=tuple(_stepped(p, sums[p.patch]) if p.patch in sums else p for p in plan.patches)
    )


def _stepped(patch: PlannedPatch, sums: FactorSums) -> PlannedPatch:
    up, scale = _up(patch), patch.patch.parts.scale
    if not sums.gram.numel():
        return patch
    new = (up.detach().double().cpu() + sums.step(scale).reshape(up.shape)).to(up.dtype)  # as the file will have it
    return replace(patch, patch=replace(patch.patch, value=with_parts(patch.value, up=new)))


def _collect(plan: PatchPlan, lora: LoadedLora, refitted: Sequence[PlannedPatch]) -> Refitted:
    """The file's tensors with the new factors in the place of the old ones."""
    tensors = dict(lora.tensors)
    new = {str(patch.target): patch.patch.parts.tensors.get("up") for patch in plan.patches}
    for patch in refitted:
        name, factor = _name_in_file(lora, _up(patch)), new[str(patch.target)]
        if name is not None and factor is not None:
            tensors[name] = factor
    metadata = {str(key): str(value) for key, value in lora.header.metadata.items() if key not in _HASHES}
    metadata["patchbay.refit_of"] = lora.name
    return Refitted(plan, tensors, metadata, len(refitted), len(plan.patches) - len(refitted), lora.name)


def _name_in_file(lora: LoadedLora, factor: Tensor) -> str | None:
    """The file's name of a factor; ``None`` where it was made of several tensors, or of a part of one."""
    return next((name for name, tensor in lora.tensors.items() if _is_same(tensor, factor)), None)


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    return tensor.data_ptr() == other.data_ptr() and tensor.shape == other.shape and tensor.dtype == other.dtype

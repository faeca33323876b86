"""What LoRA files mean, written down a second time: plain float64 formulas and diffusers' own key converter.

The tests compare the pack with this where a writer's own code is not on PyPI (OneTrainer, ai-toolkit, musubi-tuner,
XLabs, fal). Nothing here is shared with the pack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch

_PREFIXES = (
    "lora_unet_", "lora_transformer_", "lycoris_", "base_model_model_", "diffusion_model_", "transformer_",
)  # fmt: skip
Deltas = dict[str, torch.Tensor]
Part = tuple[str, int, int, bool]
"""Model key, which of how many equal parts of its rows, and whether its halves are swapped."""

_SUFFIX = re.compile(
    r"^(?P<layer>.+?)\.(?P<role>lora_(?:A|B|down|up)\.weight|lora\.(?:down|up)\.weight|alpha|dora_scale|magnitude"
    r"|lora_magnitude_vector(?:\.weight)?|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|oft_R\.weight|boft_[Rs]|diff|on_input|weight)$"
)
_ROLES = {
    "lora_A.weight": "down", "lora_down.weight": "down", "lora.down.weight": "down",
    "lora_B.weight": "up", "lora_up.weight": "up", "lora.up.weight": "up",
    "magnitude": "rows", "lora_magnitude_vector": "rows", "lora_magnitude_vector.weight": "rows",
}  # fmt: skip


def diffusers_parts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Part]:
    """Layer names of diffusers (and the model's own) to the place in the model, by diffusers' own converter."""
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers as convert

    parts: dict[str, Part] = {}
    for key, shape in shapes.items():
        native = key.removeprefix("diffusion_model.")
        names = list(convert({native: torch.zeros(shape)})) if len(shape) == 2 else []
        for index, name in enumerate(names):
            parts[name.removesuffix(".weight")] = (key, index, len(names), "adaLN" in key)
        parts[native.removesuffix(".weight")] = (key, 0, 1, False)
    return parts


def find_part(name: str, parts: Mapping[str, Part]) -> Part | None:
    """The place of a layer name in any of the spellings: the longest known name that it ends with."""
    plain = {re.sub(r"\W", "_", known): part for known, part in parts.items()}
    for prefix in (
        "lora_unet_",
        "lora_transformer_",
        "lycoris_",
        "base_model_model_",
        "diffusion_model_",
        "transformer_",
    ):
        joined = re.sub(r"\W", "_", name)
        if joined.startswith(prefix) and joined[len(prefix) :] in plain:
            return plain[joined[len(prefix) :]]
    return plain.get(joined)


def reference_deltas(
    tensors: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], scale: float | None = None
) -> Deltas:
    """What the tensors of a file add to the model, by the formulas of their formats.

    Args:
        scale: For products without an alpha tensor.
    """
    parts = diffusers_parts({key: tuple(weight.shape) for key, weight in weights.items()})
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _SUFFIX.match(key)
        if match:
            groups.setdefault(match["layer"], {})[_ROLES.get(match["role"], match["role"])] = tensor.double()
    deltas: Deltas = {}
    for name, group in groups.items():
        part = find_part(name, parts)
        if part is None:
            raise KeyError(name)
        key, index, count, swap = part
        whole = weights[key].double()
        rows = whole.shape[0] // count
        weight = whole[index * rows : (index + 1) * rows]
        weight = _swap(weight) if swap else weight
        delta = _layer(group, weight, scale)
        deltas.setdefault(key, torch.zeros_like(whole))[index * rows : (index + 1) * rows] += (
            _swap(delta) if swap else delta
        )
    return deltas


def _layer(group: Mapping[str, torch.Tensor], weight: torch.Tensor, scale: float | None) -> torch.Tensor:
    if "oft_R.weight" in group:
        return weight @ _rotation(group["oft_R.weight"], weight.shape[1]).T - weight
    if "boft_R" in group:
        return (_butterfly(group["boft_R"]) @ weight.T).T * group["boft_s"].reshape(-1, 1) - weight
    if "on_input" in group:
        factor = group["weight"]
        return weight * (factor[None, :] if group["on_input"].any() else factor[:, None])
    if "diff" in group:
        return group["diff"]
    delta, rank = _product(group)
    if "alpha" in group and rank:
        scale = float(group["alpha"]) / rank
    delta = delta.reshape(weight.shape) * (1.0 if scale is None else scale)
    if "rows" in group:
        merged = weight + delta
        return merged * (group["rows"].reshape(-1) / merged.norm(dim=1)).unsqueeze(1) - weight
    if "dora_scale" in group:
        merged, magnitude = weight + delta, group["dora_scale"]
        norm = merged.norm(dim=0, keepdim=True) if magnitude.shape[0] == 1 else merged.norm(dim=1, keepdim=True)
        return merged * (magnitude / norm) - weight
    return delta


def _product(group: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, int | None]:
    if "down" in group:
        return group["up"] @ group["down"], group["down"].shape[0]
    if "hada_w1_a" in group:
        first, second = (group[f"hada_w{n}_a"] @ group[f"hada_w{n}_b"] for n in (1, 2))
        return first * second, group["hada_w1_b"].shape[0]
    factors, rank = [], None
    for number in (1, 2):
        if f"lokr_w{number}" in group:
            factors.append(group[f"lokr_w{number}"])
        else:
            rank = group[f"lokr_w{number}_b"].shape[0]
            factors.append(group[f"lokr_w{number}_a"] @ group[f"lokr_w{number}_b"])
    return torch.from_numpy(np.kron(factors[0].numpy(), factors[1].numpy())), rank


def _rotation(packed: torch.Tensor, width: int) -> torch.Tensor:
    size = round((1 + (1 + 8 * packed.shape[1]) ** 0.5) / 2)
    blocks = []
    for index in range(width // size):
        values = iter(packed[index % packed.shape[0]].tolist())
        skew = np.zeros((size, size))
        for row in range(size):
            for column in range(row + 1, size):
                skew[row, column] = next(values)
        skew -= skew.T
        power = np.linalg.matrix_power
        series = np.eye(size) + 2 * skew + 2 * power(skew, 2) + 2 * power(skew, 3) + power(skew, 4)
        blocks.append(torch.from_numpy(series))
    return torch.block_diag(*blocks)


def _butterfly(packed: torch.Tensor) -> torch.Tensor:
    """PEFT's BOFT of one stage: Cayley transforms of the blocks' skew parts along the diagonal."""
    if packed.shape[0] != 1:
        raise ValueError("more than one stage")
    skew = (packed[0] - packed[0].transpose(1, 2)) / 2
    eye = torch.eye(skew.shape[-1], dtype=skew.dtype)
    return torch.block_diag(*((eye - block) @ torch.linalg.inv(eye + block) for block in skew))


def _swap(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat(tensor.chunk(2)[::-1])


def relative_error(found: Mapping[str, torch.Tensor], truth: Mapping[str, torch.Tensor]) -> float:
    """Frobenius norm of the difference over that of the truth, over all weights together."""
    wrong = total = 0.0
    for key in {*found, *truth}:
        one = truth[key].double() if key in truth else torch.zeros_like(found[key]).double()
        other = found[key].double() if key in found else torch.zeros_like(one)
        wrong += float((one - other).square().sum())
        total += float(one.square().sum())
    return (wrong / total) ** 0.5 if total else float("inf") if wrong else 0.0

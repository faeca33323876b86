"""A LoRA out of the difference of two models, weight by weight from their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bake.dtypes import cast_checked
from ..bake.file import PREFIX
from ..bake.layer import BakeLayer
from ..bake.plan import part_strengths
from ..bake.resize import Resizing, dense_error, reduce_dense
from ..bake.scaled import by_parts
from ..check.model_file import ModelFile
from ..check.model_weights import ModelWeights
from ..errors import IncompatibleModelError, PatchbayError
from ..files.writer import TensorWriter, metadata_size
from ..strengths.text import StrengthTable, parse_block_strengths

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHT = ".weight"


@dataclass(frozen=True)
class ExtractedLayer:
    """One weight that differs."""

    name: str
    rank: int | None
    """``None``: written as a whole difference (a bias, a norm)."""
    error: float
    """``|written - D| / |D|``."""
    norm: float


@dataclass(frozen=True)
class Extracted:
    """What was written."""

    path: Path
    size_bytes: int
    layers: tuple[ExtractedLayer, ...]
    left_out: tuple[str, ...]

    @property
    def error(self) -> float:
        """Over all layers together."""
        total = sum(layer.norm**2 for layer in self.layers)
        return (sum((layer.error * layer.norm) ** 2 for layer in self.layers) / total) ** 0.5 if total else 0.0


def extract_lora(
    path: Path, tuned: ModelWeights, base: ModelWeights, model: ModelFile, wanted: Resizing, blocks: str = "",
    dtype: str = "bfloat16", names: tuple[str, str] = ("", ""),
) -> Extracted:  # fmt: skip
    """Write the difference ``tuned - base`` as a LoRA under ComfyUI's own names.

    Args:
        model: The base as something with blocks.
        blocks: Strength by block; what is 0 is left out.
        names: File names of the two, for the metadata.

    Raises:
        PatchbayError: no rank and no energy below 1 is given, the models differ in shape, or nothing differs.
        OSError: a file cannot be read or written.
    """
    if wanted.keeps_all:
        raise PatchbayError("give a rank, or an energy below 1: a difference of whole weights has no rank of its own.")
    shared = [key for key in base.shapes if key in tuned.shapes]
    if not shared:
        raise IncompatibleModelError("the two models have no weight of the same name that is stored whole in both.")
    wrong = [key for key in shared if base.shapes[key] != tuned.shapes[key]]
    if wrong:
        raise IncompatibleModelError(
            f"{wrong[0]} has the shape {list(tuned.shapes[wrong[0]])} in the one model and "
            f"{list(base.shapes[wrong[0]])} in the other; a LoRA needs two models of one shape."
        )
    table = StrengthTable(parse_block_strengths(blocks), model.checked.layout)
    metadata = {
        f"{PREFIX}extracted_from": names[0], f"{PREFIX}extracted_base": names[1], f"{PREFIX}rank": str(wanted.rank),
        f"{PREFIX}energy": repr(wanted.energy), f"{PREFIX}blocks": blocks.strip(),
    }  # fmt: skip
    layers: list[ExtractedLayer] = []
    left_out = [f"{key}: only in one of the models" for key in sorted(set(base.shapes) ^ set(tuned.shapes))]
    with TensorWriter(path, _keys(shared), metadata_size(metadata)) as writer:
        for key in shared:
            if key not in model.places:  # ComfyUI calls it otherwise, so that no loader would find it
                if not tuned.same_bytes(base, key):
                    left_out.append(f"{key}: differs, and ComfyUI has no such name")
                continue
            layer, tensors = _layer(key, tuned, base, model, table, wanted, dtype)
            if layer is None:
                continue
            layers.append(layer)
            for name, tensor in tensors.items():
                writer.add(name, tensor)
        if not layers:
            raise PatchbayError("the two models are the same in every weight that was asked for; nothing was written.")
        size = writer.finish(metadata)
    return Extracted(writer.path, size, tuple(layers), tuple(left_out))


def _keys(shared: list[str]) -> Iterator[str]:
    for key in shared:
        name = key.removesuffix(_WEIGHT).removesuffix(".bias")
        for end in (".lora_up.weight", ".lora_down.weight", ".alpha", ".diff", ".diff_b"):
            yield name + end


def _layer(
    key: str, tuned: ModelWeights, base: ModelWeights, model: ModelFile, table: StrengthTable, wanted: Resizing,
    dtype: str,
) -> tuple[ExtractedLayer | None, dict[str, Tensor]]:  # fmt: skip
    import torch

    shape = base.shapes[key]
    strength, shares = part_strengths(table, model.places[key], shape, None, 1.0)
    if not any(share[3] for share in shares) and not strength:
        return None, {}
    if tuned.same_bytes(base, key):
        return None, {}
    new, old = tuned.read(key), base.read(key)
    assert new is not None
    assert old is not None
    holder = BakeLayer(key, "diff", {}, shape, strength, shares)
    delta = by_parts(new.float() - old.float(), holder)
    del new, old  # a weight's change is decomposed in float64: what is done with it goes
    norm = float(torch.linalg.vector_norm(delta.double()))
    if norm == 0.0:
        return None, {}
    kind = getattr(torch, dtype)
    name = key.removesuffix(_WEIGHT)
    if len(shape) < 2 or not key.endswith(_WEIGHT):
        end = ".diff_b" if key.endswith(".bias") else ".diff"
        stored = cast_checked(delta, kind, key)
        error = float(torch.linalg.vector_norm(stored.double() - delta.double())) / norm
        return ExtractedLayer(name, None, error, norm), {name.removesuffix(".bias") + end: stored}
    flat = delta.flatten(1)
    low = reduce_dense(flat, wanted)
    up, down = cast_checked(low.up, kind, key), cast_checked(low.down, kind, key)
    tensors = {
        f"{name}.lora_up.weight": up.reshape(*up.shape, *[1] * (len(shape) - 2)).contiguous(),
        f"{name}.lora_down.weight": down.reshape(low.rank, *shape[1:]).contiguous(),
        f"{name}.alpha": torch.tensor(float(low.rank)),
    }
    return ExtractedLayer(name, low.rank, dense_error(flat, up, down), norm), tensors

"""Whether a LoRA file and a model file are made for one architecture, from their headers alone.

It is a hint for choosing a file. Which layers land is decided by the loaded model: Check LoRA (Patchbay).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..files.header import read_header
from ..files.storage import StoredShapes, is_storage_key
from ..files.tensors import Header
from ..lora.file import read_lora
from ..lora.file_kinds import looks_like_lora, made_for
from ..model.facts import strip_prefix
from .verdict import find_stranger, identify_weights

CHECKPOINT_PREFIX = "model.diffusion_model."


@dataclass(frozen=True)
class FileFit:
    """A verdict on two files."""

    verdict: str
    """``same``, ``other architecture``, ``other size`` or ``not known``."""
    lora: str
    """What the LoRA is made for; empty where that is not known."""
    model: str
    """What the model is; empty where that is not known."""
    reason: str
    """One sentence."""


def file_fit(lora_path: Path, model_path: Path) -> FileFit:
    """Compare two files.

    Raises:
        HeaderError: a file is no model, is cut off or contradicts itself.
        OSError: a file cannot be opened.
    """
    lora_header, model_header = read_header(lora_path), read_header(model_path)
    if not looks_like_lora(lora_header):
        return FileFit("not known", "", "", f"{lora_header.name} is not a LoRA.")
    lora = read_lora(lora_header)
    shapes = _model_shapes(model_header)
    _, own = made_for(lora)
    model = identify_weights(shapes)
    lora_name, model_name = (match.name if match.id else "" for match in (own, model))
    stranger = find_stranger(lora, shapes, model)
    if stranger is not None:
        verdict = "other size" if stranger.other_size else "other architecture"
        return FileFit(verdict, lora_name, model_name, stranger.warning)
    if not own.id or not model.id:
        what = "The LoRA's" if not own.id else "The model's"
        return FileFit("not known", lora_name, model_name, f"{what} architecture is not recognised from its header.")
    return FileFit("same", lora_name, model_name, f"The file is made for {lora_name}, and so is the model.")


def _model_shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """Shapes of the diffusion model's weights, of a checkpoint without its other parts."""
    tensors = header.tensors
    if any(key.startswith(CHECKPOINT_PREFIX) for key in tensors):
        tensors = {key: entry for key, entry in tensors.items() if key.startswith(CHECKPOINT_PREFIX)}
    stored = StoredShapes(header)
    return {strip_prefix(key): stored.of(entry) for key, entry in tensors.items() if not is_storage_key(key)}

"""A model file as something that LoRAs can be checked against: the weights that it will have when loaded.

From its header alone, for safetensors and GGUF alike; no tensor is read.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import IncompatibleModelError
from ..files.elsewhere.source import Source
from ..files.header import read_header
from ..files.storage import StoredShapes, is_storage_key, read_quantisation
from ..files.tensors import Header, TensorInfo
from ..lora.file_kinds import identify_model, looks_like_lora
from ..match.diffusers_names import own_names
from ..match.model_names import ModelNames
from ..model.blocks import MODEL_PREFIX, BlockLayout, Place
from ..model.identify import ArchitectureMatch
from ..report.report import BlockGroup, ModelSummary
from .report import CheckedModel
from .verdict import identify_weights

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.model.", "net.")
_ENOUGH = 5
"""Keys with a prefix that make it the prefix of the model (ComfyUI's rule)."""
_NO_MODEL = frozenset(
    {
        "vae", "taesd", "text_encoder", "embedding", "ip_adapter", "t2i_adapter", "clip_vision", "upscaler",
        "conditioning",
    }  # fmt: skip
)


class ModelFile(NamedTuple):
    """The diffusion model of a file."""

    name: str
    checked: CheckedModel
    shapes: dict[str, tuple[int, ...]]
    """By ComfyUI's full key, ``diffusion_model.`` before it."""
    names: ModelNames
    places: dict[str, Place]
    """Where each weight lies, by its full key."""


def read_model_file(path: str | os.PathLike[str] | Source) -> ModelFile:
    """The model in the file at ``path``.

    Raises:
        HeaderError: the file is no model file, is cut off or contradicts itself.
        IncompatibleModelError: it holds no diffusion model.
        OSError: the file cannot be opened.
    """
    return model_of_header(read_header(path))


def model_of_header(header: Header) -> ModelFile:
    """The same for a file whose header is already read.

    Raises:
        IncompatibleModelError: it holds no diffusion model.
    """
    if looks_like_lora(header):
        raise IncompatibleModelError(
            f"{header.name}: is a LoRA; --model needs the file of a diffusion model or a checkpoint."
        )
    identified = identify_model(header)
    if identified.kind in _NO_MODEL:
        raise IncompatibleModelError(
            f"{header.name}: holds no diffusion model ({identified.kind_name}); --model needs one, or a checkpoint."
        )
    stored, match = _stored(header)
    own = own_names(stored, match.id)
    layout = BlockLayout(own)
    quantisation = read_quantisation(header)
    summary = ModelSummary(
        architecture=match.name if match.id else identified.kind_name,
        model_class="",
        blocks=tuple(BlockGroup(kind, 0, count) for kind, count in layout.kinds.items()),
        weight_count=len(own),
        parameter_count=quantisation.parameters,
        dtype=str(quantisation),
        hidden_size=match.hidden_size,
        evidence=match.evidence,
    )
    return model_of_weights(header.name, CheckedModel(summary, match, layout, own))


def model_of_weights(name: str, checked: CheckedModel) -> ModelFile:
    """The same for weights whose shapes are known, wherever from.

    Args:
        name: Of the file, or what the model is called.
    """
    shapes = {f"{MODEL_PREFIX}{key}": shape for key, shape in checked.shapes.items()}
    places = {key: checked.layout.place(key) for key in shapes}
    return ModelFile(name, checked, shapes, ModelNames(shapes, checked.match.id), places)


def model_tensors(header: Header) -> tuple[dict[str, TensorInfo], str]:
    """The weights of the diffusion model by their names in the file, without prefix, and the id of its architecture."""
    _, match = _stored(header)
    return {key: info for key, info in _own(header).items() if not is_storage_key(key)}, match.id


def _stored(header: Header) -> tuple[dict[str, tuple[int, ...]], ArchitectureMatch]:
    infos = _own(header)
    shapes = StoredShapes(header)
    stored = {key: shapes.of(info) for key, info in infos.items() if not is_storage_key(key)}
    return stored, identify_weights(stored)


def _own(header: Header) -> dict[str, TensorInfo]:
    """The tensors of the diffusion model by their names in it."""
    for prefix in _PREFIXES:
        own = {key.removeprefix(prefix): info for key, info in header.tensors.items() if key.startswith(prefix)}
        if len(own) > _ENOUGH:
            return own
    own = {key.removeprefix("model."): info for key, info in header.tensors.items() if key.startswith("model.")}
    return own or dict(header.tensors)

"""The LoRAs of a stack as files, and the loaded model as something that files can be matched with."""

from __future__ import annotations

from typing import Any

import folder_paths

from ...core.bake.merge_plan import MergeModel
from ...core.files.header import Header
from ...core.match.model_names import ModelNames
from ...core.model.blocks import MODEL_PREFIX
from ...core.strengths.stack import StackEntry, find_name
from ..apply.lora_cache import LORA_CACHE
from ..comfyui.lora_input import lora_file
from ..comfyui.model_keys import ModelKeys
from ..norms.patches import read_weight


def entry_file(entry: StackEntry) -> tuple[str, Header]:
    """Path and header of the file that an entry names.

    Raises:
        LoraStackError: no file has this name, or several do.
        HeaderError: it is not a LoRA that can be read.
    """
    name = find_name(entry[0], folder_paths.get_filename_list("loras"))
    path = lora_file(name)
    return path, LORA_CACHE.load(path, name).header


def merge_model(keys: ModelKeys, model: Any) -> MergeModel:
    """The loaded model by its own names, with its weights as they are before any patch."""
    shapes = {f"{MODEL_PREFIX}{key}": shape for key, shape in keys.own_shapes.items()}
    name = keys.summary.architecture or "this model"
    # Without ComfyUI's key map, so that rows in another order are put into the model's own instead of a function.
    names = ModelNames(shapes, keys.architecture.id)
    return MergeModel(name, names, shapes, keys.layout, lambda key: read_weight(model, key))

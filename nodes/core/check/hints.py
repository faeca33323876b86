"""What layers that do not land have in common, in one sentence: which variant of the model the file was made for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..lora.file import LoraFile, LoraLayer
from ..model.identify import ArchitectureMatch
from ..report.report import LayerReport, LayerState
from .doubts.provenance import is_wan_22

_IMAGE_ATTENTION = re.compile(
    r"(?:^|[._])(?:k_img|v_img|norm_k_img|add_k_proj|add_v_proj|norm_added_k|img_emb)(?:[._]|$)"
)
"""Layers of Wan's image attention, in its own names and in those of diffusers."""
_TIME_LAYERS = re.compile(r"(?:^|[._])adaln_proj[._]linear$")
_INPUT_LAYERS = re.compile(
    r"(?:^|[._])(?:img_in|x_embedder(?:[._]proj)?|patch_embedding|patch_embed[._]proj|conv_in|input_blocks[._]0[._]0"
    r"|pos_embed[._]proj)$"
)
_CURVES = "adaln_t_table"


def find_hints(
    file: LoraFile,
    layers: Sequence[LayerReport],
    model: ArchitectureMatch | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...]:
    """Sentences about the layers that do not land; none where they have nothing in common.

    Args:
        layers: Fates of the file's layers, before the architecture is named in them.
        shapes: Of the model's weights, without prefix.
    """
    family = model.id if model is not None else ""
    lost = [x for x in layers if x.state in (LayerState.NO_SUCH_LAYER, LayerState.SHAPE_MISMATCH) and x.block != "te"]
    by_name = {layer.name: layer for layer in file.layers}
    found = (
        _image_to_video(lost, shapes) if family == "wan" else "",
        _pruned(lost, by_name, shapes) if family == "minimax_h3" else "",
        _other_inputs(lost, by_name, shapes),
    )
    return tuple(sentence for sentence in found if sentence)


def _image_to_video(lost: Sequence[LayerReport], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A LoRA of Wan 2.1 image to video on a model without image attention, which Wan 2.2 gave up."""
    count = sum(1 for x in lost if x.state is LayerState.NO_SUCH_LAYER and _IMAGE_ATTENTION.search(x.lora_key))
    if not count or any(".k_img." in key for key in shapes):
        return ""
    where = "do not exist in 2.2" if is_wan_22(shapes) else "exist in no text-to-video model and not in 2.2"
    return f"Made for Wan 2.1 image to video: the {count} layers that this model lacks {where}, the rest is normal."


def _pruned(
    lost: Sequence[LayerReport], by_name: Mapping[str, LoraLayer], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """A LoRA of the full MiniMax-H3 on the pruned one, where a table stands for the time embedding; or the reverse."""
    foreign = [x for x in lost if x.state is LayerState.SHAPE_MISMATCH and _TIME_LAYERS.search(x.lora_key)]
    sources = [by_name[x.lora_key] for x in foreign if x.lora_key in by_name]
    widths = {layer.in_features for layer in sources if layer.in_features}
    own = {shape[1] for key, shape in shapes.items() if key.endswith("adaln_proj.linear.weight") and len(shape) == 2}
    if len(widths) != 1 or not own or widths & own:
        return ""
    count = len(foreign)
    (width,) = widths
    if any(key.endswith(_CURVES) for key in shapes):
        return (
            f"Made for the full MiniMax-H3, this one is pruned: its {count} adaln_proj layers take {width} columns of "
            f"the time embedding, this model has {min(own)}; the rest is normal."
        )
    return (
        f"Made for a pruned MiniMax-H3, this one is whole: its {count} adaln_proj layers take {width} columns of a "
        f"table, this model has {min(own)} of the time embedding; the rest is normal."
    )


def _other_inputs(
    lost: Sequence[LayerReport], by_name: Mapping[str, LoraLayer], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """A LoRA of a variant with more or fewer input channels: inpainting, control, editing."""
    for x in lost:
        layer = by_name.get(x.lora_key)
        if x.state is not LayerState.SHAPE_MISMATCH or layer is None or not layer.in_features:
            continue
        shape = shapes.get(x.model_key.removeprefix("diffusion_model."), ())
        if _INPUT_LAYERS.search(x.lora_key) and len(shape) > 1 and layer.in_features != shape[1]:
            return (
                f"Made for a variant with {layer.in_features} columns in its input layer, this one has {shape[1]}: an "
                "inpainting, control or editing model, or the plain one; the rest is normal."
            )
    return ""

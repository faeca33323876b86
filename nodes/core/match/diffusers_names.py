"""Names that diffusers and its relatives give to the layers of a model, beside the model's own.

For files without ComfyUI at hand: where it runs, its own key map decides. A test compares the two for every
architecture. The links of the families go both ways: a LoRA may use either spelling, and so may a model file.
"""

from __future__ import annotations

from collections.abc import Mapping

from .name_table import Target

Shapes = Mapping[str, tuple[int, ...]]
WEIGHT = ".weight"
UNETS = frozenset({"sd15", "sd2", "sdxl", "sdxl_refiner"})


def own_key_map(shapes: Shapes, architecture: str, prefix: str = "") -> dict[str, Target]:
    """The layers of a model by its own names and, of a UNet, by diffusers' names, which are counted out.

    Args:
        shapes: Weights by the model's own names (see :func:`own_names`).
        architecture: Id from the table of architectures; empty for an unknown one.
        prefix: Put before the weights' keys.
    """
    names: dict[str, Target] = {key.removesuffix(WEIGHT): f"{prefix}{key}" for key in shapes}
    if architecture in UNETS:
        from .other_layout import add_unet_names

        add_unet_names(names, shapes, prefix)
    return names


def own_names(shapes: Shapes, architecture: str) -> dict[str, tuple[int, ...]]:
    """Weights of a model file by the names that they have when ComfyUI has loaded it.

    A file in diffusers' layout gets the model's own names, with q, k and v put together.
    """
    if architecture in UNETS and any(key.startswith("down_blocks.") for key in shapes):
        from .other_layout import renamed_unet

        return renamed_unet(shapes)
    if architecture == "hunyuan_video":
        from .other_layout import hunyuan_name

        return {hunyuan_name(key): shape for key, shape in shapes.items()}
    if architecture in ("flux1", "flux2", "chroma"):
        shapes = {
            f"{key.removesuffix('.scale')}.weight" if key.endswith("_norm.scale") else key: shape
            for key, shape in shapes.items()
        }
    if not _is_other_layout(shapes, architecture):
        return dict(shapes)
    from .other_layout import renamed_shapes

    return renamed_shapes(shapes, architecture)


def _is_other_layout(shapes: Shapes, architecture: str) -> bool:
    """Whether the file names its attention as diffusers does: own names of these layers differ in every family."""
    marks = {
        "flux1": "transformer_blocks.", "flux2": "transformer_blocks.", "chroma": "transformer_blocks.",
        "sd3": "transformer_blocks.", "pixart": "transformer_blocks.", "krea2": "transformer_blocks.",
        "auraflow": "joint_transformer_blocks.",
    }  # fmt: skip
    mark = marks.get(architecture)
    if mark is not None:
        return any(key.startswith(mark) for key in shapes)
    return architecture in ("zimage", "lumina2") and "layers.0.attention.to_q.weight" in shapes

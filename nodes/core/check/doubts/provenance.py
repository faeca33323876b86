"""What a file says it was made for, and what it says it is: another version of the model, a training adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...lora.file import LoraFile
from ...model.identify import ArchitectureMatch
from ...report.report import Doubt

_SAYS = (
    "ss_base_model_version", "ss_sd_model_name", "modelspec.architecture", "modelspec.title", "base_model",
    "base_model_name_or_path", "ss_output_name",
)  # fmt: skip
_WAN_21 = r"(?i)wan[-_. ]?(?:video[-_. ]?)?v?2[._]?1(?!\d)"
_TRAINING_ADAPTER = r"(?i)(?:^|[^a-z])(?:training[-_. ]?adapter|(?:training|train)[-_. ]?assist(?:ant)?)(?:[^a-z]|$)"
_DISTILLATION_PATCH = (
    r"(?i)(?:^|[^a-z])(?:lightning|lcm|dmd2?|lightx2v|causvid|accvid|fastwan|self[-_. ]?forcing|hyper[-_. ]?(?:sd|flux)"
    r"|(?:turbo|distill(?:ed|ation)?)[-_. ]?(?:lora|patch)|(?<![0-9.])(?:1|2|4|6|8|16)[-_. ]?steps?)(?:[^a-z]|$)"
)
"""Names of LoRAs that make a few-step model of its base: SDXL-Lightning, LCM-LoRA, DMD2, lightx2v, Hyper-SD, ..."""
_MADE_WITH_ONE = r"(?i)(?:^|[^a-z])(?:with|without|using|via|no|on|from)[^a-z].*adapter|trained"
"""A LoRA that says how it was trained is no training adapter."""
_IMAGE_CHANNELS = 36
"""Input channels of Wan's image-to-video models."""


def is_wan_22(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a Wan model is surely of 2.2: its image-to-video model has no image attention, the 5B 48 channels.

    The text-to-video models of 2.1 and 2.2 have the same shapes.
    """
    first = shapes.get("patch_embedding.weight", ())
    if len(first) != 5:
        return False
    image_attention = any(".k_img." in key or key.startswith("img_emb.") for key in shapes)
    return first[1] == 48 or (first[1] == _IMAGE_CHANNELS and not image_attention)


def other_version(
    file: LoraFile, model: ArchitectureMatch | None, shapes: Mapping[str, tuple[int, ...]]
) -> Doubt | None:
    """Wan 2.1 in the metadata, Wan 2.2 in the model: every layer lands, on weights that were trained anew."""
    if model is None or model.id != "wan" or not is_wan_22(shapes):
        return None
    field = next((name for name in _SAYS if re.search(_WAN_21, file.header.metadata.get(name, "")[:300])), None)
    if field is None:
        return None
    return Doubt(
        "other_version",
        f"its metadata say Wan 2.1 ({field}), the model is Wan 2.2: the names are the same, the weights were trained "
        "anew, so that it may be weak or wrong; compare with and without it",
    )


def training_adapter(titles: Sequence[str]) -> Doubt | None:
    """A training adapter, which is added while others train and taken away to draw.

    Args:
        titles: What the file calls itself.
    """
    if not _called(titles, _TRAINING_ADAPTER):
        return None
    return Doubt(
        "training_adapter",
        "it calls itself a training adapter: trainers add it to a distilled model while they train and leave it out "
        "to draw; at a positive strength it undoes the distillation",
    )


def distillation_patch(titles: Sequence[str]) -> str:
    """What a distillation patch is for; empty for a file that does not call itself one."""
    if not _called(titles, _DISTILLATION_PATCH) or training_adapter(titles) is not None:
        return ""
    return (
        "By its name it is a distillation patch: with it the base model draws in few steps, at CFG 1. To see what "
        "another LoRA does together with it, or to transfer one, use the base with the patch as the model."
    )


def _called(titles: Sequence[str], pattern: str) -> bool:
    """Whether the file calls itself what the pattern says, and not a file that was made with one."""
    return any(re.search(pattern, title) and not re.search(_MADE_WITH_ONE, title) for title in titles)

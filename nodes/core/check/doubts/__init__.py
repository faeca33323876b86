"""Doubts about a file whose layers land: is it numbered, scaled and meant for this model? One module a question.

A doubt needs evidence in the file; a healthy file has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...lora.file import LoraFile
from ...model.families import family
from ...model.identify import ArchitectureMatch
from ...report.report import Doubt, LayerReport, LayerState

ALL_ZERO = "every layer of it that would land is all zero: it changes nothing in any model"


_TITLES = ("modelspec.title", "ss_output_name", "title", "name")
_ADAPTER_WORDS = ("train",)
_PATCH_WORDS = (
    "lightning", "lcm", "dmd", "lightx2v", "causvid", "accvid", "fastwan", "forcing", "hyper", "turbo", "distill",
    "step",
)  # fmt: skip
"""One of them is in what every such file calls itself: a file without them is not asked any further."""


def find_doubts(
    file: LoraFile,
    name: str,
    layers: Iterable[LayerReport],
    model: ArchitectureMatch | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[Doubt, ...]:
    """Every doubt about a file and a model.

    Args:
        name: Of the file, as the user sees it.
        layers: Fates of the file's layers.
        shapes: Of the model's weights, without prefix.
    """
    found: list[Doubt] = []
    states = {layer.state for layer in layers}
    if LayerState.DEAD in states and LayerState.APPLIED not in states:
        found.append(Doubt("all_zero", ALL_ZERO))
    known = family(model.id) if model is not None else None
    if known is not None and known.insertions:
        from ...match.depth import depth_doubt  # few families have deeper models

        depth = depth_doubt(file, shapes, known)
        if depth is not None:
            found.append(Doubt(depth.id, depth.sentence))
    if "ss_network_alpha" in file.header.metadata or any(layer.alpha is not None for layer in file.layers):
        found.extend(_of_alpha(file))
    found.extend(_of_provenance(file, name, model, shapes))
    return tuple(found)


def distillation_note(file: LoraFile, name: str) -> str:
    """What a distillation patch is for; empty for a file that does not call itself one."""
    titles = _titles(file, name)
    if not _have_word(titles, _PATCH_WORDS):
        return ""
    from .provenance import distillation_patch

    return distillation_patch(titles)


def _titles(file: LoraFile, name: str) -> list[str]:
    """What a file calls itself."""
    return [name, *(file.header.metadata.get(field, "")[:300] for field in _TITLES)]


def _have_word(titles: Iterable[str], words: Iterable[str]) -> bool:
    text = "\n".join(titles).lower()
    return any(word in text for word in words)


def _of_provenance(
    file: LoraFile, name: str, model: ArchitectureMatch | None, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[Doubt]:
    titles = _titles(file, name)
    if model is not None and model.id == "wan":
        from .provenance import other_version

        doubt = other_version(file, model, shapes)
        if doubt is not None:
            yield doubt
    if _have_word(titles, _ADAPTER_WORDS):
        from .provenance import training_adapter

        doubt = training_adapter(titles)
        if doubt is not None:
            yield doubt


def _of_alpha(file: LoraFile) -> Iterator[Doubt]:
    """Doubts about an alpha, in the file's tensors or in its metadata; most files of PEFT have none."""
    from .merged import merged_alpha
    from .scale import alpha_left_out, scale_spread, whole_factors

    for question in (whole_factors, scale_spread, alpha_left_out, merged_alpha):
        doubt = question(file)
        if doubt is not None:
            yield doubt

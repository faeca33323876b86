"""A second LoRA file beside the first, as a part of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..bake.merge_plan import MergeModel, MergeSource
from ..errors import PatchbayError
from ..files.header import read_header
from ..files.tensors import Header
from ..model.blocks import OTHER, TEXT_ENCODER
from ..report.report import Level, Report
from ..report.workbench import ComparedBlock, ComparedFile
from .compare import SAME, Comparison, compare_files, cosine, factor_between

_MOST_NAMES = 50


def compare_with(first: Header, path: str | Path, model: MergeModel | None = None) -> ComparedFile:
    """What the LoRA at ``path`` has in common with ``first``.

    Args:
        model: That both are for; needed where they name layers differently, or change weights in ways that depend on
            the weight.

    Raises:
        HeaderError: the file cannot be read.
        OSError: it cannot be opened.
    """
    second = read_header(path)
    try:
        found = compare_files([MergeSource(first), MergeSource(second)], model)
    except PatchbayError as error:
        return ComparedFile(second.name, False, None, None, None, not_compared=str(error))
    failed = [layer for layer in found.layers if layer.not_compared]
    if len(failed) == len(found.layers):
        return ComparedFile(second.name, False, None, None, None, not_compared=failed[0].not_compared)
    return _as_part(second.name, found)


def with_second(report: Report, first: Header, path: str | Path, model: MergeModel | None = None) -> Report:
    """The report on an inspected LoRA with the LoRA at ``path`` beside it; arguments and errors as above."""
    compared = compare_with(first, path, model)
    level = Level.WARNING if compared.not_compared else report.level
    summary = f"{compared_sentence(compared)} {report.summary}"
    return replace(report, compared=compared, summary=summary, level=level)


def _as_part(name: str, found: Comparison) -> ComparedFile:
    whole = found.gram
    between = factor_between(whole, 0, 1)
    factor, residual = between if between is not None else (None, None)
    blocks = tuple(
        ComparedBlock(block, cosine(gram, 0, 1), _share(gram[0][0], whole[0][0]), _share(gram[1][1], whole[1][1]))
        for block, gram in sorted(found.blocks().items(), key=lambda block: block[0] in (OTHER, TEXT_ENCODER, ""))
    )
    same = residual is not None and residual <= SAME
    return ComparedFile(
        name, same, factor, residual, cosine(whole, 0, 1), blocks,
        found.only_in(0)[:_MOST_NAMES], found.only_in(1)[:_MOST_NAMES],
    )  # fmt: skip


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def compared_sentence(compared: ComparedFile) -> str:
    """The answer in one sentence."""
    if compared.not_compared:
        return f"Cannot be compared with {compared.name}: {compared.not_compared.removesuffix('.')}."
    if compared.factor is None or compared.residual is None or compared.cosine is None:
        return f"This file or {compared.name} changes nothing."
    if compared.same:
        return f"The same as {compared.name}, which is this file times {compared.factor:.6g}."
    return f"Another LoRA than {compared.name}: cosine {compared.cosine:.4f}."

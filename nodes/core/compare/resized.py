"""A smaller copy of a LoRA file, with its error measured on what was written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..bake.file import Source, free_path, make_options, write_baked
from ..bake.layer import AS_IN_FILE, NEVER
from ..bake.merge_plan import MergeSource
from ..bake.plan import plan_bake
from ..errors import PatchbayError
from ..files.hashes import file_hashes
from ..files.header import read_header
from .compare import compare_files


@dataclass(frozen=True)
class ResizedFile:
    """What was written."""

    path: Path
    size_bytes: int
    before_bytes: int
    ranks: tuple[int, ...]
    """Distinct ranks of its layers, ascending."""
    error: float
    """``|new - old| / |old|`` over all layers that have factors."""


def write_resized(source: Path, target: Path, energy: float) -> ResizedFile:
    """Write the LoRA at ``source`` with the smallest rank of each layer that keeps ``energy`` of its squared norm.

    An existing file stays: the new one gets a number then.

    Raises:
        PatchbayError: ``energy`` is not between 0.01 and 1, the file is not a LoRA, or nothing in it has a rank.
        OSError: a file cannot be read or written.
    """
    if not 0.01 <= energy < 1:
        raise PatchbayError(f"energy: {energy:g} is not a share of the squared norm from 0.01 to below 1.")
    header = read_header(source)
    plan = plan_bake(header)
    if not plan.layers:
        raise PatchbayError(f"{header.name}: holds no layer of a LoRA that could be made smaller.")
    if not any(layer.rank for layer in plan.layers):
        raise PatchbayError(f"{header.name}: none of its layers has a rank that could be lowered.")
    path, _ = free_path(target, overwrite=False)
    about = Source(header.name, file_hashes(source, header.data_start)["sha256"])
    baked = write_baked(path, list(plan.layers), make_options(NEVER, 0, energy, AS_IN_FILE), about, header.metadata)
    return ResizedFile(baked.path, baked.size_bytes, header.size_bytes, baked.ranks, _error(source, baked.path))


def _error(source: Path, made: Path) -> float:
    gram = compare_files([MergeSource(read_header(source)), MergeSource(read_header(made))]).gram
    difference = gram[0][0] - 2 * gram[0][1] + gram[1][1]
    return math.sqrt(max(difference, 0.0) / gram[0][0]) if gram[0][0] > 0 else 0.0

"""What one model did on a set of probes, small enough to keep: the profile that two models are compared by."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import HeaderError, PatchbayError
from .feature_stats import (
    HISTOGRAM_BINS,
    PIECE,
    ChannelMoments,
    Sketcher,
    count_values,
    diagonal_frechet,
    moved_channels,
)

OUTPUT = "output"
"""Name of the record of what the model returns."""

FORMAT = "patchbay.profile"
FORMAT_VERSION = "1"

ProbeId = tuple[int, int, int]
"""Prompt, seed and step, each by its position in the run."""


@dataclass
class FeatureRecord:
    """The features of one stream after one block, over all probes."""

    moments: ChannelMoments = field(default_factory=ChannelMoments)
    histogram: Tensor = field(default_factory=lambda: torch.zeros(HISTOGRAM_BINS, dtype=torch.int64))
    sketches: dict[ProbeId, Tensor] = field(default_factory=dict)
    """[sketch size] float32 for each probe."""
    squares: dict[ProbeId, float] = field(default_factory=dict)
    """Exact squared length of the whole tensor for each probe."""


class Profile:
    """Records by name: ``double_blocks.3|img``, ``single_blocks.0|txt``, ``output``."""

    def __init__(self) -> None:
        self.records: dict[str, FeatureRecord] = {}
        self.latents: dict[ProbeId, Tensor] = {}
        """The noisy latents, where the model walked its own trajectory; other models are evaluated on them."""

    @property
    def probes(self) -> tuple[ProbeId, ...]:
        """Every probe that was seen, in order."""
        seen = {probe: None for record in self.records.values() for probe in record.squares}
        return tuple(sorted(seen))

    def add(self, name: str, probe: ProbeId, features: Tensor, sketcher: Sketcher) -> None:
        """Take in the features of one evaluation.

        Args:
            features: [tokens, channels]; any batch is part of the tokens.
        """
        record = self.records.setdefault(name, FeatureRecord())
        square = 0.0
        for rows in features.split(max(1, PIECE // features.shape[1])):
            record.moments.add(rows)
            record.histogram += count_values(rows)
            square += float(rows.double().square().sum())
        record.sketches[probe] = sketcher(features)
        record.squares[probe] = square


@dataclass(frozen=True)
class Shift:
    """How far one stream's features moved between two profiles."""

    relative_l2: float
    """``|b - a| / |a|`` over the probes that both have."""
    cosine: float
    frechet: float
    """Normalised diagonal Frechet distance of the channels."""
    channels: tuple[tuple[int, float], ...] = ()
    """The channels that moved most, in root-mean-square deviations."""


TOP_CHANNELS = 5


def shift(a: FeatureRecord, b: FeatureRecord, probes: Iterable[ProbeId] | None = None) -> Shift:
    """Compare two records of the same place; exactly 0 and cosine 1 where every feature was the same."""
    common = _common(a, b, probes)
    moved = sum(_square(b.sketches[p] - a.sketches[p]) for p in common)
    size = sum(a.squares[p] for p in common)
    inner = sum(_inner(a.sketches[p], b.sketches[p]) for p in common)
    lengths = math.sqrt(sum(_square(a.sketches[p]) for p in common) * sum(_square(b.sketches[p]) for p in common))
    return Shift(
        _ratio(moved, size),
        1.0 if moved == 0 and size > 0 else (inner / lengths if lengths else math.nan),
        diagonal_frechet(a.moments, b.moments),
        tuple(moved_channels(a.moments, b.moments, TOP_CHANNELS)),
    )


def seed_shift(record: FeatureRecord) -> float | None:
    """How far two seeds are apart in one model: the measure that a shift is held against. None with one seed."""
    moved = size = 0.0
    for (prompt, seed, step), sketch in record.sketches.items():
        other = record.sketches.get((prompt, seed + 1, step))
        if other is not None and other.shape == sketch.shape:
            moved += _square(other - sketch)
            size += record.squares[prompt, seed, step]
    return _ratio(moved, size) if size else None


@dataclass(frozen=True)
class Change:
    """What the same LoRA changed on two models, at one place."""

    ratio: float
    """Size of the change on the target over its size on the reference."""
    cosine: float
    """Direction: 1 the same, 0 unrelated."""
    error: float
    """``|change on target - change on reference| / |change on reference|``: 0 a perfect transfer, 1 no better than
    leaving the LoRA out."""
    seed_cosine: float | None
    """The same cosine with the reference's change taken at another seed: what is common to all pictures."""


def change(
    target: tuple[FeatureRecord, FeatureRecord], reference: tuple[FeatureRecord, FeatureRecord]
) -> Change | None:
    """Compare two changes, each a pair (without, with) of records on the same probes; None where shapes differ."""
    common = [p for p in _common(*target) if p in reference[0].sketches and p in reference[1].sketches]
    if not common or target[0].moments.mean.shape != reference[0].moments.mean.shape:
        return None
    here = {p: target[1].sketches[p].double() - target[0].sketches[p].double() for p in common}
    there = {p: reference[1].sketches[p].double() - reference[0].sketches[p].double() for p in common}
    here_size, there_size = (sum(_square(d[p]) for p in common) for d in (here, there))
    inner = sum(_inner(here[p], there[p]) for p in common)
    missed = sum(_square(here[p] - there[p]) for p in common)
    pairs = [(here[p], there[q]) for p in common if (q := (p[0], p[1] + 1, p[2])) in there]
    return Change(
        _ratio(here_size, there_size),
        inner / math.sqrt(here_size * there_size) if here_size and there_size else math.nan,
        _ratio(missed, there_size),
        _pair_cosine(pairs),
    )


def _pair_cosine(pairs: list[tuple[Tensor, Tensor]]) -> float | None:
    inner = sum(_inner(a, b) for a, b in pairs)
    size = math.sqrt(sum(_square(a) for a, _ in pairs) * sum(_square(b) for _, b in pairs))
    return inner / size if size else None


def _common(a: FeatureRecord, b: FeatureRecord, probes: Iterable[ProbeId] | None = None) -> list[ProbeId]:
    wanted = a.sketches.keys() if probes is None else probes
    return [p for p in wanted if p in a.sketches and p in b.sketches]


def _square(values: Tensor) -> float:
    return float(values.double().square().sum())


def _inner(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double())


def _ratio(square: float, of: float) -> float:
    """Root of a quotient of squares; 0 of 0 is 0."""
    return math.sqrt(square / of) if of > 0 else (0.0 if square == 0 else math.nan)


def save_profile(path: str | os.PathLike[str], profile: Profile) -> None:
    """Write a profile as safetensors, through a temporary file."""
    tensors: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for name, record in profile.records.items():
        probes = sorted(record.sketches)
        counts[name] = record.moments.count
        tensors[f"{name}/mean"] = record.moments.mean
        tensors[f"{name}/squares"] = record.moments.squares
        tensors[f"{name}/histogram"] = record.histogram
        tensors[f"{name}/probes"] = torch.tensor(probes, dtype=torch.int64).reshape(-1, 3)
        tensors[f"{name}/sketches"] = torch.stack([record.sketches[p] for p in probes])
        tensors[f"{name}/sizes"] = torch.tensor([record.squares[p] for p in probes], dtype=torch.float64)
    for probe, latent in profile.latents.items():
        tensors[f"latent/{'.'.join(map(str, probe))}"] = latent
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "counts": json.dumps(counts)}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary, metadata)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load_profile(path: str | os.PathLike[str]) -> Profile:
    """Read what :func:`save_profile` wrote.

    Raises:
        PatchbayError: the file is not a profile of this version, or is damaged.
    """
    profile = Profile()
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, FORMAT_VERSION):
                raise HeaderError(f"{Path(path).name}: not a profile of version {FORMAT_VERSION}; delete the file.")
            for name, count in json.loads(metadata["counts"]).items():
                part = {key: file.get_tensor(f"{name}/{key}") for key in _PARTS}
                probes = [(int(p[0]), int(p[1]), int(p[2])) for p in part["probes"]]
                profile.records[name] = FeatureRecord(
                    ChannelMoments(int(count), part["mean"], part["squares"]),
                    part["histogram"],
                    dict(zip(probes, part["sketches"], strict=True)),
                    dict(zip(probes, part["sizes"].tolist(), strict=True)),
                )
            for key in file.keys():  # noqa: SIM118 - the file is no dict
                if key.startswith("latent/"):
                    prompt, seed, step = map(int, key.removeprefix("latent/").split("."))
                    profile.latents[prompt, seed, step] = file.get_tensor(key)
    except (SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, PatchbayError):
            raise
        raise PatchbayError(f"{Path(path).name}: the profile is damaged ({error}); delete the file.") from error
    return profile


_PARTS = ("mean", "squares", "histogram", "probes", "sketches", "sizes")

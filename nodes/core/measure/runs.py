"""What a measurement is made of: raw runs, summaries of conditions, comparisons, and the report that carries them.

Nothing here knows where the numbers come from. A figure that could not be read is a reason, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..report.report import Level, to_json

MEASUREMENT_SCHEMA = "patchbay.measurement"
MEASUREMENT_VERSION = 1


@dataclass(frozen=True)
class Figure:
    """One number, or why there is none."""

    value: float | None = None
    reason: str = ""
    """A sentence where ``value`` is ``None``; may say how the number was read where it is not."""

    @classmethod
    def missing(cls, reason: str) -> Figure:
        """A figure that could not be read."""
        return cls(None, reason)


def _not_read() -> Figure:
    return Figure.missing("not read")


@dataclass(frozen=True)
class MemoryFigures:
    """Memory of one run, in bytes, split into what it is."""

    weights_total: Figure = field(default_factory=_not_read)
    """Size of all weights of the model in the form in which they are stored."""
    weights_resident: Figure = field(default_factory=_not_read)
    """Weights of this model that lie on the device at the end of the run."""
    torch_allocated_peak: Figure = field(default_factory=_not_read)
    """torch's own peak of live tensors. Dynamic VRAM keeps weights outside torch: they are missing in it."""
    torch_reserved_peak: Figure = field(default_factory=_not_read)
    """Peak of what torch's allocator held, freed blocks included."""
    cast_buffers: Figure = field(default_factory=_not_read)
    """Buffers through which weights that do not stay on the device are copied."""
    process_low: Figure = field(default_factory=_not_read)
    """Device memory of this process, largest value seen while polling: the true peak is not below it."""
    process_high: Figure = field(default_factory=_not_read)
    """Sum of the peaks of all parts: the true peak is not above it."""
    device_used_peak: Figure = field(default_factory=_not_read)
    """Device memory in use by all programs, largest value seen while polling."""
    pinned_ram: Figure = field(default_factory=_not_read)
    """Main memory pinned for copies to the device."""
    ram_low: Figure = field(default_factory=_not_read)
    """Resident main memory of this process, largest value seen while polling."""
    ram_high: Figure = field(default_factory=_not_read)
    """High-water mark of the operating system: the true peak is not above it."""


MEMORY_NAMES = tuple(MemoryFigures.__dataclass_fields__)


@dataclass(frozen=True)
class LoraMath:
    """Calls of LoRA adapters that changed a weight, and how long they took on the device."""

    prepare_calls: int = 0
    """While the model was loaded."""
    first_calls: int = 0
    """In the first evaluation."""
    later_calls: int = 0
    """In all later evaluations together; 0 where every patched weight stays on the device."""
    prepare_ms: float = 0.0
    first_ms: float = 0.0
    later_ms: float = 0.0
    untimed: int = 0
    """Patches that are no adapters (plain differences): counted, but not timed."""


@dataclass(frozen=True)
class BlockFigure:
    """One block of the model in one steady evaluation."""

    block: str
    ms: Figure
    """Median over the steady evaluations."""
    peak_bytes: Figure
    """Live tensors at the block's peak beyond what was live at its start."""


@dataclass(frozen=True)
class RunFacts:
    """What the run was, as far as it can be read from the sampling call."""

    mode: str = ""
    """``CPU``, ``dynamic VRAM``, ``fully loaded`` or ``partly loaded``."""
    sampler: str = ""
    cfg: float | None = None
    shape: tuple[int, ...] = ()
    """Shape of the latent."""
    patches: int = 0
    """Weights that carry a patch."""
    bypass_layers: int = 0
    """Layers whose LoRA runs beside the weight in every evaluation."""
    quantised_layers: int = 0
    slowed_quantised_layers: int = 0
    """Quantised layers that cannot use their fast product, because a function is applied to their weight."""
    compiled: bool = False
    preview: str = ""
    """ComfyUI's preview method, where the caller asked for step callbacks."""


NOT_MEASURED = "not measured"
"""Outcome of a run that ended well although measuring it failed."""


@dataclass(frozen=True)
class RunRecord:
    """One sampling, from the first preparation to the last step."""

    condition: str
    number: int
    """1-based position among all runs of the recorder."""
    outcome: str
    """``success``, ``error``, ``interrupted``, or ``not measured`` of a run that ended well."""
    after_switch: bool
    """First run after another condition (or the first of all): it carries the cost of switching."""
    clock: str
    """How evaluations were timed: ``device events``, ``host clock`` or ``host clock, synchronised``."""
    prepare_s: float
    total_s: float
    evaluations_ms: tuple[float, ...]
    """Time of each model evaluation, in order."""
    gaps_ms: tuple[float, ...]
    """Time between the end of an evaluation and the start of the next: sampler arithmetic, previews, waiting."""
    steps: int
    forwards: int
    """Calls of the model: two in an evaluation where the two sides of CFG are not batched."""
    predictions: int
    """Conditional and unconditional predictions together."""
    streamed_bytes: tuple[int, ...]
    """Weights copied to the device again in each evaluation; empty where that cannot be known."""
    lora: LoraMath
    memory: MemoryFigures
    facts: RunFacts
    blocks: tuple[BlockFigure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def steady_ms(self) -> tuple[float, ...]:
        """Every evaluation but the first."""
        return self.evaluations_ms[1:]


@dataclass(frozen=True)
class Spread:
    """Middle and quartiles of a list of numbers."""

    median: float
    q1: float
    q3: float
    n: int

    @property
    def relative_iqr(self) -> float:
        """(q3 - q1) / median; 0 for a median of 0."""
        return (self.q3 - self.q1) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Ratio:
    """B / A with its 95 % confidence interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Number of pairs of runs."""
    reason: str = ""
    """Why the ratio or its interval is missing."""


@dataclass(frozen=True)
class Segment:
    """A piece of the bar that shows where memory goes."""

    name: str
    """``weights``, ``activations``, ``cast_buffers`` or ``rest`` (context, libraries, everything else)."""
    size_bytes: float


@dataclass(frozen=True)
class ConditionSummary:
    """All runs of one condition."""

    label: str
    runs: int
    steps: int
    evaluations: int
    predictions: int
    """In one run."""
    steady_ms: Spread | None
    """Evaluations 2..N of the warm runs (of all runs where there is no warm one)."""
    first_ms: Figure
    """First evaluation of the runs after a switch, median."""
    first_warm_ms: Figure
    extra_ms: Figure
    """What the first evaluation after a switch takes beyond a steady one."""
    prepare_s: Figure
    """Loading before the first evaluation, runs after a switch, median."""
    switch_s: Figure
    """Cost of switching to this condition: loading and first evaluation after a switch, minus those of a warm run."""
    total_s: Figure
    """Whole sampling of a warm run, median."""
    iterations_per_s: Figure
    """Steps per second at the steady pace."""
    gap_ms: Figure
    """Time between two evaluations, median."""
    streamed_bytes: Figure
    """Weights copied again in each steady evaluation."""
    lora: LoraMath
    """Of the first run after a switch."""
    memory: MemoryFigures
    """Medians over the runs that the steady time is taken from."""
    facts: RunFacts
    clock: str
    segments: tuple[Segment, ...] = ()
    """What the process holds at its peak, piece by piece; empty where that is not known."""
    blocks: tuple[BlockFigure, ...] = ()


@dataclass(frozen=True)
class OutputDifference:
    """How far the results of two conditions are apart, against how far runs of one condition are apart."""

    verdict: str
    """``identical``, ``noise`` (not distinguishable from run-to-run noise), ``different`` or ``unknown``."""
    text: str
    mae: float | None = None
    """Mean absolute difference between the conditions."""
    floor: float | None = None
    """Largest mean absolute difference between two runs of one condition (A/A)."""
    relative: float | None = None
    """``|a - b| / |a|``."""
    psnr: float | None = None
    """Of decoded pictures; ``None`` for latents and for identical pictures."""
    ssim: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One condition against the first."""

    a: str
    b: str
    steady: Ratio
    total: Ratio
    memory: dict[str, Ratio]
    """By the names of :class:`MemoryFigures`."""
    speed: str
    """``slower``, ``faster``, ``same``, ``unsettled``, ``noisy``, ``one_pair`` or ``unknown``."""
    speed_verdict: str
    """The same as a sentence."""
    speed_floor: float | None = None
    """How far the steady paces of two neighbouring runs of one condition are apart (A/A), as a share."""
    latents: OutputDifference | None = None
    images: OutputDifference | None = None


@dataclass(frozen=True)
class Sentence:
    """One cause of time or memory, in words, with what to try."""

    id: str
    condition: str
    text: str
    values: dict[str, str] = field(default_factory=dict)
    """What the text was filled with, so that the page can say it in another language."""


@dataclass(frozen=True)
class Measurement:
    """The result of measuring one or several conditions."""

    kind: str
    """``measure`` or ``benchmark``."""
    title: str
    summary: str
    level: Level = Level.OK
    conditions: tuple[ConditionSummary, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    notes: tuple[str, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    """Versions, device, flags, hashes of model and LoRAs."""


def measurement_json(report: Measurement) -> dict[str, Any]:
    """The measurement as JSON-ready data."""
    return to_json(report) | {"schema": MEASUREMENT_SCHEMA, "version": MEASUREMENT_VERSION}

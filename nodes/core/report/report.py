"""What the pack says about a run: one frozen dataclass tree, one JSON, one readable text.

The panel and every widget render :func:`to_json` and nothing else. Its shape is versioned and mirrored, by hand, in
``js/types/report.d.ts``; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .workbench import ComparedFile, FoundLora, RankCurve

REPORT_VERSION = 1


class LayerState(str, Enum):
    """How one tensor group of a LoRA ended. Everything but ``APPLIED`` carries a reason."""

    APPLIED = "applied"
    SKIPPED = "skipped"
    """The user's strength for it is 0."""
    NO_SUCH_LAYER = "no_such_layer"
    SHAPE_MISMATCH = "shape_mismatch"
    WRONG_ARCHITECTURE = "wrong_architecture"
    NOT_UNDERSTOOD = "not_understood"
    DEAD = "dead"
    """All zero: it changes nothing."""
    IN_FILE = "in_file"
    """Found in a file that was only inspected; nothing was applied."""


class Level(str, Enum):
    """How much attention a report asks for."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class BlockGroup:
    """A container of the model and its blocks."""

    kind: str
    first: int
    count: int


@dataclass(frozen=True)
class ModelSummary:
    """The model in front of the user."""

    architecture: str
    """Name for people, for example ``FLUX.2 Klein 4B``, or the model class where the variant is not known."""
    model_class: str
    """ComfyUI's class, for example ``Flux2``; empty for a file that was not loaded."""
    blocks: tuple[BlockGroup, ...] = ()
    weight_count: int = 0
    parameter_count: int = 0
    dtype: str = ""
    hidden_size: int | None = None
    evidence: tuple[str, ...] = ()
    """Why it is called that: shapes and names that were seen."""
    layers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Container (or ``other``) to the paths of its weight matrices inside a block, so that the panel can draw the
    model as it is and not only what a LoRA touches. Empty for a file that was not loaded."""


@dataclass(frozen=True)
class LoraSummary:
    """The file in front of the user."""

    name: str
    """File name as the user sees it, never a path of the machine."""
    size_bytes: int = 0
    architecture: str = ""
    key_style: str = ""
    writer: str = ""
    """The tool that probably wrote it, with how that is known."""
    formats: dict[str, int] = field(default_factory=dict)
    """Number of layers for each adapter format."""
    ranks: tuple[int, ...] = ()
    base_model: str = ""
    trigger_words: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerReport:
    """One tensor group of a LoRA file, or one patch found on a model."""

    state: LayerState
    reason: str = ""
    """A sentence wherever ``state`` is not ``APPLIED``; may carry a remark where it is."""
    lora_key: str = ""
    """Prefix of the tensors in the file; empty for a patch that somebody else made."""
    model_key: str = ""
    block: str = ""
    """``double_blocks.3``, ``other`` or ``te``; empty where no place is known."""
    layer: str = ""
    """Path inside the block: ``img_attn.qkv``."""
    slice: tuple[int, int, int] | None = None
    """``(dim, start, length)`` of a fused weight, or ``None`` for the whole of it."""
    format: str = ""
    rank: int | None = None
    alpha: float | None = None
    scale: float | None = None
    scale_source: str = ""
    strength: float = 0.0
    """What the delta is multiplied with in the end: overall times block strength."""
    block_strength: float = 1.0
    delta_norm: float | None = None
    """Frobenius norm of the delta at strength 1; ``None`` where it was not measured."""
    weight_norm: float | None = None
    """Frobenius norm of the model's own weight (of the slice, where there is one)."""
    spectral_norm: float | None = None
    """Largest singular value of the delta at strength 1; ``None`` where it was not asked for or not measured."""
    needs: tuple[int, ...] = ()
    """Smallest ranks that keep 95, 98 and 99 % of its squared norm; empty where that was not asked for."""
    above_noise: int | None = None
    """Singular values above what rounding its factors to bfloat16 leaves."""
    shape: tuple[int, ...] | None = None
    """Shape of the model's weight, or of its slice; ``None`` for a layer without a place in the model."""
    not_measured: str = ""
    """Why a norm is missing."""
    stored: str = ""
    """Format of a weight that is stored quantised: ``nvfp4``; empty for plain numbers, and where nobody looked."""
    owner: str = ""
    """Which LoRA or node the patch belongs to, where several meet."""
    method: str = ""
    """``merge`` or ``bypass`` where it was applied by a node that has the choice."""
    delta_kept: float | None = None
    """Share of the change that arrives in a quantised weight that is quantised again; ``None`` where not measured."""
    delta_noise: float | None = None
    """Rounding noise of quantising again, as a share of the change."""
    stock: LayerState | None = None
    """What ComfyUI's own LoRA loader would do with it; ``None`` where that was not asked."""
    stock_reason: str = ""
    """Why it would not apply it, or how it would apply it otherwise."""

    def changed(self, **changes: Any) -> LayerReport:
        """A copy with other values; ``dataclasses.replace`` without its cost, which adds up over a file's layers."""
        copy = object.__new__(LayerReport)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(changes)
        return copy

    @property
    def norm_ratio(self) -> float | None:
        """|strength| x delta norm / weight norm: how strongly the layer is changed."""
        if self.delta_norm is None or not self.weight_norm:
            return None
        return abs(self.strength) * self.delta_norm / self.weight_norm


@dataclass(frozen=True)
class ModelBlock:
    """One block of a model: how it is stored, what is patched, and how far a second model's block lies from it."""

    block: str
    """``double_blocks.3`` or ``other``."""
    weights: int
    parameters: int
    dtypes: dict[str, int] = field(default_factory=dict)
    """Storage format to number of weights: ``bfloat16``, ``fp8 (float8_e4m3fn)``, ``Q4_0``."""
    patched: int = 0
    """Weights that carry a patch right now."""
    distance: float | None = None
    """``|W_b - W_a| / |W_a|`` (Frobenius) against the second model."""
    direction_shift: float | None = None
    """``|U^T (W_b - W_a) V| / |U^T W_a V|`` for the directions U, V that a LoRA edits."""
    cosine: float | None = None
    """``<dW, W_b - W_a> / (|dW| |W_b - W_a|)`` for a LoRA's delta dW."""
    not_compared: str = ""
    """Why a figure is missing."""


@dataclass(frozen=True)
class Doubt:
    """Why a file that fits may not do what its maker meant."""

    id: str
    """Stable name of the kind: ``depth``, ``all_zero``, ``scale_spread``, ..."""
    sentence: str


@dataclass(frozen=True)
class Report:
    """The result of one node for one model and, where there is one, one LoRA."""

    kind: str
    """``apply``, ``schedule``, ``save``, ``patches``, ``inspect``, ``check`` or ``model``."""
    title: str
    summary: str
    """One sentence that answers the node's question."""
    level: Level = Level.OK
    model: ModelSummary | None = None
    lora: LoraSummary | None = None
    strength_model: float | None = None
    strength_clip: float | None = None
    blocks: str = ""
    """Block strengths in the text form, as the user wrote them."""
    layers: tuple[LayerReport, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that concern the whole file."""
    verdict: str = ""
    """``fits``, ``fits in part`` or ``does not fit``; empty where that is not the question."""
    advice: str = ""
    """What to do, in one sentence."""
    doubts: tuple[Doubt, ...] = ()
    """Beside a verdict: why a file that fits may not do what its maker meant."""
    model_blocks: tuple[ModelBlock, ...] = ()
    """The model block by block, where the model itself is the subject."""
    found: tuple[FoundLora, ...] = ()
    """LoRAs that were looked for in the model."""
    compared: ComparedFile | None = None
    """A second file beside the LoRA that is inspected."""
    ranks: tuple[RankCurve, ...] = ()
    """What smaller ranks keep of a LoRA: the whole file first, then its blocks."""
    sizes: str = ""
    """What ``/patchbay/sizes`` is asked with for the same report with the sizes that were left out; empty where none
    were."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of layers in each state, in the order of :class:`LayerState`."""
        seen = Counter(layer.state for layer in self.layers)
        return {state.value: seen[state] for state in LayerState if seen[state]}

    @property
    def coverage(self) -> float | None:
        """Share of the file's squared delta norm that lands (whatever its strength), in 0..1.

        ``None`` where a layer that matters could not be measured and not all land, where the file carries nothing, or
        where it was only inspected.
        """
        if self.kind == "inspect":
            return None
        landing = {LayerState.APPLIED, LayerState.SKIPPED}
        measured = [layer for layer in self.layers if layer.state is not LayerState.DEAD]
        if any(layer.delta_norm is None for layer in measured):
            return 1.0 if all(layer.state in landing for layer in measured) else None
        total = math.fsum((layer.delta_norm or 0.0) ** 2 for layer in measured)
        landed = math.fsum((layer.delta_norm or 0.0) ** 2 for layer in measured if layer.state in landing)
        return landed / total if total else None


def to_json(report: Any) -> dict[str, Any]:
    """The report as JSON-ready data: derived figures included, NaN and infinities turned into ``None``."""
    data = _plain(report)
    data["schema"] = "patchbay.report"
    data["version"] = REPORT_VERSION
    return data


def picture_data(report: Report, table: Any, schema: str) -> dict[str, Any]:
    """What the picture of a table is drawn from: the table, and what the report says of it."""
    return {
        **to_json(table),
        "schema": schema,
        "version": 1,
        "level": report.level.value,
        "title": report.title,
        "summary": report.summary,
        "verdict": report.verdict,
        "advice": report.advice,
        "notes": list(report.notes),
    }


_DERIVED = ("counts", "coverage", "norm_ratio")
_AS_IT_IS = frozenset({str, int, bool, type(None)})


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """What of a dataclass goes into the JSON: its fields, and the derived figures that it has."""
    derived = (name for name in _DERIVED if isinstance(getattr(kind, name, None), property))
    return (*(field.name for field in dataclasses.fields(kind)), *derived)


def _plain(value: Any) -> Any:
    if type(value) in _AS_IT_IS:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Most fields are plain already; a file has thousands of them.
        items = ((name, getattr(value, name)) for name in _names(type(value)))
        return {name: item if type(item) in _AS_IT_IS else _plain(item) for name, item in items}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

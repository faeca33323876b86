"""One layer of a LoRA that is written again, and what its format can carry exactly.

* LoRA, LoCon, LoHa, LoKr, GLoRA: the strength goes into alpha (or into the smaller factor of a LoKr without alpha), so
  that the other tensors stay as they are, bit for bit. Strengths of slices go into rows of ``up`` or columns of
  ``down``.
* Whole differences, norms and IA3 are multiplied.
* Rotations (OFT, BOFT) and DoRA are not linear in their tensors: they stay as they are at strength 1, and any other
  strength needs a conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .resize import Resizing

if TYPE_CHECKING:
    from torch import Tensor

NEVER, DIFFERENCE, LORA, LORA_FOR_ALL = "never", "difference where needed", "LoRA where needed", "LoRA for all"
CONVERSIONS = (NEVER, DIFFERENCE, LORA, LORA_FOR_ALL)
"""What may be done with a layer whose format cannot carry its strength."""

AS_IN_FILE = "as in the file"
DTYPES = (AS_IN_FILE, "float32", "bfloat16", "float16")

ROTATIONS = frozenset({"oft", "boft", "oft_2", "boft (PEFT)"})
PRODUCTS = frozenset({"lora", "loha", "lokr", "glora"})
WHOLE = frozenset({"diff", "norm", "diff_b", "norm_b", "set", "set_b"})
REPLACED = frozenset({"set", "set_b"})
_LABELS = {
    "lora": "LoRA", "loha": "LoHa", "lokr": "LoKr", "glora": "GLoRA", "oft": "OFT", "boft": "BOFT", "oft_2": "OFT 2",
    "boft (PEFT)": "BOFT of PEFT", "ia3": "IA3", "diff": "whole difference", "diff_b": "difference of a bias",
    "norm": "difference of a norm", "norm_b": "difference of a norm's bias", "set": "replaced weight",
    "set_b": "replaced bias",
}  # fmt: skip
UNTOUCHED = frozenset({"reshape", "on_input", "alpha", "scaled_oft"})
PLACES = {"up": ".lora_up.weight", "down": ".lora_down.weight", "alpha": ".alpha"}

Share = tuple[int, int, int, float]
"""``(dim, start, length, strength)`` of a part of the layer's own weight."""


@dataclass(frozen=True)
class BakeOptions:
    """What the user wants of the file."""

    convert: str = NEVER
    resizing: Resizing = field(default_factory=Resizing)
    """For layers that are LoRAs, or become ones."""
    dtype: str = AS_IN_FILE

    def __post_init__(self) -> None:
        for what, value, known in (("convert", self.convert, CONVERSIONS), ("dtype", self.dtype, DTYPES)):
            if value not in known:
                raise PatchbayError(f'{what}: expected one of {", ".join(known)}, got "{value}".')


@dataclass(frozen=True)
class BakeLayer:
    """One layer, with everything that is needed to write it again."""

    name: str
    """Prefix of its keys in the new file."""
    kind: str
    """Name of its adapter (``lora``, ``loha``, ``diff``, ...)."""
    tensors: Mapping[str, Tensor]
    """By role. An ``alpha`` among them counts only for rotations."""
    shape: tuple[int, ...]
    """Of the weight (or the slice of it) that it changes."""
    strength: float = 1.0
    """For the whole layer, where ``shares`` is empty."""
    shares: tuple[Share, ...] = ()
    """Parts with strengths of their own, in order and without gaps."""
    scale: float = 1.0
    """What the product of the factors is multiplied with at strength 1."""
    rank: int | None = None
    dora: bool = False
    suffixes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Role to the end of its key, where the file's own spelling is kept."""
    factor_suffixes: tuple[str, str] = (PLACES["up"], PLACES["down"])
    """Ends of the keys of a LoRA that is made here."""
    stock_reads: bool = True
    """Whether ComfyUI's own loader computes this layer at strength 1 as its writer means it."""
    tied: str = ""
    """Why it cannot be kept as it is, whatever its strength; empty where it can."""
    delta: Callable[[], Tensor] | None = field(default=None, repr=False, compare=False)
    """Builds the change at strength 1, float32, of ``shape``; ``None`` where the model's weight is not at hand."""
    only_as_difference: bool = False
    """Whether ``delta`` is all there is: the tensors have no form that a loader could read under this name."""

    @property
    def uniform(self) -> float | None:
        """The one strength, or ``None`` where parts differ."""
        strengths = {share[3] for share in self.shares} or {self.strength}
        return next(iter(strengths)) if len(strengths) == 1 else None

    @property
    def label(self) -> str:
        """The format in the field's words."""
        plain = _LABELS.get(self.kind, self.kind)
        return f"DoRA ({plain})" if self.dora else plain


@dataclass(frozen=True)
class BakedLayer:
    """What is written for a layer."""

    tensors: Mapping[str, Tensor]
    """By full key."""
    note: str = ""
    """What was done to it; empty where only the strength went in and nothing was rounded."""
    error: float | None = None
    """``|written - meant| / |meant|`` of the change (or of the tensors that were rounded); ``None`` where exact."""
    converted: bool = False


def obstacle(layer: BakeLayer) -> str:
    """Why the layer's own format cannot carry its strength exactly; empty where it can."""
    strength = layer.uniform
    if layer.tied:
        return layer.tied
    if layer.dora or layer.kind in ROTATIONS:
        text = "different strengths" if strength is None else f"{strength:g}"
        return "" if strength == 1.0 else f"{layer.label} can be kept only at strength 1, not at {text}"
    if strength is not None:
        return ""
    if layer.kind == "lora" and "reshape" not in layer.tensors:
        return ""
    if layer.kind == "loha" and "hada_t1" not in layer.tensors:
        return ""
    if layer.kind in WHOLE - REPLACED or layer.kind == "ia3":
        return ""
    if layer.kind == "glora" and layer.shares[0][0] == 1:
        return ""
    return f"parts of it have different strengths, and {layer.label} cannot hold that"


def needs_weight(layer: BakeLayer) -> str:
    """Why a layer cannot be converted without the model."""
    return (
        f"{layer.name}: converting {layer.label} needs the model's own weight. Use the node "
        "Save LoRA with the model connected."
    )

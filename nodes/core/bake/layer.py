"""One layer of a LoRA with its strength baked in: in the same format where that is exact, else as the user says.

What a format can carry exactly:

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
from .resize import LowRank, Resizing, dense_error, factor_error, factors, reduce_dense, reduce_factors

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as DType  # noqa: N812

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
_UNTOUCHED = frozenset({"reshape", "on_input", "alpha", "scaled_oft"})
_ROW_ROLE = {"lora": "up", "loha": "hada_w1_a"}
_COLUMN_ROLES = {"lora": ("down",), "loha": ("hada_w1_b",), "glora": ("a2", "b2")}
_PLACES = {"up": ".lora_up.weight", "down": ".lora_down.weight", "alpha": ".alpha"}

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
    factor_suffixes: tuple[str, str] = (_PLACES["up"], _PLACES["down"])
    """Ends of the keys of a LoRA that is made here."""
    stock_reads: bool = True
    """Whether ComfyUI's own loader computes this layer at strength 1 as its writer means it."""
    tied: str = ""
    """Why it cannot be kept as it is, whatever its strength; empty where it can."""
    delta: Callable[[], Tensor] | None = field(default=None, repr=False, compare=False)
    """Builds the change at strength 1, float32, of ``shape``; ``None`` where the model's weight is not at hand."""

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
        return "" if strength == 1.0 else f"{layer.label} can be kept only at strength 1, not at {_text(strength)}"
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


def check_layers(layers: list[BakeLayer], options: BakeOptions) -> None:
    """Refuse before anything is written.

    Raises:
        PatchbayError: layers whose format cannot carry their strength, and no conversion that helps; all are counted.
    """
    found = [(layer, obstacle(layer)) for layer in layers]
    found = [(layer, why) for layer, why in found if why]
    if found and options.convert == NEVER:
        layer, why = found[0]
        raise PatchbayError(
            f"{len(found)} of {len(layers)} layers cannot hold their strength in their own format. For example "
            f'{layer.name}: {why}. Set convert to "{DIFFERENCE}" (exact, large) or "{LORA}" (with a rank or an '
            "energy), or give these layers strength 1 or 0."
        )
    for layer in layers:
        if _target(layer, options) == "lora" and layer.delta is None and _factors(layer) is None:
            raise PatchbayError(_needs_weight(layer))
        if _target(layer, options) == "diff" and layer.delta is None:
            raise PatchbayError(_needs_weight(layer))
        if _target(layer, options) == "lora" and options.resizing.keeps_all and _factors(layer) is None:
            raise PatchbayError(
                f"{layer.name}: {layer.label} has no rank that a LoRA could take over. Give a rank, or an energy "
                f'below 1, or set convert to "{DIFFERENCE}".'
            )


def bake_layer(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    """Write the strength into one layer.

    Raises:
        PatchbayError: it cannot be done exactly and no conversion was asked for, or a value does not fit the dtype.
    """
    target = _target(layer, options)
    if target == "lora":
        return _as_lora(layer, options)
    if target == "diff":
        return _as_difference(layer, options)
    why = obstacle(layer)
    if why:
        raise PatchbayError(f"{layer.name}: {why}.")
    return _same_format(layer, options)


def _target(layer: BakeLayer, options: BakeOptions) -> str:
    """``lora``, ``diff`` or empty for the layer's own format."""
    if len(layer.shape) < 2 or layer.kind in ("diff_b", "norm_b", "set", "set_b"):
        needs = bool(obstacle(layer)) or not layer.stock_reads
        return "diff" if needs and options.convert != NEVER and layer.kind not in REPLACED else ""
    if layer.kind == "lora" and not layer.dora and "reshape" not in layer.tensors:
        limit = options.resizing
        small = limit.energy == 1 and layer.rank is not None and layer.rank <= (limit.rank or layer.rank)
        return "" if small and "mid" not in layer.tensors else "lora" if not limit.keeps_all else ""
    if layer.kind == "lora" and not layer.dora:
        return ""  # it enlarges the weight: no change of the weight's own shape, and no other format says so
    if options.convert == LORA_FOR_ALL:
        return "lora"
    if options.convert != NEVER and (obstacle(layer) or not layer.stock_reads):
        return "diff" if options.convert == DIFFERENCE else "lora"
    return ""


def _needs_weight(layer: BakeLayer) -> str:
    return (
        f"{layer.name}: converting {layer.label} needs the model's own weight. Use the node "
        "Save LoRA with the model connected."
    )


def _text(strength: float | None) -> str:
    return "different strengths" if strength is None else f"{strength:g}"


# --- the same format ----------------------------------------------------------------------------------


def _same_format(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    tensors: dict[str, Tensor] = dict(layer.tensors)
    notes: list[str] = []
    scaled_roles: dict[str, Tensor] = {}
    strength = layer.uniform
    wide: set[str] = set()
    if layer.kind in PRODUCTS:
        common = strength if strength is not None else max((s[3] for s in layer.shares), key=abs)
        if strength is None:
            scaled_roles |= _scale_parts(layer, common)
        alpha = _new_alpha(layer, common)
        tensors.pop("alpha", None)
        if layer.rank is None and layer.scale * common != 1.0:
            role = _smaller_factor(tensors)
            scaled_roles[role] = tensors[role].float() * (layer.scale * common)
            wide.add(role)  # the small factor of a LoKr: float32 costs nothing and rounds nothing
        elif alpha is not None:
            tensors["alpha"] = alpha
    elif layer.kind == "ia3":
        scaled_roles |= _scale_ia3(layer)
    elif layer.kind in WHOLE - REPLACED and (strength is None or strength != 1.0):
        role = next(role for role in tensors if role not in _UNTOUCHED)
        scaled_roles[role] = _by_parts(tensors[role].float(), layer)
    elif layer.kind in REPLACED and strength != 1.0:
        notes.append("a replaced weight has no strength: it counts whole, as ComfyUI does it")
    if "reshape" in tensors and not options.resizing.keeps_all:
        notes.append("it enlarges the weight and keeps its rank")
    error = 0.0
    for role, tensor in tensors.items():
        exact = scaled_roles.get(role, tensor)
        dtype = exact.dtype if role in wide and options.dtype == AS_IN_FILE else _dtype(tensor, role, options)
        tensors[role] = cast_checked(exact, dtype, layer.name)
        error = max(error, _rounding(exact, tensors[role]))
    if error:
        dtype = options.dtype if options.dtype != AS_IN_FILE else "the file's dtype"
        notes.append(f"rounded to {dtype}: {error:.1e}")
    if not layer.stock_reads:
        notes.append("ComfyUI's own loader does not compute this format as its writer means it; Apply LoRA does")
    keyed = {layer.name + layer.suffixes.get(role, _suffix(role)): tensor for role, tensor in tensors.items()}
    return BakedLayer(keyed, "; ".join(notes), error or None)


def _suffix(role: str) -> str:
    known = {**_PLACES, "mid": ".lora_mid.weight", "reshape": ".reshape_weight", "ia3_weight": ".weight",
             "oft_R": ".oft_R.weight", **{name: f".{name}.weight" for name in ("a1", "a2", "b1", "b2")}}  # fmt: skip
    return known.get(role, f".{role}")


def _new_alpha(layer: BakeLayer, strength: float) -> Tensor | None:
    """Alpha that scales by the file's scale times ``strength``; ``None`` where none is needed."""
    import torch

    if layer.rank is None:
        return None
    alpha = layer.scale * layer.rank * strength
    stored = layer.tensors.get("alpha")
    if stored is None:
        return None if alpha == layer.rank else torch.tensor(alpha, dtype=torch.float32)
    # In the file's own dtype and shape where that holds the number exactly: at strength 1 it is the same tensor.
    same = torch.full_like(stored, alpha) if stored.is_floating_point() else stored.float()
    return same if float(same.reshape(-1)[0]) == torch.tensor(alpha).item() else torch.tensor(alpha)


def _smaller_factor(tensors: Mapping[str, Tensor]) -> str:
    whole = [role for role in ("lokr_w1", "lokr_w2") if role in tensors]
    return min(whole or list(tensors), key=lambda role: tensors[role].numel())


def _scale_parts(layer: BakeLayer, common: float) -> dict[str, Tensor]:
    """Rows of the up factor, or columns of the down factors, times their strength over ``common``."""
    dim = layer.shares[0][0]
    roles = (_ROW_ROLE[layer.kind],) if dim == 0 else _COLUMN_ROLES[layer.kind]
    relative = tuple((d, start, length, s / common) for d, start, length, s in layer.shares)
    return {role: _scale_slices(layer.tensors[role].float(), relative) for role in roles}


def _scale_slices(tensor: Tensor, shares: tuple[Share, ...]) -> Tensor:
    result = tensor.clone()
    for dim, start, length, factor in shares:
        if factor != 1.0:
            part = result.narrow(dim, start, length)
            if factor:
                part.mul_(factor)
            else:
                part.zero_()
    return result


def _by_parts(tensor: Tensor, layer: BakeLayer) -> Tensor:
    """A whole change times its strength or the strengths of its parts."""
    if layer.shares:
        return _scale_slices(tensor.reshape(layer.shape), layer.shares)
    return tensor * layer.strength


def _scale_ia3(layer: BakeLayer) -> dict[str, Tensor]:
    """LyCORIS stores the change itself, PEFT the factor, which is 1 plus the change."""
    import torch

    role = "ia3_weight" if "ia3_weight" in layer.tensors else "ia3_l"
    vector = layer.tensors[role].float()
    along = vector.reshape(-1)
    strengths = torch.full_like(along, layer.strength)
    on_input = "on_input" in layer.tensors and bool(layer.tensors["on_input"].float().any())
    dim = _ia3_dim(vector, layer.shape) if role == "ia3_l" else int(on_input)
    for share_dim, start, length, strength in layer.shares:
        if share_dim == dim:
            strengths[start : start + length] = strength
        elif layer.uniform is None:
            raise PatchbayError(f"{layer.name}: its parts have different strengths, which one IA3 cannot hold.")
        else:
            strengths[:] = strength
    if bool((strengths == 1).all()):
        return {}
    scaled = along * strengths if role == "ia3_weight" else 1 + (along - 1) * strengths
    return {role: scaled.reshape(vector.shape)}


def _ia3_dim(vector: Tensor, shape: tuple[int, ...]) -> int:
    if vector.dim() == 2 and vector.shape[1] == 1 and vector.shape[0] == shape[0]:
        return 0
    return 1 if len(shape) > 1 and vector.numel() == shape[1] else 0


# --- conversions --------------------------------------------------------------------------------------


def _factors(layer: BakeLayer) -> tuple[Tensor, Tensor] | None:
    return None if layer.dora else factors(layer.kind, layer.tensors, layer.scale)


def _as_difference(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    delta = _by_parts(_delta(layer), layer)
    stored = cast_checked(delta, _dtype(_sample(layer), "diff", options), layer.name)
    error = _rounding(delta, stored)
    suffix = ".diff_b" if layer.kind in ("diff_b", "norm_b") else ".diff"
    note = f"{layer.label} converted to a whole difference for this model"
    return BakedLayer({layer.name + suffix: stored}, note, error or None, converted=True)


def _as_lora(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    import torch

    made = _factors(layer)
    if not all(bool(tensor.float().isfinite().all()) for tensor in layer.tensors.values()):
        raise PatchbayError(
            f"{layer.name}: it holds infinite values or values that are no numbers, so no LoRA approximates it. Leave "
            "it out: give its block strength 0."
        )
    kernel = layer.shape[2:]
    dtype = _dtype(_sample(layer), "up", options)
    if made is not None:
        up, down = _factors_by_parts(made, layer)
        low = reduce_factors(up, down, options.resizing)
        stored = _stored(low, dtype, layer.name)
        error = factor_error(up, down, *stored)
    else:
        delta = _by_parts(_delta(layer), layer).flatten(1)
        low = reduce_dense(delta, options.resizing)
        stored = _stored(low, dtype, layer.name)
        error = dense_error(delta, *stored)
    up, down = stored
    tensors = {
        layer.name + layer.factor_suffixes[0]: up.reshape(*up.shape, *[1] * len(kernel)),
        layer.name + layer.factor_suffixes[1]: down.reshape(low.rank, layer.shape[1], *kernel),
        f"{layer.name}.alpha": torch.tensor(float(low.rank)),
    }
    converted = layer.kind != "lora" or layer.dora
    before = layer.rank or low.full_rank
    what = f"{layer.label} converted to a LoRA of rank {low.rank}" if converted else f"rank {before} to {low.rank}"
    if not low.full_rank:
        return BakedLayer(tensors, f"{what}: all zero", 0.0, converted)
    return BakedLayer(tensors, f"{what}: error {error:.2%}", error, converted)


def _factors_by_parts(made: tuple[Tensor, Tensor], layer: BakeLayer) -> tuple[Tensor, Tensor]:
    up, down = made
    if not layer.shares:
        return up * layer.strength, down
    rows = tuple(share for share in layer.shares if share[0] == 0)
    if rows:
        return _scale_slices(up, rows), down
    size = down.shape[1] // layer.shape[1]  # elements of the kernel
    columns = tuple((1, start * size, length * size, s) for _, start, length, s in layer.shares)
    return up, _scale_slices(down, columns)


def _stored(low: LowRank, dtype: DType, name: str) -> tuple[Tensor, Tensor]:
    return cast_checked(low.up, dtype, name), cast_checked(low.down, dtype, name)


def _delta(layer: BakeLayer) -> Tensor:
    if layer.delta is None:
        raise PatchbayError(_needs_weight(layer))
    return layer.delta().float().reshape(layer.shape)


def _sample(layer: BakeLayer) -> Tensor:
    """The largest tensor: its dtype is the layer's."""
    return max(layer.tensors.values(), key=lambda tensor: tensor.numel())


# --- dtypes -------------------------------------------------------------------------------------------


def _dtype(tensor: Tensor, role: str, options: BakeOptions) -> DType:
    import torch

    if role in _UNTOUCHED or options.dtype == AS_IN_FILE or not tensor.is_floating_point():
        return tensor.dtype
    return getattr(torch, options.dtype)


def cast_checked(tensor: Tensor, dtype: DType, name: str) -> Tensor:
    """The tensor in another dtype.

    Raises:
        PatchbayError: a value is too large for it.
    """
    result = tensor.to(dtype)
    if result is not tensor and result.is_floating_point() and tensor.is_floating_point():
        finite = bool(tensor.float().isfinite().all())
        if finite and not bool(result.float().isfinite().all()):
            raise PatchbayError(
                f"{name}: a value is too large for {str(dtype).removeprefix('torch.')}; choose float32 or bfloat16."
            )
    return result


def _rounding(exact: Tensor, stored: Tensor) -> float:
    """``|stored - exact| / |exact|``; 0 where nothing was rounded."""
    import torch

    if stored.dtype == exact.dtype or not exact.is_floating_point():
        return 0.0
    wide = exact.double()
    total = float(torch.linalg.vector_norm(wide))
    return float(torch.linalg.vector_norm(stored.double() - wide)) / total if total else 0.0

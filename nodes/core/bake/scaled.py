"""A layer in its own format, with its strength in alpha, in a factor, or in the rows and columns of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import PatchbayError
from .dtypes import cast_checked, dtype_for, rounding_error
from .layer import AS_IN_FILE, PLACES, PRODUCTS, REPLACED, UNTOUCHED, WHOLE, BakedLayer, BakeLayer, BakeOptions, Share

if TYPE_CHECKING:
    from torch import Tensor

_ROW_ROLE = {"lora": "up", "loha": "hada_w1_a"}
_COLUMN_ROLES = {"lora": ("down",), "loha": ("hada_w1_b",), "glora": ("a2", "b2")}


def same_format(layer: BakeLayer, options: BakeOptions) -> BakedLayer:
    """The layer in its own format, which :func:`.layer.obstacle` has allowed."""
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
        role = next(role for role in tensors if role not in UNTOUCHED)
        scaled_roles[role] = by_parts(tensors[role].float(), layer)
    elif layer.kind in REPLACED and strength != 1.0:
        notes.append("a replaced weight has no strength: it counts whole, as ComfyUI does it")
    if "reshape" in tensors and not options.resizing.keeps_all:
        notes.append("it enlarges the weight and keeps its rank")
    error = 0.0
    for role, tensor in tensors.items():
        exact = scaled_roles.get(role, tensor)
        dtype = exact.dtype if role in wide and options.dtype == AS_IN_FILE else dtype_for(tensor, role, options)
        tensors[role] = cast_checked(exact, dtype, layer.name)
        error = max(error, rounding_error(exact, tensors[role]))
    if error:
        dtype = options.dtype if options.dtype != AS_IN_FILE else "the file's dtype"
        notes.append(f"rounded to {dtype}: {error:.1e}")
    if not layer.stock_reads:
        notes.append("ComfyUI's own loader does not compute this format as its writer means it; Apply LoRA does")
    keyed = {layer.name + layer.suffixes.get(role, _suffix(role)): tensor for role, tensor in tensors.items()}
    return BakedLayer(keyed, "; ".join(notes), error or None)


def _suffix(role: str) -> str:
    known = {**PLACES, "mid": ".lora_mid.weight", "reshape": ".reshape_weight", "ia3_weight": ".weight",
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
    return {role: scale_slices(layer.tensors[role].float(), relative) for role in roles}


def scale_slices(tensor: Tensor, shares: tuple[Share, ...]) -> Tensor:
    """A copy with each share of the tensor times its strength."""
    result = tensor.clone()
    for dim, start, length, factor in shares:
        if factor != 1.0:
            part = result.narrow(dim, start, length)
            if factor:
                part.mul_(factor)
            else:
                part.zero_()
    return result


def by_parts(tensor: Tensor, layer: BakeLayer) -> Tensor:
    """A whole change times its strength or the strengths of its parts."""
    if layer.shares:
        return scale_slices(tensor.reshape(layer.shape), layer.shares)
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

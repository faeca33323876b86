"""Names that diffusers and its relatives give to the layers of a model, beside the model's own.

For files without ComfyUI at hand: where it runs, its own key map decides. A test compares the two for every
architecture here. Tables go both ways: a LoRA may use either spelling, and a model file may be stored in either.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .name_table import Target

Shapes = Mapping[str, tuple[int, ...]]
Part = tuple[int, int] | None
"""First row of a slice and its rows, in units of the weight's columns; ``None`` for the whole weight."""
Row = tuple[str, str, Part]
"""The model's own name, the other name, and the part it means. ``#`` stands for a block number, the same in both."""

_WEIGHT = ".weight"


def _qkv(own: str, other: str, names: tuple[str, ...] = ("to_q", "to_k", "to_v"), first: int = 0) -> tuple[Row, ...]:
    return tuple((own, f"{other}.{name}", (first + index, 1)) for index, name in enumerate(names))


def _same(own: str, other: str, names: Mapping[str, str]) -> tuple[Row, ...]:
    """Rows from the other names (joined with ``|`` where there are several) to the model's own."""
    rows = [(f"{own}{mine}", f"{other}{name}", None) for names_, mine in names.items() for name in names_.split("|")]
    return tuple(rows)


_ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")
_DOUBLE, _SINGLE = "double_blocks.#.", "single_blocks.#."
_D_DOUBLE, _D_SINGLE = "transformer_blocks.#.", "single_transformer_blocks.#."

_FLUX: tuple[Row, ...] = (
    *_qkv(f"{_DOUBLE}img_attn.qkv", f"{_D_DOUBLE}attn"),
    *_qkv(f"{_DOUBLE}txt_attn.qkv", f"{_D_DOUBLE}attn", _ADDED),
    *_same(_DOUBLE, _D_DOUBLE, {
        "attn.to_out.0": "img_attn.proj", "attn.to_add_out": "txt_attn.proj",
        "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin",
        "ff.net.0.proj|ff.linear_in": "img_mlp.0", "ff.net.2|ff.linear_out": "img_mlp.2",
        "ff_context.net.0.proj|ff_context.linear_in": "txt_mlp.0",
        "ff_context.net.2|ff_context.linear_out": "txt_mlp.2",
        "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
        "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    }),
    *_qkv(f"{_SINGLE}linear1", f"{_D_SINGLE}attn"),
    (f"{_SINGLE}linear1", f"{_D_SINGLE}proj_mlp", (3, 4)),  # FLUX.1's; FLUX.2 has six, and no layer of this name
    (f"{_SINGLE}linear1", f"{_SINGLE}linear1_qkv", (0, 3)),
    *_same(_SINGLE, _D_SINGLE, {
        "attn.to_qkv_mlp_proj": "linear1", "proj_out|attn.to_out": "linear2", "norm.linear": "modulation.lin",
        "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
    }),
    *_same("", "", {
        "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
        "norm_out.linear": "final_layer.adaLN_modulation.1", "controlnet_x_embedder": "pos_embed_input",
    }),
    *(row for own, other in (("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance"))
      for row in _same(f"{own}.", f"time_text_embed.{other}_embedder.", {
          "linear_1": "in_layer", "linear_2": "out_layer"})),
)  # fmt: skip

_JOINT = "joint_blocks.#."
_SD3: tuple[Row, ...] = (
    *_qkv(f"{_JOINT}x_block.attn.qkv", f"{_D_DOUBLE}attn"),
    *_qkv(f"{_JOINT}context_block.attn.qkv", f"{_D_DOUBLE}attn", _ADDED),
    *_qkv(f"{_JOINT}x_block.attn2.qkv", f"{_D_DOUBLE}attn2"),
    *_same(_JOINT, _D_DOUBLE, {
        "norm1_context.linear": "context_block.adaLN_modulation.1", "norm1.linear": "x_block.adaLN_modulation.1",
        "attn.to_add_out": "context_block.attn.proj", "attn.to_out.0": "x_block.attn.proj",
        "attn2.to_out.0": "x_block.attn2.proj",
        "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
        "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
        "attn.norm_added_q": "context_block.attn.ln_q", "attn.norm_added_k": "context_block.attn.ln_k",
        "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k",
        "attn2.norm_q": "x_block.attn2.ln_q", "attn2.norm_k": "x_block.attn2.ln_k",
    }),
    *_same("", "", {
        "context_embedder": "context_embedder", "pos_embed.proj": "x_embedder.proj", "pos_embed.pos_embed": "pos_embed",
        "norm_out.linear": "final_layer.adaLN_modulation.1", "proj_out": "final_layer.linear",
        "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
        "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    }),
)  # fmt: skip

_LUMINA: tuple[Row, ...] = (
    *(row for block in ("layers.#.", "context_refiner.#.", "noise_refiner.#.") for row in (
        *_qkv(f"{block}attention.qkv", f"{block}attention"),
        *_same(block, block, {"attention.to_out.0": "attention.out", "attention.norm_q": "attention.q_norm",
                              "attention.norm_k": "attention.k_norm"}),
    )),
    *_same("", "", {
        "all_final_layer.2-1.linear": "final_layer.linear", "all_x_embedder.2-1": "x_embedder",
        "all_final_layer.2-1.adaLN_modulation.1": "final_layer.adaLN_modulation.1",
    }),
)  # fmt: skip

_KREA2: tuple[Row, ...] = (
    *(row for own, other in (("blocks.#.", _D_DOUBLE),
                             ("txtfusion.layerwise_blocks.#.", "text_fusion.layerwise_blocks.#."),
                             ("txtfusion.refiner_blocks.#.", "text_fusion.refiner_blocks.#."))
      for row in _same(own, other, {
          "attn.to_q": "attn.wq", "attn.to_k": "attn.wk", "attn.to_v": "attn.wv", "attn.to_gate": "attn.gate",
          "attn.to_out.0|attn.to_out": "attn.wo", "ff.gate": "mlp.gate", "ff.up": "mlp.up", "ff.down": "mlp.down"})),
    *_same("", "", {
        "img_in": "first", "time_embed.linear_1": "tmlp.0", "time_embed.linear_2": "tmlp.2",
        "time_mod_proj": "tproj.1", "txt_in.linear_1": "txtmlp.1", "txt_in.linear_2": "txtmlp.3",
        "text_fusion.projector": "txtfusion.projector", "final_layer.linear": "last.linear",
    }),
)  # fmt: skip

_AURA_MLP = {"ff.linear_1": "c_fc1", "ff.linear_2": "c_fc2", "ff.out_projection": "c_proj"}
_AURA_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
_AURAFLOW: tuple[Row, ...] = (
    *_same("double_layers.#.", "joint_transformer_blocks.#.", {
        **{f"attn.{name}": f"attn.w2{letter}" for name, letter in _AURA_ATTENTION.items()},
        "attn.add_q_proj": "attn.w1q", "attn.add_k_proj": "attn.w1k", "attn.add_v_proj": "attn.w1v",
        "attn.to_add_out": "attn.w1o", "norm1.linear": "modX.1", "norm1_context.linear": "modC.1",
        **{name: f"mlpX.{own}" for name, own in _AURA_MLP.items()},
        **{name.replace("ff.", "ff_context."): f"mlpC.{own}" for name, own in _AURA_MLP.items()},
    }),
    *_same("single_layers.#.", _D_SINGLE, {
        **{f"attn.{name}": f"attn.w1{letter}" for name, letter in _AURA_ATTENTION.items()},
        "norm1.linear": "modCX.1", **{name: f"mlp.{own}" for name, own in _AURA_MLP.items()},
    }),
    *_same("", "", {
        "time_step_proj.linear_1": "t_embedder.mlp.0", "time_step_proj.linear_2": "t_embedder.mlp.2",
        "context_embedder": "cond_seq_linear", "pos_embed.proj": "init_x_linear", "proj_out": "final_linear",
        "norm_out.linear": "modF.1", "pos_embed.pos_embed": "positional_encoding",
    }),
)  # fmt: skip

_PIXART: tuple[Row, ...] = (
    *_qkv("blocks.#.attn.qkv", f"{_D_DOUBLE}attn1"),
    *_qkv("blocks.#.cross_attn.kv_linear", f"{_D_DOUBLE}attn2", ("to_k", "to_v")),
    *_same("blocks.#.", _D_DOUBLE, {
        "attn2.to_q": "cross_attn.q_linear", "attn1.to_out.0": "attn.proj", "attn2.to_out.0": "cross_attn.proj",
        "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2", "scale_shift_table": "scale_shift_table",
    }),
    *_same("", "", {
        "scale_shift_table": "final_layer.scale_shift_table",
        "caption_projection.y_embedding": "y_embedder.y_embedding",
        "pos_embed.proj": "x_embedder.proj", "adaln_single.linear": "t_block.1", "proj_out": "final_layer.linear",
        "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    }),
    *(row for own, other in (("t", "timestep"), ("csize", "resolution"), ("ar", "aspect_ratio"))
      for row in _same(f"{own}_embedder.mlp.", f"adaln_single.emb.{other}_embedder.", {
          "linear_1": "0", "linear_2": "2"})),
)  # fmt: skip

_HUNYUAN_BLOCKS: tuple[Row, ...] = (
    *(row for stream in ("img", "txt") for row in _same(f"{_DOUBLE}{stream}_", f"{_DOUBLE}{stream}_", {
        "mod.linear": "mod.lin", "attn_qkv": "attn.qkv", "attn_proj": "attn.proj",
        "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2"})),
    *_same(_SINGLE, _SINGLE, {"modulation.linear": "modulation.lin"}),
    *_same("txt_in.individual_token_refiner.blocks.#.mlp.", "txt_in.individual_token_refiner.blocks.#.mlp.", {
        "fc1": "0", "fc2": "2"}),
)  # fmt: skip
"""Tencent's own names, as diffusion-pipe writes them."""

TABLES: Mapping[str, tuple[Row, ...]] = {
    "flux1": _FLUX, "flux2": _FLUX, "chroma": _FLUX, "sd3": _SD3, "zimage": _LUMINA, "lumina2": _LUMINA,
    "krea2": _KREA2, "auraflow": _AURAFLOW, "pixart": _PIXART, "hunyuan_video": _HUNYUAN_BLOCKS,
}  # fmt: skip
"""By architecture id. The UNets of Stable Diffusion are counted out (:func:`unet_names`)."""

UNETS = frozenset({"sd15", "sd2", "sdxl", "sdxl_refiner"})

_FIRST_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _hashed(name: str) -> tuple[str, str]:
    """A name with ``#`` for its first block number, and that number."""
    match = _FIRST_NUMBER.search(name)
    return (name, "") if match is None else (f"{name[: match.start()]}#{name[match.end() :]}", match[0])


@lru_cache(32)
def _by_own(architecture: str) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in TABLES.get(architecture, ()):
        found[row[0]].append(row)
    return dict(found)


@lru_cache(32)
def _by_other(architecture: str) -> Mapping[str, Row]:
    found: dict[str, Row] = {}
    for row in TABLES.get(architecture, ()):
        found.setdefault(row[1], row)
    return found


def key_map(shapes: Shapes, architecture: str, prefix: str = "") -> dict[str, Target]:
    """Every name under which a LoRA may mean a layer of this model, to its weight; names without prefixes.

    Args:
        shapes: Weights by the model's own names (see :func:`own_names`).
        architecture: Id from the table of architectures; empty for an unknown one, which has its own names only.
        prefix: Put before the weights' keys.
    """
    names: dict[str, Target] = {}
    for key in shapes:
        names[key.removesuffix(_WEIGHT)] = f"{prefix}{key}"
    rows = _by_own(architecture)
    for key, shape in shapes.items() if rows else ():
        layer = key.removesuffix(_WEIGHT)
        if layer == key:
            continue
        hashed, number = _hashed(layer)
        for _, other, part in (*rows.get(layer, ()), *(rows.get(hashed, ()) if number else ())):
            target = _target(f"{prefix}{key}", shape, part)
            if target is not None:
                names.setdefault(other.replace("#", number), target)
    if architecture in UNETS:
        _add_unet_names(names, shapes, prefix)
    return names


def _target(key: str, shape: tuple[int, ...], part: Part) -> Target | None:
    if part is None:
        return key
    if len(shape) < 2:
        return None
    return key, (0, part[0] * shape[1], part[1] * shape[1])


def own_names(shapes: Shapes, architecture: str) -> dict[str, tuple[int, ...]]:
    """Weights of a model file by the names that they have when ComfyUI has loaded it.

    A file in diffusers' layout gets the model's own names, with q, k and v put together.
    """
    if architecture in UNETS and any(key.startswith("down_blocks.") for key in shapes):
        names = unet_names(shapes)
        return {names.get(layer, layer) + parameter: shape for layer, parameter, shape in _layers(shapes)}
    if architecture == "hunyuan_video":
        return {_hunyuan_name(key): shape for key, shape in shapes.items()}
    if architecture in ("flux1", "flux2", "chroma"):
        shapes = {re.sub(r"_norm\.scale$", "_norm.weight", key): shape for key, shape in shapes.items()}
    if not _is_other_layout(shapes, architecture):
        return dict(shapes)
    rows = _by_other(architecture)
    found: dict[str, tuple[int, ...]] = {}
    for layer, parameter, shape in _layers(shapes):
        hashed, number = _hashed(layer)
        row = rows.get(layer) or (rows.get(hashed) if number else None)
        if row is None:
            found[layer + parameter] = shape
            continue
        key = row[0].replace("#", number) + parameter
        # Parts follow each other without gaps, so that their rows add up.
        before = found.get(key, (0,))[0] if row[2] is not None else 0
        found[key] = (before + shape[0], *shape[1:]) if shape else shape
    return found


def _is_other_layout(shapes: Shapes, architecture: str) -> bool:
    """Whether the file names its attention as diffusers does: own names of these layers differ in every family."""
    marks = {
        "flux1": "transformer_blocks.", "flux2": "transformer_blocks.", "chroma": "transformer_blocks.",
        "sd3": "transformer_blocks.", "pixart": "transformer_blocks.", "krea2": "transformer_blocks.",
        "auraflow": "joint_transformer_blocks.",
    }  # fmt: skip
    mark = marks.get(architecture)
    if mark is not None:
        return any(key.startswith(mark) for key in shapes)
    return architecture in ("zimage", "lumina2") and "layers.0.attention.to_q.weight" in shapes


def _layers(shapes: Shapes) -> Iterable[tuple[str, str, tuple[int, ...]]]:
    for key, shape in shapes.items():
        layer, dot, parameter = key.rpartition(".")
        yield (layer, f".{parameter}", shape) if dot and parameter in ("weight", "bias") else (key, "", shape)


_HUNYUAN: tuple[tuple[str, str], ...] = (
    ("txt_in.t_embedder.mlp.0.", "txt_in.t_embedder.in_layer."),
    ("txt_in.t_embedder.mlp.2.", "txt_in.t_embedder.out_layer."),
    ("txt_in.c_embedder.linear_1.", "txt_in.c_embedder.in_layer."),
    ("txt_in.c_embedder.linear_2.", "txt_in.c_embedder.out_layer."),
    ("_mod.linear.", "_mod.lin."), ("_attn_qkv.", "_attn.qkv."), ("mlp.fc1.", "mlp.0."), ("mlp.fc2.", "mlp.2."),
    ("_attn_proj.", "_attn.proj."), (".modulation.linear.", ".modulation.lin."),
    ("_attn_q_norm.weight", "_attn.norm.query_norm.weight"), ("_attn_k_norm.weight", "_attn.norm.key_norm.weight"),
    (".q_norm.weight", ".norm.query_norm.weight"), (".k_norm.weight", ".norm.key_norm.weight"),
    ("_in.mlp.2.", "_in.out_layer."), ("_in.mlp.0.", "_in.in_layer."),
)  # fmt: skip
"""Tencent's names to those of ComfyUI, in this order."""


def _hunyuan_name(key: str) -> str:
    for old, new in _HUNYUAN:
        key = key.replace(old, new)
    return re.sub(r"_norm\.scale$", "_norm.weight", key)


# --- UNets of Stable Diffusion ---------------------------------------------------------------------------

_RESNET = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_UNET_BASIC = {
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
}  # fmt: skip


def _add_unet_names(names: dict[str, Target], shapes: Shapes, prefix: str) -> None:
    for other, own in unet_names(shapes).items():
        key = f"{own}{_WEIGHT}"
        if key not in shapes:
            continue
        names.setdefault(other, f"{prefix}{key}")
        # Attention processors of old diffusers.
        old = other.replace(".to_", ".processor.to_")
        names.setdefault(old.removesuffix(".0") if old.endswith(".to_out.0") else old, f"{prefix}{key}")
        if own.startswith("label_emb.0."):
            names.setdefault(other.replace("add_embedding", "class_embedding"), f"{prefix}{key}")


def unet_names(shapes: Shapes) -> dict[str, str]:
    """Layers of a UNet by diffusers' names to the original ones, counted out from whichever the file uses."""
    names = {other: own for own, other in _UNET_BASIC.items()}
    levels = _levels(shapes)
    count, to_old = len(levels), any(key.startswith("down_blocks.") for key in shapes)
    layers = {layer for layer, _, _ in _layers(shapes)}
    for own, other, kind in _unet_places(levels):
        _match_inside(names, layers, own, other, kind, to_old)
    block = 0
    for level, resnets in enumerate(levels):
        block += resnets + 1
        if level < count - 1:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{block}.0.op"
    block = -1
    for level, resnets in enumerate(reversed(levels)):
        block += resnets + 1
        if level < count - 1:
            # It stands behind the attention where the block has one.
            attention = f"up_blocks.{level}.attentions." if to_old else f"output_blocks.{block}.1.proj_in"
            place = 2 if any(layer.startswith(attention) for layer in layers) else 1
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{block}.{place}.conv"
    return names


def _levels(shapes: Shapes) -> list[int]:
    """Resnets of each level on the way down."""
    counts: dict[int, int] = {}
    if any(key.startswith("down_blocks.") for key in shapes):
        for key in shapes:
            match = re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.", key)
            if match:
                counts[int(match[1])] = max(counts.get(int(match[1]), 0), int(match[2]) + 1)
        return [counts[level] for level in sorted(counts)]
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"input_blocks\.(\d+)\.", key))}
    levels = [0]
    for block in range(1, max(blocks, default=0) + 1):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            levels.append(0)
        else:
            levels[-1] += 1
    return levels


def _unet_places(levels: list[int]) -> Iterable[tuple[str, str, str]]:
    """Original place, diffusers' place, and what stands there: ``resnet`` or ``attention``."""
    block = 0
    for level, resnets in enumerate(levels):
        for number in range(resnets):
            block += 1
            yield f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{number}", "resnet"
            yield f"input_blocks.{block}.1", f"down_blocks.{level}.attentions.{number}", "attention"
        block += 1
    yield "middle_block.0", "mid_block.resnets.0", "resnet"
    yield "middle_block.1", "mid_block.attentions.0", "attention"
    yield "middle_block.2", "mid_block.resnets.1", "resnet"
    block = 0
    for level, resnets in enumerate(reversed(levels)):
        for number in range(resnets + 1):
            yield f"output_blocks.{block}.0", f"up_blocks.{level}.resnets.{number}", "resnet"
            yield f"output_blocks.{block}.1", f"up_blocks.{level}.attentions.{number}", "attention"
            block += 1


def _match_inside(names: dict[str, str], layers: Iterable[str], own: str, other: str, kind: str, to_old: bool) -> None:
    if kind == "resnet":
        names.update({f"{other}.{new}": f"{own}.{old}" for old, new in _RESNET.items()})
        return
    here = f"{other if to_old else own}."
    for layer in layers:
        inside = layer[len(here) :] if layer.startswith(here) else ""
        if inside.startswith(("transformer_blocks.", "norm", "proj_in", "proj_out")):
            names[f"{other}.{inside}"] = f"{own}.{inside}"

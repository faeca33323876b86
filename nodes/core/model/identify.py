"""Which architecture names and shapes belong to, and why. A new architecture is an entry of ``ARCHITECTURES``.

Names are those of :mod:`.facts`: underscores for dots, ``#`` for block numbers, both of ComfyUI's models and of
diffusers. Shape rules and counts are those that ComfyUI's ``model_detection.py`` reads, and of the trainers' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .facts import Facts


@dataclass(frozen=True)
class ArchitectureMatch:
    """An architecture, how sure it is, and why."""

    id: str
    """Stable name; empty where nothing in the table fits."""
    name: str
    """For people, with the variant: ``FLUX.2 Klein 4B``."""
    certainty: str
    """``certain`` (a mark that only it has), ``likely`` (fits it alone in the table) or ``ambiguous``."""
    evidence: tuple[str, ...] = ()
    hidden_size: int | None = None


_EVIDENCE_SHOWN = 3

Rule = Callable[[Facts], str]
"""Returns the sentence of evidence, or an empty text where the rule does not hold."""


def has(pattern: str, sentence: str) -> Rule:
    """A name matches ``pattern``."""
    return lambda facts: f"{sentence} ({name})" if (name := facts.find(pattern)) else ""


def ratio(pattern: str, value: float, sentence: str) -> Rule:
    """A matching layer has ``value`` times as many rows as columns."""

    def rule(facts: Facts) -> str:
        for name in facts.names(pattern):
            rows, columns = facts.shapes[name]
            if rows and columns and abs(rows / columns - value) < 1e-6:
                return f"{sentence} ({name} is {rows} x {columns})"
        return ""

    return rule


def columns(pattern: str, values: tuple[int, ...], sentence: str) -> Rule:
    """A matching layer has one of these numbers of columns."""

    def rule(facts: Facts) -> str:
        for name in facts.names(pattern):
            if facts.shapes[name][1] in values:
                return f"{sentence} ({name} has {facts.shapes[name][1]} columns)"
        return ""

    return rule


def times_hidden(pattern: str, axis: int, factor: int, sentence: str) -> Rule:
    """A matching layer is ``factor`` times the hidden size high (axis 0) or wide (axis 1), in the FLUX family."""

    def rule(facts: Facts) -> str:
        hidden = _first(facts, _FLUX_HIDDEN)
        for name in facts.names(pattern) if hidden else ():
            size = facts.shapes[name][axis]
            if size == factor * (hidden or 0):
                return f"{sentence} ({name} has {size} {'columns' if axis else 'rows'}, hidden size {hidden})"
        return ""

    return rule


def blocks_between(kind: str, low: int, high: int) -> Rule:
    """Blocks of this kind are numbered up to a count from ``low`` to ``high``."""

    def rule(facts: Facts) -> str:
        count = facts.blocks.get(kind, 0)
        return f"{kind} are numbered up to {count - 1}" if low <= count <= high else ""

    return rule


def both(first: Rule, second: Rule) -> Rule:
    """Both rules hold."""
    return lambda facts: f"{a}; {b}" if (a := first(facts)) and (b := second(facts)) else ""


@dataclass(frozen=True)
class Architecture:
    """An entry of the table."""

    id: str
    name: str
    marks: tuple[Rule, ...]
    """Any of them is enough."""
    hints: tuple[Rule, ...] = ()
    """Fit it, and perhaps others."""
    against: tuple[Rule, ...] = ()
    """Any of them excludes it."""
    hidden: tuple[tuple[str, int], ...] = ()
    """Where the hidden size stands: pattern and axis (0 rows, 1 columns)."""
    variant: Callable[[Facts, int | None], str] | None = None
    """Full name from facts and hidden size."""

    def hidden_size(self, facts: Facts) -> int | None:
        """The hidden size, or ``None`` where no layer tells."""
        for pattern, axis in self.hidden:
            size = facts.rows(pattern) if axis == 0 else facts.columns(pattern)
            if size:
                return size
        return None


def _counted(facts: Facts, *kinds: tuple[tuple[str, str], str]) -> str:
    parts = [
        f"{count} {word}"
        for names, word in kinds
        if (count := max((facts.blocks.get(name, 0) for name in names), default=0))
    ]
    return " + ".join(parts)


def _flux2(facts: Facts, hidden: int | None) -> str:
    known = {3072: ("FLUX.2 Klein 4B", 5, 20), 4096: ("FLUX.2 Klein 9B", 8, 24), 6144: ("FLUX.2 dev", 8, 48)}
    double = max(facts.blocks.get("double_blocks", 0), facts.blocks.get("transformer_blocks", 0))
    single = max(facts.blocks.get("single_blocks", 0), facts.blocks.get("single_transformer_blocks", 0))
    if hidden in known:
        name, doubles, singles = known[hidden]
        if (double, single) == (doubles, singles) or (not facts.whole and double <= doubles and single <= singles):
            return name
    counts = _counted(
        facts,
        (("double_blocks", "transformer_blocks"), "double"),
        (("single_blocks", "single_transformer_blocks"), "single"),
    )
    details = [f"hidden {hidden}"] if hidden else []
    if counts:
        details.append(f"{counts} blocks" if facts.whole else f"up to {counts} blocks")
    return f"FLUX.2 ({', '.join(details)})" if details else "FLUX.2"


def _by_hidden(base: str, names: dict[int, str], kind: str = "") -> Callable[[Facts, int | None], str]:
    def variant(facts: Facts, hidden: int | None) -> str:
        if hidden in names:
            return names[hidden]
        count = facts.blocks.get(kind, 0)
        details = [f"hidden {hidden}"] if hidden else []
        details += [f"{count} blocks"] if count and facts.whole else []
        return f"{base} ({', '.join(details)})" if details else base

    return variant


def _wan(facts: Facts, hidden: int | None) -> str:
    size = {1536: "Wan 2.1 1.3B", 3072: "Wan 2.2 5B", 5120: "Wan 2.x 14B"}
    name = size.get(hidden or 0, f"Wan 2.x (hidden {hidden})" if hidden else "Wan 2.x")
    if facts.find(r"cross_attn_k_img|add_k_proj"):
        return f"{name}, image to video"
    return f"{name}, VACE" if facts.find(r"^vace_blocks_") else name


_UNET = r"^(?:input_blocks|middle_block|output_blocks|down_blocks|mid_block|up_blocks)_"
_UNET_CONTEXT = _UNET + r".*attn2_(?:processor_)?to_[kv]$"
_NOT_SINGLE = has(r"^single_(?:transformer_)?blocks_", "has single-stream blocks")
_FLUX_HIDDEN = (
    (r"^single_blocks_#_linear1$", 1),
    (r"^double_blocks_#_(?:img|txt)_attn_(?:qkv|proj)$", 1),
    (r"^double_blocks_#_(?:img|txt)_mlp_0$", 1),
    (r"^single_transformer_blocks_#_(?:attn_to_(?:q|k|v|qkv_mlp_proj)|proj_mlp)$", 1),
    (r"^transformer_blocks_#_attn_(?:to|add)_[qkv](?:_proj)?$", 1),
    (r"^transformer_blocks_#_ff_(?:linear_in|net_#_proj)$", 1),
    (r"^single_blocks_#_linear2$", 0),
    (r"processor_qkv_lora\d?$", 1),
    (r"^img_in$", 0),
    (r"^(?:single_blocks_#_linear2|double_blocks_#_(?:img|txt)_attn_proj)$", 0),
    (r"^(?:single_)?transformer_blocks_#_attn_to_(?:out|add_out|out_0|q|k|v)$", 0),
)
_FLUX_NAMES = has(r"^(?:double_blocks_#_(?:img|txt)_attn_|single_blocks_#_linear[12])", "names of the FLUX family")
_FLUX_ATTENTION = has(
    r"^(?:double_blocks_#_(?:img|txt)_attn_|single_blocks_#_linear[12]|(?:single_)?transformer_blocks_#_attn_)",
    "attention of the FLUX family",
)
_NOT_FLUX2 = (
    times_hidden(r"^single_blocks_#_linear2$", 1, 5, "single blocks end 5 x hidden wide, FLUX.2's 4 x"),
    times_hidden(r"^double_blocks_#_(?:img|txt)_mlp_2$", 1, 4, "its MLP is 4 x hidden wide, FLUX.2's 3 x"),
)
_LUMINA_HIDDEN = (
    (r"^(?:layers|noise_refiner|context_refiner)_#_(?:attention_(?:qkv|to_[qkv])|feed_forward_w[13])$", 1),
)
_REAL_SIZES = {"FLUX.1": (3072,), "FLUX.2": (3072, 4096, 6144), "Qwen-Image": (3072,), "SD3": (1536, 2432)}


def _maybe(name: str, sizes: tuple[int, ...]) -> Rule:
    """The hidden size is one of the architecture's, or tells nothing because no published model has it."""

    def rule(facts: Facts) -> str:
        hidden = _first(facts, _FLUX_HIDDEN)
        if hidden in sizes:
            return f"hidden size {hidden} as {name}"
        published = any(hidden in others for others in _REAL_SIZES.values())
        return "" if published else f"hidden size {hidden or 'unknown'}, which no published model has"

    return rule


def _maybe_flux2(facts: Facts) -> str:
    double = max(facts.blocks.get("double_blocks", 0), facts.blocks.get("transformer_blocks", 0))
    single = max(facts.blocks.get("single_blocks", 0), facts.blocks.get("single_transformer_blocks", 0))
    if _first(facts, _FLUX_HIDDEN) == 3072 and (double > 5 or single > 20):
        return ""  # Klein 4B, the only FLUX.2 of that size, has 5 and 20
    return _maybe("FLUX.2", _REAL_SIZES["FLUX.2"])(facts)


def _maybe_flux1(facts: Facts) -> str:
    if facts.blocks.get("double_blocks", 0) > 19 or facts.blocks.get("transformer_blocks", 0) > 19:
        return ""
    return _maybe("FLUX.1", _REAL_SIZES["FLUX.1"])(facts)


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(
        "flux2", "FLUX.2",
        marks=(
            has(r"^(?:double|single)_stream_modulation", "modulation is shared by all blocks"),
            ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, "its MLP is gated: 6 x hidden rows, FLUX.1 has 4 x"),
            ratio(r"^single_blocks_#_linear1$", 9, "single blocks have 9 x hidden rows, FLUX.1 has 7 x"),
            has(r"_attn_to_qkv_mlp_proj$", "diffusers names of FLUX.2"),
            has(r"^transformer_blocks_#_ff(?:_context)?_linear_(?:in|out)$", "diffusers names of FLUX.2"),
            times_hidden(r"^single_blocks_#_linear1$", 0, 9, "single blocks have 9 x hidden rows, FLUX.1 has 7 x"),
            times_hidden(r"^single_blocks_#_linear2$", 1, 4, "single blocks end 4 x hidden wide, FLUX.1's 5 x"),
            times_hidden(r"^double_blocks_#_(?:img|txt)_mlp_2$", 1, 3, "its MLP is 3 x hidden wide, FLUX.1's 4 x"),
            both(columns(r"^(?:txt_in|context_embedder)$", (7680, 12288, 15360), "context width of FLUX.2"),
                 _FLUX_NAMES),
        ),
        hints=(both(_FLUX_ATTENTION, _maybe_flux2),),
        against=(
            ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 4, ""), ratio(r"^single_blocks_#_linear1$", 7, ""),
            has(r"^double_blocks_#_(?:img|txt)_mod_lin|distilled_guidance_layer|^vector_in", ""),
            has(r"^single_transformer_blocks_#_(?:proj_mlp|proj_out|norm_linear|attn_to_[qkv])$", ""),
            has(r"^transformer_blocks_#_(?:ff(?:_context)?_net|img_mlp|txt_mlp)_", ""), *_NOT_FLUX2,
            has(r"processor_(?:qkv|proj)_lora", ""), has(r"individual_token_refiner|img_mlp_fc", ""),
        ),
        hidden=_FLUX_HIDDEN, variant=_flux2,
    ),
    Architecture(
        "chroma", "Chroma",
        marks=(has(r"^distilled_guidance_layer", "modulation comes from a distilled guidance layer"),),
        hidden=_FLUX_HIDDEN,
        variant=lambda f, h: "Chroma Radiance" if f.find(r"^nerf_blocks_") else "Chroma",
    ),
    Architecture(
        "hunyuan_video", "HunyuanVideo",
        marks=(
            has(r"individual_token_refiner|^context_embedder_token_refiner", "text goes through a token refiner"),
            has(r"^double_blocks_#_(?:img|txt)_(?:mlp_fc[12]|mod_linear)$", "original names of HunyuanVideo"),
            blocks_between("double_blocks", 20, 20), blocks_between("single_blocks", 39, 40),
        ),
        against=(ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""), has(r"_stream_modulation", ""),
                 ratio(r"^single_blocks_#_linear1$", 9, "")),
        hidden=_FLUX_HIDDEN,
    ),
    Architecture(
        "flux1", "FLUX.1",
        marks=(
            ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 4, "its MLP is not gated: 4 x hidden rows, FLUX.2 has 6 x"),
            ratio(r"^single_blocks_#_linear1$", 7, "single blocks have 7 x hidden rows, FLUX.2 has 9 x"),
            has(r"^(?:double_blocks_#_(?:img|txt)_mod_lin|single_blocks_#_modulation_lin)",
                "each block has its own modulation"),
            has(r"^vector_in_|^time_text_embed_text_embedder", "takes a pooled text vector"),
            has(r"^single_transformer_blocks_#_(?:proj_mlp|proj_out|norm_linear)$", "diffusers names of FLUX.1"),
            has(r"processor_(?:qkv|proj)_lora\d?$", "XLabs processors exist for FLUX.1 alone"),
            both(has(r"^single_transformer_blocks_#_attn_to_q$", "single blocks with separate q"),
                 has(r"^transformer_blocks_#_ff(?:_context)?_net_#_", "plain feed-forward")),
            times_hidden(r"^single_blocks_#_linear1$", 0, 7, "single blocks have 7 x hidden rows, FLUX.2 has 9 x"),
            *_NOT_FLUX2,
            both(_FLUX_NAMES, blocks_between("double_blocks", 9, 19)),
        ),
        hints=(both(_FLUX_ATTENTION, _maybe_flux1),),
        against=(has(r"_stream_modulation|qkv_mlp_proj|individual_token_refiner|_ff(?:_context)?_linear_", ""),
                 has(r"^transformer_blocks_#_(?:img|txt)_mlp_", ""), has(r"^pos_embed_proj$", ""),
                 ratio(r"^double_blocks_#_(?:img|txt)_mlp_0$", 6, ""),
                 ratio(r"^single_blocks_#_linear1$", 9, "")),
        hidden=_FLUX_HIDDEN,
    ),
    Architecture(
        "qwen_image", "Qwen-Image",
        marks=(
            has(r"^transformer_blocks_#_(?:img|txt)_(?:mlp_net_#|mod_1)", "image and text MLPs named img_mlp, txt_mlp"),
            both(has(r"^transformer_blocks_#_attn_(?:to_q|add_q_proj)$", "joint attention"),
                 blocks_between("transformer_blocks", 39, 60)),
        ),
        hints=(both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention without single blocks"),
                    _maybe("Qwen-Image", (3072,))),),
        against=(_NOT_SINGLE, has(r"^transformer_blocks_#_img_mlp_w[123]$|_ff_linear_", ""),
                 has(r"^transformer_blocks_#_ff_(?:context_)?net", "")),
        hidden=_FLUX_HIDDEN,
    ),
    Architecture(
        "sd3", "SD3",
        marks=(has(r"^joint_blocks_#_(?:x|context)_block_", "joint blocks"),
               both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention"),
                    has(r"^pos_embed_proj$|^transformer_blocks_#_norm1_context_linear$|_ff_context_net_#_proj$",
                        "diffusers names of SD3"))),
        hints=(both(has(r"^transformer_blocks_#_attn_(?:to|add)_[qkv]", "joint attention"),
                    _maybe("SD3", (1536, 2432))),),
        against=(_NOT_SINGLE, has(r"img_mlp|_ff_linear_", "")),
        hidden=((r"^joint_blocks_#_x_block_attn_(?:qkv|proj)$", 1), (r"^joint_blocks_#_context_block_attn_qkv$", 1),
                *_FLUX_HIDDEN),
        variant=_by_hidden("SD3", {1536: "SD3 / SD3.5 medium", 2432: "SD3.5 large"}, "joint_blocks"),
    ),
    Architecture(
        "anima", "Anima",
        marks=(has(r"^llm_adapter_", "has an adapter from a language model"),),
        hints=(both(has(r"^blocks_#_(?:self|cross)_attn_[qkv]_proj$", "attention of Cosmos Predict 2"),
                    lambda f: "hidden size 2048" if f.columns(r"^blocks_#_self_attn_[qkv]_proj$") == 2048 else ""),),
        hidden=((r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1)),
    ),
    Architecture(
        "cosmos_predict2", "Cosmos Predict 2",
        marks=(both(has(r"^blocks_#_adaln_modulation_self_attn", "AdaLN with a low-rank table"),
                    lambda f: "no language-model adapter" if f.whole and not f.find(r"^llm_adapter_") else ""),),
        hints=(has(r"^blocks_#_(?:(?:self|cross)_attn_[qkv]_proj|mlp_layer[12])$", "names of Cosmos Predict 2"),),
        against=(has(r"^llm_adapter_", ""),),
        hidden=((r"^blocks_#_self_attn_[qkv]_proj$", 1), (r"^blocks_#_mlp_layer1$", 1)),
        variant=_by_hidden("Cosmos Predict 2", {2048: "Cosmos Predict 2 2B", 5120: "Cosmos Predict 2 14B"}, "blocks"),
    ),
    Architecture(
        "krea2", "Krea 2",
        marks=(has(r"^(?:txtfusion|text_fusion)_", "text layers are fused by txtfusion"),
               has(r"^blocks_#_attn_w[qkvo]$", "attention named wq, wk, wv, wo"),
               has(r"^transformer_blocks_#_attn_to_gate$", "gated attention with diffusers names")),
        hidden=((r"^blocks_#_attn_wq$", 1), (r"^first$", 0), (r"^transformer_blocks_#_attn_to_q$", 1)),
    ),
    Architecture(
        "zimage", "Z-Image",
        marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                    lambda f: "hidden size 3840, Lumina 2 has 2304" if _lumina_hidden(f) == 3840 else ""),
               has(r"^cap_pad_token$", "has padding tokens")),
        hidden=(*_LUMINA_HIDDEN, (r"^x_pad_token$", 1)),
    ),
    Architecture(
        "lumina2", "Lumina 2",
        marks=(both(has(r"^(?:layers|noise_refiner|context_refiner)_#_", "layers with refiners"),
                    lambda f: "hidden size 2304, Z-Image has 3840" if _lumina_hidden(f) == 2304 else ""),),
        hints=(has(r"^(?:layers|noise_refiner)_#_(?:attention_(?:qkv|to_[qkv]|out)|feed_forward_w[123])",
                   "names of Lumina 2 and Z-Image"),),
        against=(has(r"^cap_pad_token$", ""), lambda f: "x" if _lumina_hidden(f) == 3840 else ""),
        hidden=_LUMINA_HIDDEN,
        variant=_by_hidden("Lumina 2", {2304: "Lumina 2"}, "layers"),
    ),
    Architecture(
        "wan", "Wan 2.x",
        marks=(has(r"^blocks_#_(?:self|cross)_attn_(?:[qkvo]|[kv]_img)$", "self- and cross-attention named q, k, v, o"),
               has(r"^blocks_#_ffn_(?:[02]$|net_)", "feed-forward named ffn"), has(r"^vace_blocks_#", "VACE blocks"),
               has(r"^head_modulation$", "modulated head")),
        hints=(has(r"^blocks_#_attn[12]_to_[qkv]$", "diffusers names of Wan"),),
        hidden=((r"^blocks_#_self_attn_[qkvo]$", 1), (r"^blocks_#_ffn_0$", 1), (r"^blocks_#_attn1_to_[qkv]$", 1),
                (r"^blocks_#_cross_attn_[qo]$", 1)),
        variant=_wan,
    ),
    Architecture(
        "ltx", "LTX-Video",
        marks=(has(r"^patchify_proj$|^audio_adaln_single|_audio_attn", "names of LTX"),
               both(has(r"^adaln_single_", "one AdaLN"), has(r"^transformer_blocks_#_attn1_to_q", "video attention")),
               both(has(r"^transformer_blocks_#_attn[12]_to_[qkv]$", "self- and cross-attention blocks"),
                    lambda f: "hidden size of LTX"
                    if f.columns(r"^transformer_blocks_#_attn1_to_[qkv]$") in (2048, 4096) else "")),
        hints=(has(r"^transformer_blocks_#_attn[12]_to_[qkv]", "self- and cross-attention blocks without a UNet"),),
        against=(has(r"^pos_embed_proj$", ""),),
        hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1), (r"^patchify_proj$", 0)),
        variant=lambda f, h: "LTX-2" if f.find(r"audio") else {2048: "LTX-Video 2B", 4096: "LTX-Video 13B"}.get(
            h or 0, f"LTX-Video (hidden {h})" if h else "LTX-Video"),
    ),
    Architecture(
        "sdxl", "SDXL",
        marks=(columns(_UNET_CONTEXT, (2048,), "cross-attention takes 2048 columns (CLIP-L and CLIP-G)"),
               both(has(_UNET, "a UNet"), lambda f: f"{f.inner_depth} transformer blocks deep, SD 1.5 and 2 have one"
                    if f.inner_depth > 1 else ""),
               both(has(_UNET, "a UNet"),
                    columns(r"^label_emb_#_|^add_embedding_linear_1$", (2816,), "size conditions"))),
        hints=(has(_UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),),
        against=(columns(_UNET_CONTEXT, (768, 1024, 1280), ""),
                 lambda f: "x" if 0 < f.inner_depth < 2 and f.whole else ""),
    ),
    Architecture(
        "sdxl_refiner", "SDXL refiner",
        marks=(columns(_UNET_CONTEXT, (1280,), "cross-attention takes 1280 columns (CLIP-G)"),),
    ),
    Architecture(
        "sd2", "SD 2",
        marks=(columns(_UNET_CONTEXT, (1024,), "cross-attention takes 1024 columns (OpenCLIP-H)"),),
        hints=(has(_UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),),
        against=(columns(_UNET_CONTEXT, (768, 2048, 1280), ""), lambda f: "x" if f.inner_depth > 1 else ""),
    ),
    Architecture(
        "sd15", "SD 1.5",
        marks=(columns(_UNET_CONTEXT, (768,),
                       "cross-attention takes 768 columns (CLIP-L)"),),
        hints=(has(_UNET + r".*attn[12]_(?:processor_)?to_[qkv]$", "a UNet with attention"),
               both(has(r"^unet:\d+$", "layers by number, as cloneofsimo writes SD 1.5"),
                    lambda f: "some take 768 columns" if 768 in f.in_widths and 1024 not in f.in_widths else "")),
        against=(columns(_UNET_CONTEXT, (1024, 2048, 1280), ""), lambda f: "x" if f.inner_depth > 1 else ""),
    ),
    Architecture("hidream", "HiDream", marks=(has(r"^(?:double|single)_stream_blocks_#_block_", "stream blocks"),
                                              has(r"^caption_projection_#_linear$", "caption projections"))),
    Architecture("auraflow", "AuraFlow", marks=(has(r"^double_layers_#_attn_w1q$", "double layers"),
                                                has(r"^joint_transformer_blocks_#_", "joint, then single blocks"))),
    Architecture(
        "pixart", "PixArt",
        marks=(has(r"^blocks_#_cross_attn_(?:q|kv)_linear$", "attention named kv_linear"),
               has(r"^t_block_1$", "one AdaLN table"),
               both(has(r"^adaln_single_", "one AdaLN"), has(r"^pos_embed_proj$", "position embedding of PixArt")),
               both(has(r"^transformer_blocks_#_attn[12]_to_[qkv]$", "self- and cross-attention blocks"),
                    lambda f: "hidden size 1152"
                    if f.columns(r"^transformer_blocks_#_attn1_to_[qkv]$") == 1152 else "")),
    ),
    Architecture("kandinsky5", "Kandinsky 5", marks=(has(r"^visual_transformer_blocks_#_", "visual blocks"),)),
    Architecture("mochi", "Mochi", marks=(has(r"^t5_yproj$", "T5 pooling"),)),
    Architecture("omnigen2", "OmniGen 2", marks=(has(r"^time_caption_embed_", "time and caption embedded together"),)),
    Architecture("lens", "Lens", marks=(has(r"^transformer_blocks_#_img_mlp_w[123]$", "gated image MLP w1, w2, w3"),)),
)  # fmt: skip
"""Tried in order: first by marks, then by hints."""


def _first(facts: Facts, places: tuple[tuple[str, int], ...]) -> int | None:
    for pattern, axis in places:
        size = facts.rows(pattern) if axis == 0 else facts.columns(pattern)
        if size:
            return size
    return None


def _lumina_hidden(facts: Facts) -> int | None:
    return facts.columns(
        r"^(?:layers|noise_refiner|context_refiner)_#_(?:attention_(?:qkv|to_[qkv]|q|k|v)|feed_forward_w[13])$"
    ) or facts.rows(r"^(?:layers|noise_refiner|context_refiner)_#_attention_(?:out|to_out_0)$")


def identify_architecture(facts: Facts) -> ArchitectureMatch:
    """The architecture that names and shapes belong to; an unknown one is described by its own containers."""
    open_entries = [entry for entry in ARCHITECTURES if not any(rule(facts) for rule in entry.against)]
    for entry in open_entries:
        evidence = tuple(dict.fromkeys(text for rule in entry.marks if (text := rule(facts))))
        if evidence:
            return _match(entry, facts, "certain", evidence[:_EVIDENCE_SHOWN])
    found = [
        (entry, evidence)
        for entry in open_entries
        if (evidence := tuple(text for rule in entry.hints if (text := rule(facts))))
    ]
    if len(found) == 1:
        return _match(found[0][0], facts, "likely", found[0][1])
    if found:
        matches = [_match(entry, facts, "ambiguous", evidence) for entry, evidence in found]
        names = " or ".join(match.name.partition(" (")[0] for match in matches)
        evidence = tuple(dict.fromkeys(text for match in matches for text in match.evidence))
        note = "the file changes only layers that these architectures share"
        return ArchitectureMatch(matches[0].id, names, "ambiguous", (*evidence, note), matches[0].hidden_size)
    return _unknown(facts)


def _match(entry: Architecture, facts: Facts, certainty: str, evidence: tuple[str, ...]) -> ArchitectureMatch:
    hidden = entry.hidden_size(facts)
    name = entry.variant(facts, hidden) if entry.variant else entry.name
    return ArchitectureMatch(entry.id, name, certainty, evidence, hidden)


def _unknown(facts: Facts) -> ArchitectureMatch:
    kinds = sorted(facts.blocks.items(), key=lambda item: -item[1])[:4]
    if not kinds:
        return ArchitectureMatch("", "unknown architecture", "ambiguous")
    described = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return ArchitectureMatch("", f"unknown architecture with {described}", "ambiguous")

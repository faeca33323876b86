"""ACE-Step 1.5. Its trainers leave out ``decoder.``; ComfyUI's ``model_lora_keys_unet`` and diffusers do likewise."""

from __future__ import annotations

from ..family import Family, Link, renamed
from ..marks import has

LAYERS = """
decoder.layers.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj cross_attn.q_proj
    cross_attn.k_proj cross_attn.v_proj cross_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj
encoder.lyric_encoder.layers.# encoder.timbre_encoder.layers.# tokenizer.attention_pooler.layers.#
    detokenizer.layers.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj
    mlp.up_proj mlp.down_proj
: decoder.proj_in.1 decoder.time_embed.linear_1 decoder.time_embed.linear_2 decoder.time_embed.time_proj
    decoder.time_embed_r.linear_1 decoder.time_embed_r.linear_2 decoder.time_embed_r.time_proj
    decoder.condition_embedder decoder.proj_out.1 encoder.text_projector tokenizer.audio_acoustic_proj
    tokenizer.quantizer.project_in tokenizer.quantizer.project_out detokenizer.proj_out
"""

_NAMES = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "cross_attn.q_proj",
    "cross_attn.k_proj", "cross_attn.v_proj", "cross_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
_LINKS: tuple[Link, ...] = (
    *renamed("layers.#.", "decoder.layers.#.", {name: name for name in _NAMES}),
    *(link for prefix in ("layers.#.", "decoder.layers.#.") for attention in ("self_attn.", "cross_attn.")
      for link in renamed(f"{prefix}{attention}", f"decoder.layers.#.{attention}", {
          "to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out.0": "o_proj"})),
    *renamed("", "decoder.", {
        name: name for name in (
            "time_embed.linear_1", "time_embed.linear_2", "time_embed.time_proj", "time_embed_r.linear_1",
            "time_embed_r.linear_2", "time_embed_r.time_proj", "condition_embedder")}),
    *renamed("", "decoder.", {"proj_in_conv": "proj_in.1", "proj_out_conv": "proj_out.1"}),
)  # fmt: skip

FAMILY = Family(
    "ace_step15",
    "ACE-Step 1.5",
    marks=(
        has(r"^decoder_layers_#_(?:self|cross)_attn_", "names of ACE-Step 1.5"),
        has(r"^encoder_lyric_encoder_", "lyrics come in"),
    ),
    hidden=(
        (r"^(?:decoder_)?layers_#_self_attn_(?:[qkv]_proj|to_[qkv])$", 1),
        (r"^(?:decoder_)?layers_#_mlp_(?:gate|up)_proj$", 1),
    ),
    kinds=("decoder.layers",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(2048, 2560),
    depths={"decoder.layers": (24, 32)},
)

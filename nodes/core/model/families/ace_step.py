"""ACE-Step."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
transformer_blocks.#: attn.to_q attn.to_k attn.to_v attn.to_out.0 cross_attn.to_q cross_attn.to_k cross_attn.to_v
    cross_attn.add_k_proj cross_attn.add_v_proj cross_attn.add_q_proj cross_attn.to_out.0 cross_attn.to_add_out
    ff.inverted_conv.conv ff.depth_conv.conv ff.point_conv.conv
lyric_encoder.encoders.#: self_attn.linear_q self_attn.linear_k self_attn.linear_v self_attn.linear_out
    self_attn.linear_pos feed_forward.w_1 feed_forward.w_2
: timestep_embedder.linear_1 timestep_embedder.linear_2 t_block.1 speaker_embedder genre_embedder
    lyric_encoder.embed.out.0 lyric_proj projectors.0.0 projectors.0.2 projectors.0.4 projectors.1.0 projectors.1.2
    projectors.1.4 proj_in.early_conv_layers.0 proj_in.early_conv_layers.2 final_layer.linear
"""

FAMILY = Family(
    "ace_step",
    "ACE-Step",
    marks=(
        has(r"^(?:genre_embedder|lyric_encoder_|lyric_proj)", "lyrics and genre come in"),
        has(r"^transformer_blocks_#_ff_(?:inverted|depth|point)_conv_conv$", "names of ACE-Step"),
    ),
    hidden=((r"^transformer_blocks_#_(?:cross_)?attn_to_[qkv]$", 1),),
    kinds=("transformer_blocks",),
    layers=LAYERS,
    sizes=(2560,),
    depths={"transformer_blocks": (24,)},
)

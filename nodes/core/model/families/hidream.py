"""HiDream."""

from __future__ import annotations

from ..family import Family, Sampling
from ..marks import has

LAYERS = """
double_stream_blocks.#: block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v
    block.attn1.to_out block.attn1.to_q_t block.attn1.to_k_t block.attn1.to_v_t block.attn1.to_out_t
    block.ff_i.shared_experts.w1 block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3 block.ff_i.experts.0.w1
    block.ff_i.experts.0.w2 block.ff_i.experts.0.w3 block.ff_i.gate block.ff_t.w1 block.ff_t.w2 block.ff_t.w3
single_stream_blocks.#: block.adaLN_modulation.1 block.attn1.to_q block.attn1.to_k block.attn1.to_v
    block.attn1.to_out block.ff_i.shared_experts.w1 block.ff_i.shared_experts.w2 block.ff_i.shared_experts.w3
    block.ff_i.experts.0.w1 block.ff_i.experts.0.w2 block.ff_i.experts.0.w3 block.ff_i.gate
caption_projection.#: linear
: t_embedder.timestep_embedder.linear_1 t_embedder.timestep_embedder.linear_2 p_embedder.pooled_embedder.linear_1
    p_embedder.pooled_embedder.linear_2 x_embedder.proj final_layer.linear final_layer.adaLN_modulation.1
"""

FAMILY = Family(
    "hidream",
    "HiDream",
    marks=(
        has(r"^(?:double|single)_stream_blocks_#_block_", "stream blocks"),
        has(r"^caption_projection_#_linear$", "caption projections"),
    ),
    layers=LAYERS,
    sizes=(2560,),
    depths={"double_stream_blocks": (16,), "single_stream_blocks": (32,)},
    advice={"": Sampling(50, 5)},
)

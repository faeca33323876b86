"""HunyuanDiT 1.0 to 1.2."""

from __future__ import annotations

from ..family import HALVES, Family, Link, Sampling, renamed, stacked
from ..marks import has

LAYERS = """
blocks.#: attn1.Wqkv attn1.out_proj mlp.fc1 mlp.fc2 default_modulation.1 attn2.q_proj attn2.kv_proj attn2.out_proj
    skip_linear
: mlp_t5.0 mlp_t5.2 pooler.k_proj pooler.q_proj pooler.v_proj pooler.c_proj x_embedder.proj t_embedder.mlp.0
    t_embedder.mlp.2 extra_embedder.0 extra_embedder.2 final_layer.linear final_layer.adaLN_modulation.1
: style_embedder
"""

_LINKS: tuple[Link, ...] = (
    stacked("blocks.#.attn1.", ("to_q", "to_k", "to_v"), "blocks.#.attn1.Wqkv"),
    stacked("blocks.#.attn2.", ("to_k", "to_v"), "blocks.#.attn2.kv_proj"),
    *renamed(
        "blocks.#.",
        "blocks.#.",
        {
            "attn1.to_out.0": "attn1.out_proj",
            "attn2.to_out.0": "attn2.out_proj",
            "attn2.to_q": "attn2.q_proj",
            "ff.net.0.proj": "mlp.fc1",
            "ff.net.2": "mlp.fc2",
            "norm1.linear": "default_modulation.1", "skip_linear": "skip_linear",
        },
    ),
    *renamed("", "", {
        "text_embedder.linear_1": "mlp_t5.0", "text_embedder.linear_2": "mlp_t5.2", "pos_embed.proj": "x_embedder.proj",
        "time_extra_emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_extra_emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_extra_emb.extra_embedder.linear_1": "extra_embedder.0",
        "time_extra_emb.extra_embedder.linear_2": "extra_embedder.2", "proj_out": "final_layer.linear",
        "time_extra_emb.style_embedder": "style_embedder",
        **{f"time_extra_emb.pooler.{name}_proj": f"pooler.{name}_proj" for name in "kqvc"}}),
    Link(("norm_out.linear",), ("final_layer.adaLN_modulation.1",), HALVES),
)  # fmt: skip

FAMILY = Family(
    "hunyuan_dit",
    "HunyuanDiT",
    marks=(has(r"^mlp_t5_", "T5 features go through an MLP"), has(r"^blocks_#_attn1_Wqkv$", "attention named Wqkv")),
    hidden=((r"^blocks_#_attn1_(?:Wqkv|to_q)$", 1),),
    kinds=("blocks",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(1408,),
    depths={"blocks": (40,)},
    advice={"": Sampling(50, 5)},
)

"""AuraFlow."""

from __future__ import annotations

from ..family import HALVES, Family, Link, Sampling, renamed
from ..marks import has

_D_SINGLE = "single_transformer_blocks.#."
_AURA_MLP = {"ff.linear_1": "c_fc1", "ff.linear_2": "c_fc2", "ff.out_projection": "c_proj"}
_AURA_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
_LINKS: tuple[Link, ...] = (
    *renamed("joint_transformer_blocks.#.", "double_layers.#.", {
        **{f"attn.{name}": f"attn.w2{letter}" for name, letter in _AURA_ATTENTION.items()},
        "attn.add_q_proj": "attn.w1q", "attn.add_k_proj": "attn.w1k", "attn.add_v_proj": "attn.w1v",
        "attn.to_add_out": "attn.w1o", "norm1.linear": "modX.1", "norm1_context.linear": "modC.1",
        **{name: f"mlpX.{own}" for name, own in _AURA_MLP.items()},
        **{name.replace("ff.", "ff_context."): f"mlpC.{own}" for name, own in _AURA_MLP.items()},
    }),
    *renamed(_D_SINGLE, "single_layers.#.", {
        **{f"attn.{name}": f"attn.w1{letter}" for name, letter in _AURA_ATTENTION.items()},
        "norm1.linear": "modCX.1", **{name: f"mlp.{own}" for name, own in _AURA_MLP.items()},
    }),
    *renamed("", "", {
        "time_step_proj.linear_1": "t_embedder.mlp.0", "time_step_proj.linear_2": "t_embedder.mlp.2",
        "context_embedder": "cond_seq_linear", "pos_embed.proj": "init_x_linear", "proj_out": "final_linear",
        "pos_embed.pos_embed": "positional_encoding",
    }),
    *renamed("", "", {"norm_out.linear": "modF.1"}, HALVES),
)  # fmt: skip

LAYERS = """
double_layers.#: mlpC.c_fc1 mlpC.c_fc2 mlpC.c_proj modC.1 mlpX.c_fc1 mlpX.c_fc2 mlpX.c_proj modX.1 attn.w1q attn.w1k
    attn.w1v attn.w1o attn.w2q attn.w2k attn.w2v attn.w2o
single_layers.#: modCX.1 attn.w1q attn.w1k attn.w1v attn.w1o mlp.c_fc1 mlp.c_fc2 mlp.c_proj
: t_embedder.mlp.0 t_embedder.mlp.2 cond_seq_linear init_x_linear final_linear modF.1
"""

FAMILY = Family(
    "auraflow",
    "AuraFlow",
    marks=(
        has(r"^double_layers_#_attn_w1q$", "double layers"),
        has(r"^joint_transformer_blocks_#_", "joint, then single blocks"),
    ),
    links=_LINKS,
    layers=LAYERS,
    sizes=(3072,),
    depths={"double_layers": (4,), "single_layers": (32,)},
    advice={"": Sampling(50, 3.5)},
)

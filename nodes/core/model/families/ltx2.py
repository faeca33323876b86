"""LTX-2, 2.3 and 2.5: video and sound side by side.

Names of diffusers' ``_convert_non_diffusers_ltx2_lora_to_diffusers``.
"""

from __future__ import annotations

from ..facts import Facts
from ..family import Family, Link, Sampling, renamed
from ..marks import has

LAYERS = """
audio_embeddings_connector.transformer_1d_blocks.# video_embeddings_connector.transformer_1d_blocks.#: attn1.to_q
    attn1.to_k attn1.to_v attn1.to_out.0 ff.net.0.proj ff.net.2
transformer_blocks.#: attn1.to_gate_logits attn2.to_gate_logits audio_attn1.to_gate_logits
    audio_attn2.to_gate_logits audio_to_video_attn.to_gate_logits video_to_audio_attn.to_gate_logits attn1.to_q
    attn1.to_k attn1.to_v attn1.to_out.0 audio_attn1.to_q audio_attn1.to_k audio_attn1.to_v audio_attn1.to_out.0
    attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 audio_attn2.to_q audio_attn2.to_k audio_attn2.to_v
    audio_attn2.to_out.0 audio_to_video_attn.to_q audio_to_video_attn.to_k audio_to_video_attn.to_v
    audio_to_video_attn.to_out.0 video_to_audio_attn.to_q video_to_audio_attn.to_k video_to_audio_attn.to_v
    video_to_audio_attn.to_out.0 ff.net.0.proj ff.net.2 audio_ff.net.0.proj audio_ff.net.2
: patchify_proj adaln_single.emb.timestep_embedder.linear_1 adaln_single.emb.timestep_embedder.linear_2
    adaln_single.linear caption_projection.linear_1 caption_projection.linear_2 audio_patchify_proj
    audio_adaln_single.emb.timestep_embedder.linear_1 audio_adaln_single.emb.timestep_embedder.linear_2
    audio_adaln_single.linear av_ca_video_scale_shift_adaln_single.emb.timestep_embedder.linear_1
    av_ca_video_scale_shift_adaln_single.emb.timestep_embedder.linear_2 av_ca_video_scale_shift_adaln_single.linear
    av_ca_a2v_gate_adaln_single.emb.timestep_embedder.linear_1
    av_ca_a2v_gate_adaln_single.emb.timestep_embedder.linear_2 av_ca_a2v_gate_adaln_single.linear
    av_ca_audio_scale_shift_adaln_single.emb.timestep_embedder.linear_1
    av_ca_audio_scale_shift_adaln_single.emb.timestep_embedder.linear_2 av_ca_audio_scale_shift_adaln_single.linear
    av_ca_v2a_gate_adaln_single.emb.timestep_embedder.linear_1
    av_ca_v2a_gate_adaln_single.emb.timestep_embedder.linear_2 av_ca_v2a_gate_adaln_single.linear
    audio_caption_projection.linear_1 audio_caption_projection.linear_2 proj_out audio_proj_out
: prompt_adaln_single.linear audio_prompt_adaln_single.linear prompt_adaln_single.emb.timestep_embedder.linear_1
    prompt_adaln_single.emb.timestep_embedder.linear_2 audio_prompt_adaln_single.emb.timestep_embedder.linear_1
    audio_prompt_adaln_single.emb.timestep_embedder.linear_2
"""

_LINKS: tuple[Link, ...] = (
    *renamed("", "", {
        "proj_in": "patchify_proj", "audio_proj_in": "audio_patchify_proj",
        "prompt_adaln.linear": "prompt_adaln_single.linear",
        "audio_prompt_adaln.linear": "audio_prompt_adaln_single.linear"}),
    *(link for other, own in (
        ("time_embed", "adaln_single"), ("audio_time_embed", "audio_adaln_single"),
        ("av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
        ("av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
        ("av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
        ("av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
    ) for link in renamed(f"{other}.", f"{own}.", {
        name: name for name in ("linear", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2")})),
)  # fmt: skip


def _variant(facts: Facts, hidden: int | None) -> str:
    return "LTX-2.3" if facts.find(r"prompt_adaln|_to_gate_logits$") else "LTX-2"


FAMILY = Family(
    "ltx2",
    "LTX-2",
    marks=(
        has(r"^transformer_blocks_#_(?:audio_(?:attn[12]|ff|to_video_attn)|video_to_audio_attn)_", "layers for sound"),
        has(r"^audio_(?:adaln_single|patchify_proj|time_embed|proj_in)", "sound comes in"),
    ),
    against=(has(r"^video_patch_proj$|^norm_out_linear$|^visual_transformer_blocks_", ""),),
    hidden=((r"^transformer_blocks_#_attn1_to_[qkv]$", 1), (r"^patchify_proj$|^proj_in$", 0)),
    variant=_variant,
    kinds=("transformer_blocks",),
    links=_LINKS,
    layers=LAYERS,
    sizes=(4096,),
    depths={"transformer_blocks": (48,)},
    advice={"": Sampling(30, 3)},
)

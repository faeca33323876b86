"""Wan 2.x."""

from __future__ import annotations

from ..facts import Facts
from ..family import Family, Link, Sampling, renamed
from ..marks import has


def _variant(facts: Facts, hidden: int | None) -> str:
    size = {1536: "Wan 2.1 1.3B", 3072: "Wan 2.2 5B", 5120: "Wan 2.x 14B"}
    name = size.get(hidden or 0, f"Wan 2.x (hidden {hidden})" if hidden else "Wan 2.x")
    if facts.find(r"cross_attn_k_img|add_k_proj"):
        return f"{name}, image to video"
    return f"{name}, VACE" if facts.find(r"^vace_blocks_") else name


LAYERS = """
blocks.#: self_attn.q self_attn.k self_attn.v self_attn.o cross_attn.q cross_attn.k cross_attn.v cross_attn.o
    cross_attn.k_img cross_attn.v_img ffn.0 ffn.2 audio_cross_attn_wrapper.audio_cross_attn.q
    audio_cross_attn_wrapper.audio_cross_attn.k audio_cross_attn_wrapper.audio_cross_attn.v
    audio_cross_attn_wrapper.audio_cross_attn.o
control_adapter.residual_blocks.#: conv1 conv2
audio_injector.injector.# music_injector.injector.#: q k v o
audio_injector.injector_adain_layers.#: linear
motion_encoder.enc.net_app.convs.#: conv1.0 conv2.1 skip.1
face_adapter.fuser_blocks.#: linear1_kv linear1_q linear2
music_encoder.#: self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj linear1 linear2
: patch_embedding text_embedding.0 text_embedding.2 time_embedding.0 time_embedding.2 time_projection.1 head.head
    img_emb.proj.1 img_emb.proj.3 control_adapter.conv audio_proj.audio_proj_glob_1.layer
    audio_proj.audio_proj_glob_2.layer audio_proj.audio_proj_glob_3.layer patch_embedding_pose patch_embedding_mask
    trainable_cond_mask casual_audio_encoder.encoder.conv1_local.conv casual_audio_encoder.encoder.conv1_global.conv
    casual_audio_encoder.encoder.conv2.conv casual_audio_encoder.encoder.conv3.conv
    casual_audio_encoder.encoder.final_linear cond_encoder frame_packer.proj frame_packer.proj_2x
    frame_packer.proj_4x pose_patch_embedding motion_encoder.enc.net_app.convs.0.0
    motion_encoder.enc.net_app.convs.0 motion_encoder.enc.fc.0 motion_encoder.enc.fc.1 motion_encoder.enc.fc.2
    motion_encoder.enc.fc.3 motion_encoder.enc.fc.4 face_encoder.conv1_local.conv face_encoder.conv2.conv
    face_encoder.conv3.conv face_encoder.out_proj patch_embedding_global img_emb_refimage.proj.1
    img_emb_refimage.proj.3 head_global.head music_projection
"""

_LINKS: tuple[Link, ...] = (
    *(link for container in ("blocks.#.", "vace_blocks.#.") for link in (
        *(link for other, own in (("attn1", "self_attn"), ("attn2", "cross_attn")) for link in renamed(
            f"{container}{other}.", f"{container}{own}.", {
                "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "norm_q": "norm_q", "norm_k": "norm_k"})),
        *renamed(f"{container}attn2.", f"{container}cross_attn.", {
            "add_k_proj": "k_img", "add_v_proj": "v_img", "norm_added_k": "norm_k_img"}),
        *renamed(container, container, {"ffn.net.0.proj": "ffn.0", "ffn.net.2": "ffn.2", "norm2": "norm3"}),
        # diffusers' own class for Wan Animate 2.
        *(link for attention in ("self_attn", "cross_attn") for link in renamed(
            f"{container}{attention}.", f"{container}{attention}.", {
                "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"})),
        *renamed(f"{container}cross_attn.", f"{container}cross_attn.", {
            "add_k_proj": "k_img", "add_v_proj": "v_img"}),
    )),
    *renamed("vace_blocks.#.", "vace_blocks.#.", {"proj_in": "before_proj", "proj_out": "after_proj"}),
    *renamed("condition_embedder.", "", {
        "time_embedder.linear_1": "time_embedding.0", "time_embedder.linear_2": "time_embedding.2",
        "text_embedder.linear_1": "text_embedding.0", "text_embedder.linear_2": "text_embedding.2",
        "time_proj": "time_projection.1", "image_embedder.ff.net.0.proj": "img_emb.proj.1",
        "image_embedder.ff.net.2": "img_emb.proj.3"}),
    *renamed("", "", {"proj_out": "head.head"}),
)  # fmt: skip
"""Names of diffusers' ``convert_wan_transformer_to_diffusers``."""

FAMILY = Family(
    "wan", "Wan 2.x",
    marks=(has(r"^blocks_#_(?:self|cross)_attn_(?:[qkvo]|[kv]_img)$", "self- and cross-attention named q, k, v, o"),
           has(r"^blocks_#_ffn_(?:[02]$|net_)", "feed-forward named ffn"), has(r"^vace_blocks_#", "VACE blocks"),
           has(r"^head_modulation$", "modulated head")),
    hints=(has(r"^blocks_#_attn[12]_to_[qkv]$", "diffusers names of Wan"),),
    against=(has(r"^blocks_#_attn[12]_out_proj$|^blocks_#_skip_linear$", ""),),
    hidden=((r"^blocks_#_self_attn_[qkvo]$", 1), (r"^blocks_#_ffn_0$", 1), (r"^blocks_#_attn1_to_[qkv]$", 1),
            (r"^blocks_#_cross_attn_[qo]$", 1)),
    variant=_variant,
    links=_LINKS,
    layers=LAYERS,
    sizes=(1536, 2048, 3072, 5120),
    depths={"blocks": (30, 32, 40)},
    advice={"": Sampling(50, 5)},
)  # fmt: skip

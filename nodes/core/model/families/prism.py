"""Prism: pictures with sound from two towers that listen to each other, and a second tower for the last steps.

Names and sizes of ``comfy/ldm/prism/model.py``.
"""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
fusion_blocks.#.video_block fusion_blocks.#.audio_block remaining_video_blocks.# video_dit_2.blocks.#: self_attn.q
    self_attn.k self_attn.v self_attn.o cross_attn.q cross_attn.k cross_attn.v cross_attn.o ffn.0 ffn.2
fusion_blocks.#.a2v_conditioner fusion_blocks.#.v2a_conditioner: inner.q inner.k inner.v inner.o
video_dit video_dit_2 audio_dit: patch_embedding text_embedding.0 text_embedding.2 time_embedding.0 time_embedding.2
    time_projection.1 head.head
"""

FAMILY = Family(
    "prism",
    "Prism",
    marks=(
        has(r"^fusion_blocks_#_(?:video_block|audio_block|a2v_conditioner|v2a_conditioner)_", "towers of Prism joined"),
        has(r"^(?:video|audio)_dit(?:_2)?_", "a tower for the picture and one for the sound"),
    ),
    hidden=((r"^(?:fusion_blocks_#_video_block|remaining_video_blocks_#|video_dit_2_blocks_#)_self_attn_q$", 1),),
    kinds=("fusion_blocks", "remaining_video_blocks", "video_dit_2.blocks"),
    layers=LAYERS,
    sizes=(5120,),
    depths={"fusion_blocks": (30,), "remaining_video_blocks": (10,), "video_dit_2.blocks": (40,)},
)

"""Kandinsky 6 and its super resolution, with sound; in diffusers' names."""

from __future__ import annotations

from ..family import Family
from ..marks import has

LAYERS = """
video_text_transformer_blocks.# audio_text_transformer_blocks.#: text_modulation.out_layer attn.to_query attn.to_key
    attn.to_value attn.out_layer feed_forward.net.0.proj feed_forward.net.2
visual_transformer_blocks.#: video_dec_block.visual_modulation.out_layer video_dec_block.self_attention.to_query
    video_dec_block.self_attention.to_key video_dec_block.self_attention.to_value
    video_dec_block.self_attention.out_layer video_dec_block.cross_attention.to_query
    video_dec_block.cross_attention.to_key video_dec_block.cross_attention.to_value
    video_dec_block.cross_attention.out_layer video_dec_block.feed_forward.net.0.proj
    video_dec_block.feed_forward.net.2 audio_dec_block.visual_modulation.out_layer
    audio_dec_block.self_attention.to_query audio_dec_block.self_attention.to_key
    audio_dec_block.self_attention.to_value audio_dec_block.self_attention.out_layer
    audio_dec_block.cross_attention.to_query audio_dec_block.cross_attention.to_key
    audio_dec_block.cross_attention.to_value audio_dec_block.cross_attention.out_layer
    audio_dec_block.feed_forward.net.0.proj audio_dec_block.feed_forward.net.2 va_cross_attention.to_query
    va_cross_attention.to_key va_cross_attention.to_value va_cross_attention.out_layer av_cross_attention.to_query
    av_cross_attention.to_key av_cross_attention.to_value av_cross_attention.out_layer va_modulation.out_layer
    av_modulation.out_layer visual_modulation.out_layer self_attention.to_query self_attention.to_key
    self_attention.to_value self_attention.out_layer feed_forward.net.0.proj feed_forward.net.2
: visual_embeddings.in_layer out_layer.modulation.out_layer out_layer.out_layer audio_embeddings.in_layer
    audio_out_layer.modulation.out_layer audio_out_layer.out_layer video_time_embeddings.timestep_embedder.linear_1
    video_time_embeddings.timestep_embedder.linear_2 video_text_embeddings.in_layer
    video_pooled_text_embeddings.in_layer audio_time_embeddings.timestep_embedder.linear_1
    audio_time_embeddings.timestep_embedder.linear_2 audio_text_embeddings.in_layer
    audio_pooled_text_embeddings.in_layer time_embeddings.timestep_embedder.linear_1
    time_embeddings.timestep_embedder.linear_2
"""

FAMILY = Family(
    "kandinsky6",
    "Kandinsky 6",
    marks=(
        has(r"^(?:video|audio)_text_transformer_blocks_#_", "text blocks for picture and sound"),
        has(r"^visual_transformer_blocks_#_(?:video|audio)_dec_block_", "blocks for picture and sound"),
        has(r"^visual_transformer_blocks_#_feed_forward_net_#_", "feed-forward of Kandinsky 6"),
    ),
    hidden=((r"^visual_transformer_blocks_#_(?:video_dec_block_)?self_attention_to_query$", 1),),
    kinds=("video_text_transformer_blocks", "audio_text_transformer_blocks", "visual_transformer_blocks"),
    layers=LAYERS,
    sizes=(1792, 4096),
    depths={"visual_transformer_blocks": (32, 60)},
)

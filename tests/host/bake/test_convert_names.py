"""The names that a conversion writes for diffusers are those of its own classes, for every family that it has."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "flux1": ("FluxTransformer2DModel", {"guidance_embeds": True}),
    "flux2": ("Flux2Transformer2DModel", {}),
    "flux3": ("Flux3Transformer2DModel", {}),
    "chroma": ("ChromaTransformer2DModel", {}),
    "qwen_image": ("QwenImageTransformer2DModel", {}),
    "sd3": ("SD3Transformer2DModel", {"dual_attention_layers": (0,)}),
    "cosmos_predict2": ("CosmosTransformer3DModel", {"extra_pos_embed_type": None}),
    "anima": ("CosmosTransformer3DModel", {"extra_pos_embed_type": None}),
    "zimage": ("ZImageTransformer2DModel", {}),
    "lumina2": ("Lumina2Transformer2DModel", {}),
    "wan": ("WanTransformer3DModel", {"image_dim": 1280, "added_kv_proj_dim": 5120}),
    "hunyuan_video": ("HunyuanVideoTransformer3DModel", {}),
    "ltx": ("LTXVideoTransformer3DModel", {}),
    "auraflow": ("AuraFlowTransformer2DModel", {}),
    "kandinsky5": ("Kandinsky5Transformer3DModel", {}),
    "mochi": ("MochiTransformer3DModel", {}),
    "krea2": ("Krea2Transformer2DModel", {}),
    "minimax_h3": ("MiniMaxH3Transformer3DModel", {}),
    "ideogram4": ("Ideogram4Transformer2DModel", {}),
}
NOT_THERE = re.compile(
    r"^llm_adapter\.|^nerf_|^img_in_patch|^dec_net\.|^t_embedder\.#\.linear|audio|music|control|face|motion|conv|^cond"
    r"|frame_packer|pose|global|refimage|trainable|^vace|_mask$"
)
"""Layers that diffusers' class does not have: other components, and variants that have classes of their own."""


def without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)


@pytest.mark.all
@pytest.mark.parametrize("family_id", CLASSES)
def test_every_layer_has_the_name_of_its_module(family_id: str) -> None:
    import diffusers
    from pack.nodes.core.bake.convert_names import DiffusersNames
    from pack.nodes.core.model.families import family

    name, options = CLASSES[family_id]
    with torch.device("meta"):
        model = getattr(diffusers, name)(**options)
    real = {without_numbers(k) for k, v in model.named_modules() if getattr(getattr(v, "weight", None), "ndim", 0) > 1}
    known = family(family_id)
    assert known is not None
    names = DiffusersNames(family_id, {})
    wrong: dict[str, str] = {}
    layers = [layer for layer in known.layer_names() if not NOT_THERE.search(layer)]
    assert len(layers) > 10
    for layer in layers:
        rows = 896 if layer.endswith("linear1") else 384
        for module in names.modules(layer.replace("#", "0"), (rows, 128)):
            if without_numbers(module.name) not in real:
                wrong[layer] = module.name
    assert wrong == {}

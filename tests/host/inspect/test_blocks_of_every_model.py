"""Block strengths on every class of diffusion model that ComfyUI has, also those without a released size in the zoo.

What is tested is what one can rely on for a model that nobody here has seen: its blocks are found, each can be named
alone, and the parts of a block do not overlap.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from built_models import BUILT, model_shapes
from model_zoo import CONFIGS, zoo_model
from support import some

pytestmark = pytest.mark.host

NO_DIFFUSION = {"DepthAnything3Net", "RTv4", "SAM3Model"}
"""Detectors, which no LoRA loader meets."""


class Model:
    """The layout of a model, and its matrices with their slices."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        from pack.nodes.core.model.blocks import BlockLayout
        from pack.nodes.core.model.slices import fused_slices

        self.layout = BlockLayout(shapes)
        self.units = []
        for place in self.layout.places():
            if len(shapes[place.key]) > 1:
                cuts = fused_slices(place, shapes[place.key])
                self.units += [(place, cut.names) for cut in cuts] or [(place, ())]

    def strengths(self, text: str) -> list[float]:
        from pack.nodes.core.strengths.text import StrengthTable, parse_block_strengths

        names = [(place, name) for place, cut in self.units for name in cut]
        table = StrengthTable(parse_block_strengths(text), self.layout, names)
        return [table.strength(place, cut) for place, cut in self.units]


@pytest.mark.parametrize("name", BUILT)
def test_blocks_are_found_and_can_be_named_alone(comfy_in_process: Any, name: str) -> None:
    model = Model(model_shapes(name))
    assert model.layout.kinds == BUILT[name][1]
    for kind, count in model.layout.kinds.items():
        found = model.strengths(f"{kind}.{count - 1}=0")
        hit = {str(place.block) for (place, _), value in zip(model.units, found, strict=True) if value == 0}
        assert hit == {f"{kind}.{count - 1}"}
    star = model.strengths("*=0")
    assert [value == 0 for value in star] == [place.block is not None for place, _ in model.units]


@pytest.mark.parametrize("name", BUILT)
def test_parts_do_not_overlap(comfy_in_process: Any, name: str) -> None:
    for place, cut in some(Model(model_shapes(name)).units):
        names = place.parts | set(cut)
        assert not {"attn", "mlp"} <= names, place.key
        assert not {"img", "txt"} <= names, place.key


@pytest.mark.parametrize(
    ("name", "selector", "layers"),
    [
        ("cosmos.model.GeneralDIT", "blocks.27.mlp", "blocks.2.block.layer1 blocks.2.block.layer2"),
        ("genmo.joint_model.asymm_models_joint.AsymmDiTJoint", "blocks.3.txt",
         "mod_y attn.qkv_y attn.proj_y mlp_y.w1 mlp_y.w2"),
        ("genmo.joint_model.asymm_models_joint.AsymmDiTJoint", "blocks.3.v",
         "attn.qkv_x attn.qkv_y"),
        ("minimax.model.MiniMaxH3Model", "blocks.49.k", "attn.qkv_proj"),
        ("hydit.models.HunYuanDiT", "blocks.0.v", "attn1.Wqkv attn2.kv_proj"),
        ("lens.model.LensTransformer2DModel", "transformer_blocks.0.q", "attn.img_qkv attn.txt_qkv"),
        ("wan.model_wandancer.WanDancerModel", "music_encoder.1.mlp", "linear1 linear2"),
        ("hunyuan3d.model.Hunyuan3Dv2", "single_blocks.0.mlp", "linear1 linear2"),
        ("hunyuan3dv2_1.hunyuandit.HunYuanDiTPlain", "blocks.20.mlp",
         "moe.gate moe.experts.# moe.shared_experts.net.#"),
        ("hidream.model.HiDreamImageTransformer2DModel", "double_stream_blocks.0.txt.mlp", ""),
    ],
)  # fmt: skip
def test_selectors_name_these_layers(comfy_in_process: Any, name: str, selector: str, layers: str) -> None:
    from pack.nodes.core.errors import BlockStrengthError

    model = Model(model_shapes(name))
    if not layers:
        with pytest.raises(BlockStrengthError, match="names nothing in this model"):
            model.strengths(f"{selector}=0")
        return
    found = model.strengths(f"all=1, {selector}=0")
    named = [place.layer for (place, _), value in zip(model.units, found, strict=True) if value == 0]
    shortened = {re.sub(r"\.\d+(\.net\.\d+)?(\.proj)?$", ".#", layer) if "moe" in layer else layer for layer in named}
    assert shortened == set(layers.split())


def test_no_class_of_comfyui_is_left_out(comfy_in_process: Any) -> None:
    import comfy.model_base
    import comfyui_version

    if tuple(map(int, comfyui_version.__version__.split(".")[:2])) != (0, 30):
        pytest.skip("another version of ComfyUI has other models")
    source = inspect.getsource(comfy.model_base)
    used = set(re.findall(r"unet_model=(?:comfy\.ldm\.)?([\w.]+)", source)) - {"unet_model", "UNetModel"}
    used = {name.rpartition(".")[2] for name in used} - NO_DIFFUSION
    in_zoo = {type(zoo_model(name).diffusion_model).__name__ for name in CONFIGS}
    assert used - in_zoo - {name.rpartition(".")[2] for name in BUILT} == set()

"""Imported block strengths against the programs they come from: diffusers' own code, and the rules of the others
applied literally to the keys of ComfyUI's full-size models."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from model_zoo import CONFIGS, zoo_shapes

pytestmark = pytest.mark.host
MODELS = {"sd": "SD 1.5", "sdxl": "SDXL", "flux1": "FLUX.1"}


def strengths(text: str, keys: list[str]) -> dict[str, float]:
    """What our text form means for every key of a model."""
    from pack.nodes.core.model.blocks import BlockLayout
    from pack.nodes.core.strengths.text import StrengthTable, parse_block_strengths

    layout = BlockLayout(keys)
    table = StrengthTable(parse_block_strengths(text), layout)
    return {key: table.strength(layout.place(key)) for key in keys}


def model_keys(family_id: str) -> list[str]:
    return [f"diffusion_model.{key}" for key, shape in zoo_shapes(MODELS[family_id]).items() if len(shape) > 1]


def imported(text: str, name: str) -> str:
    from pack.nodes.core.strengths.formats import import_strengths

    return import_strengths(text, name).text


SLOTS = ["BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12))]
LISTS = {
    17: "BASE IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11".split(),
    12: "BASE IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05".split(),
    26: SLOTS,
    20: [*SLOTS[:10], "M00", *SLOTS[14:23]],
}
"""Names of the values, as the programs' own documentation lists them."""


def slot_of(key: str) -> str:
    """Name of the block that a key of a UNet lies in; empty for none."""
    match = re.match(r"diffusion_model\.(input_blocks|middle_block|output_blocks)\.(\d+)\.", key)
    if match is None:
        return ""
    return "M00" if match[1] == "middle_block" else f"{match[1][:-7].upper().removesuffix('PUT')}{int(match[2]):02}"


@pytest.mark.parametrize(
    ("program", "count", "family_id"),
    [(p, n, f) for p in ("lbw.hako", "kohya.lbws") for n, f in ((17, "sd"), (26, "sd"), (12, "sdxl"), (20, "sdxl"))],
)
def test_named_lists_go_to_the_blocks_of_these_names(
    comfy_in_process: Any, program: str, count: int, family_id: str
) -> None:
    """The web UI sets what a list leaves out to 0, kohya leaves it at 1."""
    rng = random.Random(count)
    values = dict(zip(LISTS[count], [round(rng.uniform(-1, 2), 2) for _ in LISTS[count]], strict=True))
    line = json.dumps(list(values.values())) if program.startswith("kohya") else ",".join(map(str, values.values()))
    left_out = 0.0 if program == "lbw.hako" else 1.0
    for key, strength in strengths(imported(line, f"{program}.{family_id}.{count}"), model_keys(family_id)).items():
        slot = slot_of(key)
        expected = values.get(slot, left_out) if slot else 1.0
        if program.startswith("kohya") and count == 20 and ("time_embed" in key or "label_emb" in key):
            expected = values["IN00"]
        assert strength == expected, key


@pytest.mark.parametrize(
    ("name", "family_id", "holds", "shorter"),
    [
        ("lbw.inspire.sd", "sd", "attn", 0),
        ("lbw.inspire.sd", "sd", "attn", 4),
        ("lbw.inspire.sdxl", "sdxl", "attn", 0),
        ("lbw.inspire.flux1", "flux1", "_blocks.", 0),
        ("lbw.inspire.flux1", "flux1", "_blocks.", 40),
    ],
)
def test_inspire_gives_values_to_present_blocks_in_turn(
    comfy_in_process: Any, name: str, family_id: str, holds: str, shorter: int
) -> None:
    """A LoRA on the layers that its kind usually has: sort them by container and number, hand out value by value."""
    order = ["input_blocks", "middle_block", "output_blocks", "double_blocks", "single_blocks"]
    every = model_keys(family_id)
    keys = [key for key in every if holds in key]
    blocks = sorted({(order.index(key.split(".")[1]), int(key.split(".")[2])) for key in keys})
    rng = random.Random(name)
    values = [round(rng.uniform(-1, 2), 2) for _ in range(1 + len(blocks) - shorter)]
    expected = {block: values[min(i, len(values) - 1)] for i, block in enumerate(blocks, 1)}
    found = strengths(imported(",".join(map(str, values)), name), every)
    for key in keys:
        kind, index = key.split(".")[1:3]
        assert found[key] == expected[order.index(kind), int(index)], key


UNETS: dict[str, dict[str, Any]] = {
    "sd": {"cross_attention_dim": 768},
    "sdxl": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
    },
}
SCALES: list[dict[str, Any]] = [
    {"down": 0.5},
    {"mid": 0.25, "up": 0.75},
    {"down": {"block_2": [0.1, 0.2]}, "up": {"block_1": [0.3, 0.4, 0.5]}},
    {"down": {"block_1": 0.6}, "mid": [0.7], "up": {"block_1": [0.8]}},
]


@pytest.mark.parametrize("family_id", ["sd", "sdxl"])
@pytest.mark.parametrize("scales", SCALES, ids=lambda scales: "+".join(scales))
def test_nested_scales_are_what_diffusers_makes_of_them(
    comfy_in_process: Any, family_id: str, scales: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    tuners = pytest.importorskip("peft.tuners.tuners_utils")
    import comfy.utils
    from diffusers.loaders.unet_loader_utils import _maybe_expand_lora_scales
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters

    class Layer(tuners.BaseTunerLayer):
        scale = 1.0

        def set_adapter(self, *_: Any, **__: Any) -> None:
            pass

        def set_scale(self, _: str, scale: float) -> None:
            self.scale = scale

    class Layers:
        """The layers of the UNet as PEFT would have wrapped them. Names too short for diffusers' code are left out."""

        def __init__(self, names: list[str]) -> None:
            self.layers = {name: Layer() for name in names if name.count(".") >= 3}

        def named_modules(self) -> Any:
            return self.layers.items()

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**UNETS[family_id])
    linears = (torch.nn.Linear, torch.nn.Conv2d)
    layers = Layers([name for name, module in unet.named_modules() if isinstance(module, linears)])
    set_weights_and_activate_adapters(layers, ["x"], _maybe_expand_lora_scales(unet, [scales]))
    ours = strengths(imported(json.dumps({"unet": scales}), f"diffusers.{family_id}"), model_keys(family_id))
    names = comfy.utils.unet_to_diffusers(CONFIGS[MODELS[family_id]])
    compared = 0
    for theirs, key in names.items():
        layer = layers.layers.get(theirs.removesuffix(".weight"))
        if layer is not None and f"diffusion_model.{key}" in ours:
            assert ours[f"diffusion_model.{key}"] == layer.scale, (theirs, key)
            compared += 1
    assert compared > 200

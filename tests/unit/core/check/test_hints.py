"""One sentence for the layers that do not land: the variant of the model that a file was made for."""

from __future__ import annotations

import pytest
from lora_files import flux2_shapes, header_from
from pack.nodes.core.check.files import check_header
from pack.nodes.core.check.model_file import model_of_header
from pack.nodes.core.check.report import Checked

H = 64
Shapes = dict[str, tuple[int, ...]]


def wan(channels: int = 16, image: bool = False) -> Shapes:
    shapes: Shapes = {"patch_embedding.weight": (H, channels, 1, 2, 2), "head.modulation": (1, 2, H)}
    for block in range(2):
        for part in ("self_attn.q", "self_attn.k", "cross_attn.q", "cross_attn.o", "ffn.0", "ffn.2"):
            shapes[f"blocks.{block}.{part}.weight"] = (H, H)
        shapes[f"blocks.{block}.modulation"] = (1, 6, H)
        if image:
            shapes[f"blocks.{block}.cross_attn.k_img.weight"] = (H, H)
    return shapes


def h3(columns: int, pruned: bool) -> Shapes:
    shapes: Shapes = {"adaln_t_table": (33, columns)} if pruned else {}
    shapes["final_layer.adaln_proj.linear.weight"] = (2 * H, columns)
    for block in range(2):
        shapes[f"blocks.{block}.attn.qkv_proj.weight"] = (3 * H, H)
        shapes[f"blocks.{block}.attn.out_proj.weight"] = (H, H)
        shapes[f"blocks.{block}.mlp.fc1.weight"] = (4 * H, H)
        shapes[f"blocks.{block}.mlp.fc2.weight"] = (H, 2 * H)
        shapes[f"blocks.{block}.adaln_proj.linear.weight"] = (18 * H, columns)
    return shapes


def pairs(layers: dict[str, tuple[int, int]]) -> Shapes:
    made: Shapes = {}
    for name, (rows, columns) in layers.items():
        made |= {
            f"diffusion_model.{name}.lora_A.weight": (4, columns),
            f"diffusion_model.{name}.lora_B.weight": (rows, 4),
        }
    return made


def check(model: Shapes, layers: dict[str, tuple[int, int]]) -> Checked:
    return check_header(header_from(pairs(layers)), model_of_header(header_from(model)))


I2V = {"blocks.0.self_attn.q": (H, H), "blocks.0.cross_attn.k_img": (H, H), "blocks.1.cross_attn.v_img": (H, H)}
FULL = {"blocks.0.attn.qkv_proj": (3 * H, H), "blocks.0.adaln_proj.linear": (18 * H, 24)}


@pytest.mark.parametrize(
    ("model", "layers", "sentence"),
    [
        (wan(36), I2V, "Made for Wan 2.1 image to video: the 2 layers that this model lacks do not exist in 2.2"),
        (wan(16), I2V, "exist in no text-to-video model"),
        (
            h3(8, True),
            FULL,
            "Made for the full MiniMax-H3, this one is pruned: its 1 adaln_proj layers take 24 columns",
        ),
        (h3(32, False), FULL, "Made for a pruned MiniMax-H3, this one is whole"),
        (
            flux2_shapes(H, 2, 2, 96),
            {"double_blocks.0.img_attn.proj": (H, H), "img_in": (H, 256)},
            "Made for a variant with 256 columns in its input layer, this one has 128",
        ),
    ],
)
def test_what_the_missing_layers_have_in_common(
    model: Shapes, layers: dict[str, tuple[int, int]], sentence: str
) -> None:
    checked = check(model, layers)
    assert checked.verdict.fit.value == "fits in part"
    assert sentence in checked.verdict.advice
    assert sentence not in " ".join(checked.report.notes)  # it is said once


def test_nothing_is_said_where_everything_lands() -> None:
    for model, layers in ((wan(36, image=True), {"blocks.0.cross_attn.k_img": (H, H)}), (h3(24, False), FULL)):
        checked = check(model, layers)
        assert checked.verdict.fits
        assert "Made for" not in " ".join((checked.verdict.advice, *checked.report.notes))

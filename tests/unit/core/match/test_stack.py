"""Which rows of a file's module are which rows of the model's layers."""

from __future__ import annotations

import random

import pytest
from lora_files import header_from
from pack.nodes.core.lora.file import LoraFile, read_lora
from pack.nodes.core.match.matches import Matches, match_layers
from pack.nodes.core.match.model_names import ModelNames
from pack.nodes.core.match.readings import understand
from pack.nodes.core.match.stack import Piece, fill_heights, read_stack
from pack.nodes.core.model.family import HALVES, STRAIGHT
from pack.nodes.core.report.report import LayerState

QKV = ("attn.to_q", "attn.to_k", "attn.to_v")


@pytest.mark.parametrize(
    ("names", "known", "total", "columns", "heights"),
    [
        (QKV, (None, None, None), 768, 64, (256, 256, 256)),
        (QKV, (None, None, None), 512, 256, (256, 128, 128)),
        (QKV, (256, None, None), 512, 256, (256, 128, 128)),
        (QKV, (None, None, 128), 512, 256, (256, 128, 128)),
        (("a.wq", "a.wk", "a.wv"), (None, 8, None), 40, 40, (24, 8, 8)),
        ((*QKV, "proj_mlp"), (None, None, None, 512), 896, 128, (128, 128, 128, 512)),
        ((*QKV, "proj_mlp"), (128, None, None, None), 896, 128, (128, 128, 128, 512)),
        (("img_mlp.gate_layer", "img_mlp.proj"), (None, 12), 24, 8, (12, 12)),
        (("kv.to_k", "kv.to_v"), (None, None), 24, 8, (12, 12)),
    ],
)
def test_heights_from_what_is_known(names, known, total, columns, heights) -> None:
    assert fill_heights(names, known, total, columns) == heights


def scattered(order: str, file: tuple[int, ...], model: tuple[int, ...]) -> list[tuple[int, int]]:
    """By row of the model's stack, the module and its row that end there."""
    rows: dict[int, tuple[int, int]] = {}
    for part in range(len(file)):
        for piece in read_stack(order, part, file, model):
            ranges = piece.ranges or ((0, piece.rows),)
            taken = [row for first, count in ranges for row in range(first, first + count)]
            assert len(taken) == piece.rows
            first = sum(model[: piece.layer]) + piece.start
            for place, row in enumerate(taken):
                assert first + place not in rows
                rows[first + place] = part, row
    return [rows[index] for index in range(sum(model))]


@pytest.mark.parametrize(("file", "model"), [((24,), (8, 12, 4)), ((8, 12, 4), (24,)), ((10, 14), (12, 12))])
@pytest.mark.parametrize("order", [STRAIGHT, HALVES])
def test_every_row_goes_to_one_place(order: str, file: tuple[int, ...], model: tuple[int, ...]) -> None:
    stacked = [(part, row) for part, rows in enumerate(file) for row in range(rows)]
    half = len(stacked) // 2
    expected = stacked if order == STRAIGHT else [*stacked[half:], *stacked[:half]]
    assert scattered(order, file, model) == expected


def test_rows_in_turns_are_sorted_by_head() -> None:
    heads, size = 3, 4
    turns = [(head, part, row) for head in range(heads) for part in range(3) for row in range(size)]
    sorted_rows = [turns.index((head, part, row)) for part in range(3) for head in range(heads) for row in range(size)]
    found = scattered(f"heads:{size}", (len(turns),), (len(turns),))
    assert [row for _, row in found] == sorted_rows


def test_what_is_whole_stays_whole() -> None:
    assert read_stack(STRAIGHT, 1, (4, 8, 4), (16,)) == (Piece(0, 4, 8, None),)
    with pytest.raises(ValueError, match="12 rows in all"):
        read_stack(STRAIGHT, 0, (12,), (4, 4))


def flux_shapes(hidden: int = 128) -> dict[str, tuple[int, ...]]:
    rows = {"img_attn.qkv": (3 * hidden, hidden), "img_attn.proj": (hidden, hidden), "img_mlp.0": (4 * hidden, hidden)}
    shapes = {f"diffusion_model.double_blocks.0.{name}.weight": shape for name, shape in rows.items()}
    shapes["diffusion_model.final_layer.adaLN_modulation.1.weight"] = (2 * hidden, hidden)
    return shapes


def lora(layers: dict[str, tuple[int, int]]) -> LoraFile:
    tensors = {}
    for name, (rows, columns) in layers.items():
        tensors[f"{name}.lora_A.weight"] = (4, columns)
        tensors[f"{name}.lora_B.weight"] = (rows, 4)
    return read_lora(header_from(tensors))


def matched(file: LoraFile, shapes: dict[str, tuple[int, ...]], architecture: str = "flux1") -> Matches:
    return match_layers(file, understand(file), ModelNames(shapes, architecture), shapes, False)


@pytest.mark.parametrize("prefix", ["", "transformer.", "base_model.model.", "lora_unet_", "lycoris_"])
def test_the_same_layers_under_every_prefix(prefix: str) -> None:
    names = {"transformer_blocks.0.attn.to_k": (128, 128), "transformer_blocks.0.attn.to_out.0": (128, 128),
             "norm_out.linear": (256, 128)}  # fmt: skip
    spelled = {prefix + (name.replace(".", "_") if prefix.endswith("_") else name): s for name, s in names.items()}
    k, out, norm = matched(lora(spelled), flux_shapes()).layers
    assert (k.patches[0].model_key, k.patches[0].offset, k.patches[0].takes) == (
        "diffusion_model.double_blocks.0.img_attn.qkv.weight", (0, 128, 128), {},
    )  # fmt: skip
    assert out.patches[0].target == "diffusion_model.double_blocks.0.img_attn.proj.weight"
    assert norm.patches[0].takes == {"up": (0, ((128, 128), (0, 128)))}
    assert all(match.state is LayerState.APPLIED and not match.patches[0].misfit for match in (k, out, norm))


def test_another_size_is_no_part_of_a_weight() -> None:
    """Fewer rows than the weight has are a misfit, not its first rows."""
    (match,) = matched(lora({"transformer_blocks.0.attn.to_out.0": (64, 128)}), flux_shapes()).layers
    assert match.patches[0].offset is None
    assert match.patches[0].misfit


def test_names_in_any_order_give_the_same_answer() -> None:
    names = [f"transformer.transformer_blocks.0.attn.{part}" for part in ("to_q", "to_k", "to_v", "to_out.0")]
    answers = []
    for seed in (3, 4):
        random.Random(seed).shuffle(names)
        found = matched(lora(dict.fromkeys(names, (128, 128))), flux_shapes())
        answers.append({match.layer.name: match.patches for match in found.layers})
    assert answers[0] == answers[1]

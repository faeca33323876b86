"""The verdict on a LoRA and a model, from fates, names and shapes alone."""

from __future__ import annotations

from typing import Any

import pytest
from pack.nodes.core.check import stranger as strangers
from pack.nodes.core.check import verdict as compat
from pack.nodes.core.files.tensors import Header, TensorInfo
from pack.nodes.core.lora.file import LoraFile, read_lora
from pack.nodes.core.model.blocks import BlockLayout
from pack.nodes.core.model.identify import ArchitectureMatch
from pack.nodes.core.model.slices import torn_slice
from pack.nodes.core.report.report import LayerReport, LayerState, Level

KLEIN_4B, KLEIN_9B = (3072, 5, 20, 7680), (4096, 8, 24, 12288)


def flux2(hidden: int, double: int, single: int, context: int) -> dict[str, tuple[int, ...]]:
    """Weights of a FLUX.2 model."""
    h = hidden
    shapes: dict[str, tuple[int, ...]] = {"img_in.weight": (h, 128), "txt_in.weight": (h, context),
                                          "single_stream_modulation.lin.weight": (3 * h, h)}  # fmt: skip
    for index in range(double):
        for stream in ("img", "txt"):
            block = f"double_blocks.{index}.{stream}"
            shapes |= {f"{block}_attn.qkv.weight": (3 * h, h), f"{block}_attn.proj.weight": (h, h),
                       f"{block}_mlp.0.weight": (6 * h, h), f"{block}_mlp.2.weight": (h, 3 * h)}  # fmt: skip
    for index in range(single):
        block = f"single_blocks.{index}.linear"
        shapes |= {f"{block}1.weight": (9 * h, h), f"{block}2.weight": (h, 4 * h)}
    return shapes


def lora_for(shapes: dict[str, tuple[int, ...]], prefix: str = "diffusion_model.", rank: int = 8) -> LoraFile:
    """The header of a LoRA on every weight of ``shapes`` that lies in a block."""
    tensors: dict[str, TensorInfo] = {}
    for key, (rows, columns) in ((k, s) for k, s in shapes.items() if "blocks" in k):
        name = f"{prefix}{key.removesuffix('.weight')}"
        for suffix, shape in (("lora_A.weight", (rank, columns)), ("lora_B.weight", (rows, rank))):
            tensors[f"{name}.{suffix}"] = TensorInfo(f"{name}.{suffix}", "BF16", shape, 0, 0)
    return read_lora(Header("x.safetensors", 0, "safetensors", tensors, {}))


def flux1_attention(blocks: int = 19) -> LoraFile:
    shapes = {f"transformer_blocks.{i}.attn.to_{part}.weight": (3072, 3072) for i in range(blocks) for part in "qkv"}
    shapes |= {f"single_transformer_blocks.{i}.attn.to_q.weight": (3072, 3072) for i in range(2 * blocks)}
    return lora_for(shapes, "transformer.")


@pytest.mark.parametrize("size", [KLEIN_4B, KLEIN_9B, (128, 2, 3, 64)])
def test_a_file_is_no_stranger_to_its_own_model(size: tuple[int, int, int, int]) -> None:
    shapes = flux2(*size)
    assert compat.find_stranger(lora_for(shapes), shapes) is None


@pytest.mark.parametrize(
    ("file", "model", "names"), [(KLEIN_4B, KLEIN_9B, ("4B", "9B")), (KLEIN_9B, KLEIN_4B, ("9B", "4B"))]
)
def test_another_size_is_named_in_both_directions(file: Any, model: Any, names: tuple[str, str]) -> None:
    stranger = compat.find_stranger(lora_for(flux2(*file)), flux2(*model))
    assert stranger is not None
    assert stranger.other_size
    assert (stranger.file, stranger.model) == tuple(f"FLUX.2 Klein {name}" for name in names)
    assert stranger.warning.startswith("Another size: the file is made for")


def test_flux1_attention_is_a_stranger_to_klein_4b_though_every_shape_is_equal() -> None:
    stranger = compat.find_stranger(flux1_attention(), flux2(*KLEIN_4B))
    assert stranger is not None
    assert stranger.file.startswith("FLUX.1 or ")
    assert not stranger.other_size
    assert any("up to 18, FLUX.2 Klein 4B has 5" in sentence for sentence in stranger.evidence)


def test_attention_of_few_blocks_may_be_either_and_is_not_accused() -> None:
    shapes = {f"transformer_blocks.{i}.attn.to_{p}.weight": (3072, 3072) for i in range(4) for p in "qkv"}
    assert compat.find_stranger(lora_for(shapes, "transformer."), flux2(*KLEIN_4B)) is None


def test_an_unknown_model_accuses_nobody() -> None:
    assert compat.find_stranger(flux1_attention(), {"layers.0.thing.weight": (7, 7)}) is None


def layer(state: LayerState, key: str = "a", **fields: Any) -> LayerReport:
    return LayerReport(state=state, lora_key=key, reason="" if state is LayerState.APPLIED else "because", **fields)


def stranger(other_size: bool = False) -> strangers.Stranger:
    return strangers.Stranger("FLUX.1", "FLUX.2 Klein 4B", ("evidence",), other_size)


def test_the_warning_stands_beside_what_lands_and_does_not_hide_it() -> None:
    before = (layer(LayerState.APPLIED), layer(LayerState.SHAPE_MISMATCH), layer(LayerState.DEAD))
    after = strangers.explain(before, stranger())
    assert [x.state for x in after] == [LayerState.APPLIED, LayerState.WRONG_ARCHITECTURE, LayerState.DEAD]
    assert "the file is made for FLUX.1" in after[0].reason
    assert after[1].reason == "because (the file is made for FLUX.1)"
    assert strangers.explain(before, stranger(other_size=True)) == before
    assert strangers.explain(before, None) == before


def judge(
    layers: list[LayerReport], coverage: float | None = 1.0, who: strangers.Stranger | None = None
) -> compat.Verdict:
    return compat.judge(layers, "x", None, "the model", who, coverage)


def test_verdicts() -> None:
    good, lost = layer(LayerState.APPLIED, "a"), layer(LayerState.NO_SUCH_LAYER, "b")
    waiting = LayerReport(LayerState.NO_SUCH_LAYER, f"text encoder, and {compat.NO_CLIP}", "lora_te_x")
    dead = layer(LayerState.DEAD, "d")
    assert judge([good]).fit is compat.Fit.FITS
    assert judge([good, dead]).fit is compat.Fit.FITS
    assert judge([good, dead]).level is Level.WARNING
    assert judge([good, waiting], 0.5).fit is compat.Fit.FITS
    assert judge([good, waiting], 0.5).coverage == 0.5
    assert judge([good, lost], 0.5).fit is compat.Fit.IN_PART
    assert judge([lost], 0.0).fit is compat.Fit.NOT
    assert judge([waiting], 0.0).fit is compat.Fit.NOT
    assert judge([good], 1.0, stranger()).fit is compat.Fit.NOT
    assert judge([], None).fit is compat.Fit.NOT
    assert judge([dead], None).fit is compat.Fit.FITS  # with a doubt
    assert judge([dead, lost], None).fit is compat.Fit.NOT


def test_a_coverage_that_was_not_measured_is_a_share_of_layers_and_says_so() -> None:
    landed = layer(LayerState.APPLIED, "a", not_measured="too big")
    verdict = judge([landed, layer(LayerState.SHAPE_MISMATCH, "b")], None)
    assert (verdict.coverage, verdict.measured) == (0.5, False)
    assert any("by number of layers" in note and "too big" in note for note in verdict.notes)


def test_every_verdict_has_one_sentence_and_one_advice() -> None:
    for state in LayerState:
        verdict = judge([layer(state)], None)
        assert verdict.summary.endswith(".")
        assert verdict.advice.endswith(".")


def test_a_slice_that_tears_the_gated_mlp() -> None:
    place = BlockLayout(flux2(*KLEIN_4B)).place("single_blocks.0.linear1.weight")
    tear = torn_slice(place, (27648, 3072), (0, 9216, 12288))
    assert "rows 9216-21503" in tear
    assert "rows 9216-27647" in tear
    for whole in (None, (0, 0, 3072), (0, 9216, 18432), (0, 0, 27648), (0, 0, 9216)):
        assert torn_slice(place, (27648, 3072), whole) == ""


def test_untouched_blocks_are_named_as_ranges() -> None:
    layout = BlockLayout(flux2(*KLEIN_4B))
    touched = [layer(LayerState.APPLIED, block=f"double_blocks.{i}") for i in (0, 1, 2, 4)]
    sentence = compat.untouched_blocks(touched, layout)
    assert sentence == "The file changes 4 of the model's 25 blocks: double_blocks.0-2, double_blocks.4."
    assert compat.untouched_blocks([], layout) == ""


def test_sampling_advice_only_where_it_is_known() -> None:
    assert "4 steps at CFG 1" in compat.sampling_advice(ArchitectureMatch("flux2", "FLUX.2 Klein 9B", "certain"))
    assert "steps at CFG 5" in compat.sampling_advice(ArchitectureMatch("wan", "Wan 2.x 14B", "likely"))
    assert compat.sampling_advice(ArchitectureMatch("wan", "Wan 2.x or LTX", "ambiguous")) == ""
    assert compat.sampling_advice(ArchitectureMatch("seedvr2", "SeedVR2", "certain")) == ""
    assert compat.sampling_advice(None) == ""

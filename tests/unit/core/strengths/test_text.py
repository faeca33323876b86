"""The text form of block strengths: what it says, and that it says the same after a round trip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.nodes.core.errors import BlockStrengthError
from pack.nodes.core.model.blocks import BlockLayout, layer_parts
from pack.nodes.core.model.slices import fused_slices
from pack.nodes.core.strengths.formats.families import family
from pack.nodes.core.strengths.text import (
    BlockStrengths,
    StrengthItem,
    StrengthTable,
    format_block_strengths,
    parse_block_strengths,
)
from support import some

NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
SEGMENT = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6).map(float)


@st.composite
def items(draw: st.DrawFn) -> StrengthItem:
    path = (draw(NAME | st.just("*")), *draw(st.lists(SEGMENT, max_size=2)))
    part = ".".join(draw(st.lists(SEGMENT, max_size=2)))
    value = draw(NUMBER) + 0.0
    kind = draw(st.sampled_from(["none", "any", "one", "range", "percent"]))
    if kind == "none":
        return StrengthItem(path, None, None, "", value)
    if kind == "any":
        return StrengthItem(path, None, None, part, value, any_index=True)
    first = draw(st.integers(0, 99))
    if kind == "percent":
        return StrengthItem(path, first, draw(st.integers(first + 1, 100)), part, value, percent=True)
    last = first if kind == "one" else draw(st.integers(first, 300))
    return StrengthItem(path, first, last, part, value)


@settings(deadline=None)
@given(st.lists(items(), max_size=6))
def test_parse_of_format_is_the_same(chosen: list[StrengthItem]) -> None:
    strengths = BlockStrengths(tuple(chosen))
    assert parse_block_strengths(format_block_strengths(strengths)) == strengths


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused_by_our_own_error(text: str) -> None:
    try:
        parsed = parse_block_strengths(text)
    except BlockStrengthError:
        return
    assert parse_block_strengths(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("double 3-=0.5", "is not the name of a block"),
        ("double_blocks.3", 'expected a block, "=" and a number'),
        ("double_blocks.4-2=1", "runs backwards; write 2-4"),
        ("*.50-120%=1", "between 0-100%"),
        ("*.50%=1", "is not the name of a block"),
        ("all=1e999", "expected a number"),
        ("all=1_000", "expected a number"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(BlockStrengthError, match="item 1") as raised:
        parse_block_strengths(text)
    assert message in str(raised.value)


def table(text: str, family_id: str = "flux1") -> dict[str, float]:
    """Strength of every layer of a family by its key without ``.weight``."""
    chosen = family(family_id)
    slices = [(unit.place, name) for unit in chosen.units for name in unit.names]
    bound = StrengthTable(parse_block_strengths(text), chosen.layout, slices)
    return {unit.place.key.removesuffix(".weight"): bound.strength(unit.place) for unit in chosen.units}


def changed(text: str, family_id: str = "flux1") -> set[str]:
    return {key.removeprefix("diffusion_model.") for key, value in table(text, family_id).items() if value != 1}


def test_star_is_every_block_and_nothing_else() -> None:
    hit = changed("*=0")
    assert {key.split(".")[0] for key in hit} == {"double_blocks", "single_blocks"}
    assert hit == changed("double=0, single=0")


def test_halves_by_depth_share_the_blocks() -> None:
    first, second = changed("*.0-50%=0"), changed("*.50-100%=0")
    assert not first & second
    assert first | second == changed("*=0")
    assert {key.split(".")[1] for key in first if key.startswith("double")} == {str(i) for i in range(9)}


@settings(deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True), st.sampled_from(["sd", "klein4b", "wan"]))
def test_ranges_by_depth_partition_every_container(cuts: list[int], family_id: str) -> None:
    edges = [0, *sorted(cuts), 100]
    layout = family(family_id).layout
    for block in some(layout.blocks):
        place = next(p for p in layout.places() if p.block == block)
        hits = [
            parse_block_strengths(f"*.{a}-{b}%=1").items[0].counts(block.index, *layout.position(place))
            for a, b in zip(edges, edges[1:], strict=False)
        ]
        assert hits.count(True) == 1


@pytest.mark.parametrize(
    ("text", "family_id", "expected"),
    [
        ("te.clip_l.layers.3.mlp.fc1=0", "flux1", {"clip_l.transformer.text_model.encoder.layers.3.mlp.fc1"}),
        ("te.3.wi_0=0", "flux1", {"t5xxl.transformer.encoder.block.3.layer.1.DenseReluDense.wi_0"}),
        ("te.t5xxl.encoder.block.0.q=0", "flux1", {"t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q"}),
        ("te.clip_l.other.token_embedding=0", "flux1", {"clip_l.transformer.text_model.embeddings.token_embedding"}),
        ("te.layers.35.v=0", "klein4b", {"qwen3_4b.transformer.model.layers.35.self_attn.v_proj"}),
    ],
)
def test_text_encoder_layers(text: str, family_id: str, expected: set[str]) -> None:
    assert changed(text, family_id) == expected


def test_text_encoder_items_cover_what_they_say() -> None:
    whole = changed("te=0", "sdxl")
    assert whole == changed("te.clip_l=0, te.clip_g=0", "sdxl")
    assert whole == changed("te.layers=0, te.other=0", "sdxl")
    assert changed("te.layers=0", "sdxl") == changed("te.*=0", "sdxl") == changed("te.0-31=0", "sdxl")
    assert changed("te.attn=0", "sdxl") < changed("te.layers=0", "sdxl")
    assert len(changed("te.clip_g.layers.0-50%.mlp=0", "sdxl")) == 16 * 2


def test_an_unknown_text_encoder_layer_says_what_there_is() -> None:
    with pytest.raises(BlockStrengthError, match=r"te\.clip_l\.layers\.0-11, te\.t5xxl\.block\.0-23, te\.other"):
        table("te.clip_g=0")
    with pytest.raises(BlockStrengthError, match="names nothing in this text encoder"):
        table("te.clip_l.layers.12=0")


def test_text_encoder_items_pass_where_none_is_connected() -> None:
    layout = BlockLayout(["double_blocks.0.img_attn.qkv.weight"])
    assert StrengthTable(parse_block_strengths("te.clip_l.layers.0=0, te=1"), layout).strength(layout.places()[0]) == 1


def test_the_image_stream_is_what_stands_beside_the_text_stream() -> None:
    keys = [f"transformer_blocks.0.attn.{n}.weight" for n in ("to_q", "add_q_proj", "to_add_out", "to_out.0")]
    keys += ["transformer_blocks.0.img_mlp.net.0.proj.weight", "transformer_blocks.0.txt_mlp.net.0.proj.weight"]
    layout = BlockLayout(keys)
    streams = {p.layer: p.parts & {"img", "txt"} for p in layout.places()}
    assert streams == {
        "attn.to_q": {"img"},
        "attn.add_q_proj": {"txt"},
        "attn.to_add_out": {"txt"},
        "attn.to_out.0": {"img"},
        "img_mlp.net.0.proj": {"img"},
        "txt_mlp.net.0.proj": {"txt"},
    }


def test_queries_have_one_name_fused_or_not() -> None:
    for layer in ("attn1.to_q", "self_attn.q_proj", "attn.add_q_proj", "self_attn.q"):
        assert "q" in layer_parts(layer)
    assert not {"q", "k", "v"} & layer_parts("attn.norm.query_norm")
    place = BlockLayout(["layers.0.attention.qkv.weight"]).places()[0]
    grouped = fused_slices(place, (3840, 2304))
    assert [(part.names, part.offset) for part in grouped] == [
        (("q",), (0, 0, 2304)),
        (("k",), (0, 2304, 768)),
        (("v",), (0, 3072, 768)),
    ]

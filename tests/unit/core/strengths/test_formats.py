"""Community formats of block strengths: each says after a round trip what it said before, and losses are listed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.nodes.core.errors import BlockStrengthError
from pack.nodes.core.strengths.formats import export_strengths, find_format, import_strengths, strength_formats
from pack.nodes.core.strengths.formats.elements import BLOCK_NAMES
from pack.nodes.core.strengths.presets import SHIPPED
from pack.nodes.core.strengths.text import parse_block_strengths

FORMATS = strength_formats()
LINES = [name for name in FORMATS if name.startswith("lbw.") and ".elements." not in name]
COUNTS = {
    "lbw.hako.sd.17": 17, "lbw.hako.sd.26": 26, "lbw.hako.sdxl.12": 12, "lbw.hako.sdxl.20": 20, "lbw.hako.flux1.61": 61,
    "lbw.inspire.sd": 17, "lbw.inspire.sd-lycoris": 27, "lbw.inspire.sdxl": 12, "lbw.inspire.sdxl-lycoris": 21,
    "lbw.inspire.flux1": 58, "lbw.inspire.klein4b": 26, "lbw.inspire.klein9b": 33, "lbw.inspire.hunyuan": 61,
    "lbw.remerger.flux1.57": 57, "lbw.remerger.flux1.19": 19,
}  # fmt: skip
EXACT_PRESETS = {
    "lbw.hako.sd.26": {"Input blocks off", "Output blocks off", "Text encoder off"},
    "lbw.inspire.flux1": {"Half strength", "Double blocks off", "Single blocks off"},
    "lbw.inspire.klein9b": {"First half", "Second half", "Fade in", "Fade out"},
    "kj.blocks.flux1": {"Double blocks off", "Single blocks off"},
    "tuz.klein9b": {"Image stream off", "Text stream off", "Double blocks off"},
    "diffusers.sdxl": {"Text encoder off"},
}
"""Presets that a format can say."""
VALUE = st.sampled_from([0.0, 1.0, 0.5, -0.25, 1.2]) | st.floats(-3, 3).map(lambda x: round(x, 3) + 0.0)


def strengths_of(text: str, family_id: str) -> dict[str, float]:
    """Strength of every unit of a family by key (and slice)."""
    chosen = FORMATS[next(name for name in FORMATS if FORMATS[name].family_id == family_id)].family
    values, unknown = chosen.values(parse_block_strengths(text))
    assert not unknown
    names = (unit.place.key.removesuffix(".weight") + "/".join(("", *unit.names)) for unit in chosen.units)
    return dict(zip(names, values, strict=True))


def at(text: str, family_id: str, *pieces: str) -> set[float]:
    """The strengths of all units whose key contains every piece."""
    return {v for key, v in strengths_of(text, family_id).items() if all(piece in key for piece in pieces)}


def numbers(line: str) -> list[float]:
    return [float(x) for x in line.rpartition(":")[2].strip("[]").split(",")]


@pytest.mark.parametrize("name", LINES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_line_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUE, min_size=COUNTS[name], max_size=COUNTS[name]))
    imported = import_strengths("NAME:" + ",".join(repr(x) for x in values), name)
    exported = export_strengths(imported.text, name)
    assert not imported.lost
    assert not exported.lost
    assert numbers(exported.text) == values or _only_unknown_blocks_differ(name, values, numbers(exported.text))


def _only_unknown_blocks_differ(name: str, values: Sequence[float], back: Sequence[float]) -> bool:
    """BLOCK lists name blocks that the model may not have; nothing can be there."""
    again = import_strengths(",".join(map(repr, values)), name).text
    return again == import_strengths(",".join(map(repr, back)), name).text


@pytest.mark.parametrize("count", [12, 17, 20, 26])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_kohya_lists_come_back(count: int, data: st.DataObject) -> None:
    name = next(name for name in FORMATS if name.startswith("kohya") and name.endswith(f".{count}"))
    values = data.draw(st.lists(VALUE, min_size=count, max_size=count))
    exported = export_strengths(import_strengths(json.dumps(values), name).text, name)
    assert not exported.lost
    assert json.loads(exported.text) == values


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("inspire.named")])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_named_lists_come_back(name: str, data: st.DataObject) -> None:
    vector = name.replace("inspire.named", "lbw.inspire")
    values = data.draw(st.lists(VALUE.map(abs), min_size=COUNTS[vector], max_size=COUNTS[vector]))
    text = import_strengths(",".join(map(repr, values)), vector).text
    exported = export_strengths(text, name)
    assert not exported.lost
    back = import_strengths(exported.text, name)
    assert not back.lost
    family_id = find_format(name).family_id
    assert strengths_of(back.text, family_id) == strengths_of(text, family_id)
    assert export_strengths(back.text, name).text == exported.text


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("kj.")])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_selected_blocks_come_back(name: str, data: st.DataObject) -> None:
    kinds = FORMATS[name].family.layout.kinds
    kinds = {"blocks": 48} if name == "kj.blocks.ltx2" else kinds
    keys = [f"{k}.{i}." for k, n in kinds.items() if "refiner" not in k for i in range(n)]
    chosen = {key: data.draw(VALUE) for key in keys}
    text = f"# alpha=8\n{json.dumps(chosen)}"
    exported = export_strengths(import_strengths(text, name).text, name)
    assert not exported.lost
    assert exported.text.startswith("# alpha=8\n")
    assert json.loads(exported.text.partition("\n")[2]) == pytest.approx(chosen)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_tuzzil_comes_back(data: st.DataObject) -> None:
    chosen = {
        "db": {str(i): {side: data.draw(VALUE) for side in ("img", "txt")} for i in range(8)},
        "sb": {str(i): data.draw(VALUE) for i in range(24)},
    }
    exported = export_strengths(import_strengths(json.dumps(chosen), "tuz.klein9b").text, "tuz.klein9b")
    assert not exported.lost
    assert json.loads(exported.text) == chosen


@pytest.mark.parametrize("family_id", ["sd", "sdxl"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_diffusers_scales_come_back(family_id: str, data: st.DataObject) -> None:
    down, up = {"sd": ((0, 1, 2), (1, 2, 3)), "sdxl": ((1, 2), (0, 1))}[family_id]
    chosen: dict[str, Any] = {
        "unet": {
            "down": {f"block_{b}": [data.draw(VALUE) for _ in range(2)] for b in down},
            "mid": data.draw(VALUE),
            "up": {f"block_{b}": [data.draw(VALUE) for _ in range(3)] for b in up},
        },
        "text_encoder": data.draw(VALUE),
    }
    if family_id == "sdxl":
        chosen["text_encoder_2"] = data.draw(VALUE)
    name = f"diffusers.{family_id}"
    exported = export_strengths(import_strengths(json.dumps(chosen), name).text, name)
    assert not exported.lost
    assert json.loads(exported.text) == chosen


def test_a_whole_block_never_overrules_its_pieces_in_an_export() -> None:
    """The pieces of one block come up before the whole of another, and the later entry wins."""
    text = "X:BASE IN00 OUT03::0.0,BASE::1.0,OUT03 BASE:attn:0.5"
    first = import_strengths(text, "lbw.elements.sd")
    exported = export_strengths(first.text, "lbw.elements.sd")
    assert exported.lost == ()
    back = import_strengths(exported.text, "lbw.elements.sd")
    assert strengths_of(back.text, "sd") == strengths_of(first.text, "sd")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_elements_mean_the_same_after_a_round_trip(data: st.DataObject) -> None:
    entry = st.tuples(
        st.lists(st.sampled_from(BLOCK_NAMES), min_size=1, max_size=4, unique=True).map(" ".join),
        st.sampled_from(["", "attn", "attn1", "attn2", "to_q", "ff_net", "proj_in", "in_layers", "to_k to_v"]),
        VALUE,
    )
    entries = data.draw(st.lists(entry, min_size=1, max_size=4))
    text = "X:" + ",".join(f"{blocks}:{elements}:{value!r}" for blocks, elements, value in entries)
    first = import_strengths(text, "lbw.elements.sd")
    exported = export_strengths(first.text, "lbw.elements.sd")
    assert not exported.lost
    back = import_strengths(exported.text, "lbw.elements.sd")
    assert strengths_of(back.text, "sd") == strengths_of(first.text, "sd")


def test_web_ui_lists_leave_out_as_zero() -> None:
    text = import_strengths("X:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0.5", "lbw.hako.sd.17").text
    assert at(text, "sd", "input_blocks.3.") == at(text, "sd", "output_blocks.2.") == {0.0}
    assert at(text, "sd", "input_blocks.4.") == at(text, "sd", "middle_block.0.") == {1.0}
    assert at(text, "sd", "output_blocks.11.") == {0.5}
    assert at(text, "sd", "time_embed") == {1.0}


def test_web_ui_flux_list_tells_encoders_inputs_and_output_apart() -> None:
    values = [0.1, 0.2, 0.3, *([1] * 57), 0.4]
    text = import_strengths(",".join(map(str, values)), "lbw.hako.flux1.61").text
    assert at(text, "flux1", "clip_l.") == {0.1}
    assert at(text, "flux1", "t5xxl.") == {0.2}
    assert at(text, "flux1", "model.guidance_in") == at(text, "flux1", "model.txt_in") == {0.3}
    assert at(text, "flux1", "final_layer.") == {0.4}


def test_selected_blocks_of_ltx_2_reach_every_key_that_contains_them() -> None:
    """KJNodes looks for "blocks.1." anywhere in a key."""
    conversion = import_strengths('# alpha=16\n{"blocks.1.": 8, "blocks.2.": 0, "blocks.48.": 1}', "kj.blocks.ltx2")
    assert at(conversion.text, "ltx2", "model.transformer_blocks.1.") == {0.5}
    assert at(conversion.text, "ltx2", "audio_embeddings_connector.transformer_1d_blocks.1.") == {0.5}
    assert at(conversion.text, "ltx2", "model.transformer_blocks.2.") == {0.0}
    assert at(conversion.text, "ltx2", "model.transformer_blocks.10.") == {1.0}
    assert "blocks.48." in conversion.lost[0]


def test_inspire_goes_on_with_the_last_value() -> None:
    """Its own FLUX presets are shorter than the model: what follows takes the last value."""
    text = import_strengths("FLUX-DBL-TAIL:0,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1,1", "lbw.inspire.flux1").text
    assert at(text, "flux1", "double_blocks.10.") == {0.0}
    assert at(text, "flux1", "double_blocks.18.") == at(text, "flux1", "single_blocks.37.") == {1.0}
    assert at(text, "flux1", "clip_l.") == at(text, "flux1", "final_layer.") == {0.0}


def test_inspire_named_numbers_count_from_one_over_present_blocks() -> None:
    conversion = import_strengths("%default=0.5, in1-3=0.2, out9=1, base=2", "inspire.named.sd")
    assert at(conversion.text, "sd", "input_blocks.4.") == {0.2}
    assert at(conversion.text, "sd", "input_blocks.5.") == {0.5}
    assert at(conversion.text, "sd", "output_blocks.11.") == {1.0}
    assert at(conversion.text, "sd", "clip_l.") == {2.0}
    dit = import_strengths("%double1-5=0.3,single=0", "inspire.named.klein9b").text
    assert at(dit, "klein9b", "double_blocks.4.") == {0.3}
    assert at(dit, "klein9b", "double_blocks.5.") == {1.0}
    assert at(dit, "klein9b", "single_blocks.") == {0.0}


def test_element_ff_means_everything_because_the_web_ui_searches_the_whole_key() -> None:
    text = import_strengths("X:IN04:ff:0", "lbw.elements.sd").text
    assert at(text, "sd", "input_blocks.4.") == {0.0}
    text = import_strengths("X:IN04:ff_net:0", "lbw.elements.sd").text
    assert at(text, "sd", "input_blocks.4.", "attn1") == {1.0}
    assert at(text, "sd", "input_blocks.4.", "ff.net") == {0.0}


def test_diffusers_samplers_follow_the_first_transformer_of_their_block() -> None:
    text = import_strengths(
        '{"unet": {"up": {"block_1": [0.1, 0.2, 0.3]}, "down": {"block_0": [0.4, 0.5]}}}', "diffusers.sd"
    ).text
    assert at(text, "sd", "output_blocks.5.2.conv") == {0.1}
    assert at(text, "sd", "output_blocks.5.1.") == {0.3}
    assert at(text, "sd", "input_blocks.3.") == {0.4}
    assert at(text, "sd", "input_blocks.2.") == {0.5}


@pytest.mark.parametrize(
    ("asked", "name", "sentence"),
    [
        ("double_blocks.0.txt=0", "lbw.inspire.klein4b", "double_blocks.0: txt_attn.qkv"),
        ("single_blocks.3.q=0.5", "kj", "linear1 (q/attn)"),
        ("other=0", "tuz.klein9b", "other: asked for 0, the format gives 1"),
        ("input_blocks.0=0.5", "lbw.inspire.sd", "input_blocks.0: asked for 0.5"),
        ("input_blocks.3=0.5", "lbw.hako.sd.17", "input_blocks.3: asked for 0.5, the format gives 0"),
        ("layers.3=0.5", "lbw.inspire.flux1", "layers.3 is not in FLUX.1"),
        ("te.clip_g.layers.0=0", "kohya.lbws.sdxl.20", "layers.0: asked for 0, the format gives 1"),
    ],
)
def test_an_export_lists_what_the_format_cannot_carry(asked: str, name: str, sentence: str) -> None:
    text = f"# alpha=4\n{asked}" if name == "kj" else asked
    lost = export_strengths(text, "kj.blocks.klein4b" if name == "kj" else name).lost
    assert any(sentence in line for line in lost), lost


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("1,0,0", "lbw.hako.sd.17", "expected 17 numbers, got 3"),
        ("A:1,R,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0", "lbw.hako.sd.17", "a random value"),
        ("A:1,X+0.2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0", "lbw.hako.sd.17", "an inherited weight"),
        ("A:1,0.5 1 0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0", "lbw.inspire.sd", "one value for each tensor"),
        ("@SD-FULL-TEST:17", "lbw.inspire.sd", "a series for a plot"),
        ("A:1,1\nB:0,0", "lbw.hako.sd.17", "expected one line"),
        ("in1=0.5", "inspire.named.sd", "begins with %"),
        ("[1, true]", "kohya.lbws.sdxl.12", "a list of 12 numbers in brackets"),
        ('{"double_blocks.0.": 16}', "kj.blocks.flux1", "replaces the LoRA's alpha"),
        ('{"unet": {"down": {"block_3": 1}}}', "diffusers.sd", "diffusers refuses it"),
        ("[" * 5000, "tuz.klein9b", "expected JSON"),
        ("1", "lbw", "Did you mean lbw.hako.sd.17"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(text: str, name: str, message: str) -> None:
    with pytest.raises(BlockStrengthError) as raised:
        import_strengths(text, name)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", FORMATS)
def test_an_exported_preset_comes_back_or_says_what_was_lost(name: str) -> None:
    """Every shipped preset: its strengths after the way there and back are the same, unless something is listed."""
    chosen = FORMATS[name].family
    exact: set[str] = set()
    for preset in SHIPPED:
        exported = export_strengths(f"# alpha=16\n{preset.blocks}", name)
        back = import_strengths(exported.text, name)
        asked, unknown = chosen.values(parse_block_strengths(preset.blocks))
        got, _ = chosen.values(parse_block_strengths(back.text))
        assert not back.lost
        assert bool(exported.lost) == (bool(unknown) or asked != pytest.approx(got)), preset.name
        if not exported.lost:
            exact.add(preset.name)
    assert exact >= EXACT_PRESETS.get(name, set())


@pytest.mark.parametrize("name", FORMATS)
@given(st.text(max_size=60))
@settings(max_examples=10, deadline=None)
def test_no_text_breaks_an_import(name: str, text: str) -> None:
    try:
        conversion = import_strengths(text, name)
    except BlockStrengthError:
        return
    assert parse_block_strengths(conversion.text) is not None


def test_ids_name_the_family() -> None:
    for name, item in FORMATS.items():
        assert item.family.label
        assert any(word in name for word in ("sd", "flux1", "klein", "hunyuan", "wan", "ltx2"))

"""Rows of LoRAs as a text: JSON, and the tags that other programs know."""

from __future__ import annotations

import json

import pytest
from pack.nodes.core.strengths.rows import LoraRow, LoraRowsError, format_rows, parse_rows, read_tags

ROWS = (
    LoraRow("folder/ä.safetensors", 0.8),
    LoraRow("b.safetensors", -1.25, 0.5, "double_blocks=0\nte=0.3", False),
    LoraRow("", 1.0),
)


def test_what_is_written_is_read_again() -> None:
    assert parse_rows(format_rows(ROWS)) == ROWS
    assert parse_rows(format_rows(())) == parse_rows("") == parse_rows("  ") == ()


def test_everything_but_the_name_may_be_missing() -> None:
    assert parse_rows('[{"lora": "a"}]') == parse_rows('{"lora": "a"}') == (LoraRow("a"),)
    assert parse_rows('[{"lora": "None", "on": false}]') == (LoraRow("", on=False),)


def test_the_text_encoder_gets_the_same_strength_unless_it_has_its_own() -> None:
    assert parse_rows('[{"lora": "a", "strength": 0.7}]')[0].entry == ("a", 0.7, 0.7)
    assert parse_rows('[{"lora": "a", "strength": 0.7, "clip": 0}]')[0].entry == ("a", 0.7, 0.0)
    assert parse_rows('[{"lora": "a", "blocks": "te=0"}]')[0].entry.blocks == "te=0"


def test_tags_among_other_words() -> None:
    text = "a cat <lora:one:0.8>, sunny <LORA: two words : -1 : 0.5 > <lora:three> <lora:four:unet=0.2:te=0>"
    assert read_tags(text) == (
        LoraRow("one", 0.8), LoraRow("two words", -1.0, 0.5), LoraRow("three"), LoraRow("four", 0.2, 0.0),
    )  # fmt: skip
    assert parse_rows(text) == read_tags(text)
    assert read_tags("no tag < lora:x>") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words", "expected a JSON list"),
        ("[1]", "row 1: expected an object"),
        ("[{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('[{"lora": "a"}, {"name": "b"}]', "row 2: there is no 'name'"),
        ('[{"lora": 5}]', "lora and blocks are texts"),
        ('[{"lora": "a", "on": 1}]', "on is true or false"),
        ('[{"lora": "a", "strength": "1"}]', "strength is '1'"),
        ('[{"lora": "a", "strength": true}]', "strength is 'True'"),
        ('[{"lora": "a", "clip": NaN}]', "clip is 'nan'"),
        ('[{"lora": "a", "strength": 1e999}]', "strength is 'inf'"),
        ('[{"lora": "a", "blocks": "double_blocks"}]', "row 1: "),
        ("<lora:a:x>", "expected <lora:name:0.8>"),
        ("<lora:a:1:1:1>", "expected <lora:name:0.8>"),
        ("<lora:a:0.5:LBW=1,0>", "block strengths"),
        ("<lora::1>", "expected <lora:name:0.8>"),
        ("<lora:>", "names no file"),
        (json.dumps([{"lora": "a"}] * 201), "at most 200"),
        ("<lora:a>" * 201, "at most 200"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, message: str) -> None:
    with pytest.raises(LoraRowsError, match="rows") as error:
        parse_rows(text)
    assert message in str(error.value)
    assert len(str(error.value)) < 400

"""Which program reads a file: the rules, against what others measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from lora_files import header_from
from pack.nodes.core.check.readers.programs import PROGRAMS, which_read
from pack.nodes.core.check.readers.rule import NO, PART, YES
from pack.nodes.core.lora.file import read_lora

TABLE = Path(__file__).resolve().parents[4] / "js" / "lib" / "words" / "strings_report.mjs"

KINDS = {
    "lora": (".lora_down.weight", ".lora_up.weight", ".alpha"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "dora": (".lora_down.weight", ".lora_up.weight", ".alpha", ".dora_scale"),
    "loha": (".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".alpha"),
    "lokr": (".lokr_w1", ".lokr_w2", ".alpha"),
    "oft2": (".oft_R.weight",),
}
SHAPES = {".alpha": (), ".oft_R.weight": (2, 6)}
NAMES = {
    ("flux2", "diffusers"): "transformer.transformer_blocks.0.attn.to_q",
    ("flux2", "kohya"): "lora_unet_double_blocks_0_img_attn_qkv",
    ("flux2", "native"): "diffusion_model.double_blocks.0.img_attn.qkv",
    ("flux1", "diffusers"): "transformer.transformer_blocks.0.attn.to_q",
    ("flux1", "kohya"): "lora_unet_double_blocks_0_img_attn_qkv",
    ("flux1", "native"): "diffusion_model.double_blocks.0.img_attn.qkv",
    ("sd15", "diffusers"): "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    ("sd15", "kohya"): "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    ("anima", "diffusers"): "transformer.transformer_blocks.0.attn1.to_q",
    ("anima", "native"): "diffusion_model.blocks.0.self_attn.q_proj",
}


def answers(family: str, names: str, kind: str) -> list[str]:
    shapes = {NAMES[family, names] + end: SHAPES.get(end, (4, 4)) for end in KINDS[kind]}
    return [reading.answer for reading in which_read(read_lora(header_from(shapes)), family)]


@pytest.mark.parametrize(
    ("family", "names", "kind", "comfyui", "diffusers"),
    [
        # rows of the matrix of OneTrainer #1563 (model, format, adapter: what diffusers and ComfyUI read)
        ("flux2", "diffusers", "peft", YES, YES),
        ("flux2", "native", "peft", YES, YES),  # since diffusers reads ai-toolkit's names
        ("flux1", "diffusers", "peft", YES, YES),
        ("flux1", "kohya", "lora", YES, YES),
        ("flux1", "native", "peft", YES, NO),
        ("sd15", "diffusers", "peft", NO, YES),
        ("sd15", "kohya", "lora", YES, YES),
        ("sd15", "kohya", "dora", PART, PART),
        ("sd15", "kohya", "loha", YES, NO),
        ("sd15", "kohya", "lokr", YES, NO),
        ("sd15", "diffusers", "loha", NO, NO),
        ("sd15", "kohya", "oft2", NO, NO),
        # ComfyUI #14182; diffusers refuses keys without the word lora
        ("anima", "diffusers", "peft", NO, YES),
        ("anima", "native", "lora", YES, NO),
        ("anima", "native", "peft", YES, YES),
    ],
)
def test_the_rules_agree_with_what_others_measured(
    family: str, names: str, kind: str, comfyui: str, diffusers: str
) -> None:
    assert answers(family, names, kind)[:2] == [comfyui, diffusers]


def test_forge_and_kohya_know_fewer_models() -> None:
    assert answers("flux1", "kohya", "lora")[2:] == [YES, YES]
    assert answers("flux2", "kohya", "lora")[2:] == [NO, NO]
    assert answers("sd15", "kohya", "lokr")[2:] == [YES, PART]
    assert answers("flux1", "diffusers", "peft")[2:] == [YES, NO]


def test_what_is_not_known_is_said() -> None:
    shapes = {f"transformer.odd.0.x{end}": (4, 4) for end in KINDS["peft"]}
    readings = which_read(read_lora(header_from(shapes)), "")
    assert "is not known" in str(readings[0])


def test_every_rule_has_a_reason_a_source_and_its_words() -> None:
    rows = re.findall(r"^    (\[.*\]),$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    english = {json.loads(row)[0] for row in rows}
    for program in PROGRAMS:
        assert program.version
        for rule in program.rules:
            assert rule.source
            assert rule.answer in (YES, PART, NO)
            assert rule.answer == YES or rule.why in english, rule.why


def test_the_installed_version_is_named() -> None:
    lora = read_lora(header_from({NAMES["flux1", "kohya"] + end: SHAPES.get(end, (4, 4)) for end in KINDS["lora"]}))
    assert which_read(lora, "flux1", "0.99.0")[0].program == "ComfyUI 0.99.0 (rules of 0.30.0)"
    assert which_read(lora, "flux1", "0.30.0")[0].program == which_read(lora, "flux1")[0].program == "ComfyUI 0.30.0"

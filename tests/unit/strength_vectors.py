"""Cases that the Python and the JavaScript reading of block strengths must agree on.

``python -m tests.unit.strength_vectors`` writes ``strength_vectors.json`` beside this file. The Python suite checks
that the file is what the Python reading gives today, the JavaScript suite that its own reading gives the same.
"""

from __future__ import annotations

import json
import random
import sys
import types
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("strength_vectors.json")
if "pack" not in sys.modules:  # run as a command
    package = types.ModuleType("pack")
    package.__path__ = [str(ROOT)]
    sys.modules["pack"] = package

from pack.nodes.core.errors import BlockStrengthError  # noqa: E402
from pack.nodes.core.model.blocks import BlockLayout, Place  # noqa: E402
from pack.nodes.core.model.slices import fused_slices  # noqa: E402
from pack.nodes.core.strengths.layout import describe_layout  # noqa: E402
from pack.nodes.core.strengths.text import BlockStrengths, StrengthTable, parse_block_strengths  # noqa: E402

Shapes = dict[str, tuple[int, ...]]

_SYNTAX = [
    "", "   ", ",,\n,", "# only a comment", "all=1", "all = 0.5", " all=1 , other=0 ", "all=1,", "all=.5", "all=5.",
    "all=+1", "all=-0", "all=1e2", "all=1E-3", "all=1e999", "all=nan", "all=inf", "all=1_0", "all=0x10", "all=", "all",
    "=1", "all=1=2", "all=one", "all=--1", "all=1,5", "a b=1", "3=1", "*=0.5", "*.3=1", "**=1", "*.*=1", "all.=1",
    ".all=1", "all..attn=1", "double_blocks.0-4=0.8", "double_blocks.4-0=0.8", "double_blocks.-1=1",
    "double_blocks.0-=1",
    "double_blocks. 1 =1", "double_blocks.1 - 2=1", "double_blocks.1.img_attn.qkv=0", "double_blocks.1.0=2",
    "double_blocks.1.a-b=2", "double_blocks.1.=2", "double_blocks.*.txt=0", "double_blocks.1.*=0.25", "*.0-50%=0.8",
    "*.50-50%=1", "*.60-40%=1", "*.0-101%=1", "*.50%=1", "double_blocks.0000001=1", "double_blocks.1234567=1",
    "all=1 # off, double_blocks.0=0", "#all=1\nall=2", "all=1\r\nother=2\rte=3\n\nall=4", "all=1\u2028other=2",
    "all=1\u00a0",
    "\u3000all=1", "all=0\x1cother=2", "αll=1", "double_blocks.é=1", "all=1;other=2",
]  # fmt: skip
_MEANING = [
    "double=0.5", "double.0=0", "single_blocks.1-2=0.25", "single.3.attn=0", "single.*.mlp=0.5, single.1.mlp=2",
    "*.q=0", "double_blocks.*.qkv=0, double_blocks.0.v=1", "double_blocks.img=0", "double_blocks.1.img_attn.qkv=0.5",
    "double_blocks.1.attn.qkv=0.5", "other=0", "other.img_in=0.5", "other.1=0.5", "all.attn=0", "all.2=0",
    "all.0.attn=0",
    "te=0.7", "te.clip_l=0", "te.t5xxl.attn=0", "te.layers=0", "te.encoder.layers=0", "te.clip_l.layers.0=0.5",
    "te.block.1=0", "te.*=0", "te.0=0.5", "te.0-50%=0", "te.other=0", "te.clip_l.other=0", "te.other.token_embedding=0",
    "te.layers.mlp=0", "te.layers.mlp.0=0", "te.nothing=0", "te.nothing.0=0", "te.5=1", "*.0-50%=0", "*.50-100%=0",
    "*.0-1%=0", "double_blocks.0-50%=0", "*=0, *.1=1", "in.1=0", "in=0", "mid=0", "out.0.attn=0", "input_blocks.1.1=0",
    "layers=0", "layers.7=0", "nothing=1", "double_blocks.99=1", "double_blocks.0.nothing=1",
    "double_blocks.img_attn.0=0",
    "all=0, double_blocks.*=1", "double_blocks.*=1, all=0", "transformer_blocks.0.img=0", "transformer_blocks.*.txt=0",
    "transformer_blocks.to_q=0", "transformer_blocks.0.q=0",
]  # fmt: skip


def layouts() -> dict[str, tuple[Shapes, Shapes]]:
    """Weights of small models that are built as real ones are, and of their text encoders."""
    flux: Shapes = {"img_in.weight": (8, 4), "final_layer.linear.weight": (4, 8), "final_layer.linear.bias": (4,)}
    for index in range(2):
        for stream in ("img", "txt"):
            base = f"double_blocks.{index}.{stream}"
            flux[f"{base}_attn.qkv.weight"] = (24, 8)
            flux[f"{base}_attn.qkv.bias"] = (24,)
            flux[f"{base}_attn.proj.weight"] = (8, 8)
            flux[f"{base}_mlp.0.weight"] = (32, 8)
    for index in range(4):
        flux[f"single_blocks.{index}.linear1.weight"] = (56, 8)
        flux[f"single_blocks.{index}.linear2.weight"] = (8, 40)
    clip = {"clip_l.transformer.text_model.embeddings.token_embedding.weight": (9, 4)}
    for index in range(2):
        base = f"clip_l.transformer.text_model.encoder.layers.{index}"
        clip[f"{base}.self_attn.q_proj.weight"] = (4, 4)
        clip[f"{base}.mlp.fc1.weight"] = (8, 4)
    for index in range(3):
        clip[f"t5xxl.transformer.encoder.block.{index}.layer.0.SelfAttention.q.weight"] = (4, 4)
    clip["t5xxl.transformer.shared.weight"] = (9, 4)
    unet: Shapes = {"time_embed.0.weight": (4, 4)}
    for index in range(3):
        unet[f"input_blocks.{index}.0.in_layers.2.weight"] = (4, 4, 3, 3)
        if index:
            for part in ("attn1.to_q", "attn2.to_v", "ff.net.0.proj"):
                unet[f"input_blocks.{index}.1.transformer_blocks.0.{part}.weight"] = (4, 4)
            unet[f"output_blocks.{index - 1}.1.transformer_blocks.0.attn1.to_k.weight"] = (4, 4)
    unet["middle_block.0.in_layers.2.weight"] = (4, 4, 3, 3)
    unet["middle_block.1.proj_in.weight"] = (4, 4)
    qwen: Shapes = {"img_in.weight": (4, 4)}
    for index in range(3):
        for part in (
            "attn.to_q",
            "attn.to_k",
            "attn.add_q_proj",
            "attn.to_add_out",
            "img_mlp.net.0.proj",
            "txt_mlp.net.2",
        ):
            qwen[f"transformer_blocks.{index}.{part}.weight"] = (4, 4)
    return {"flux": (flux, {}), "flux_with_te": (flux, clip), "unet": (unet, {}), "qwen": (qwen, {})}


def make_vectors() -> dict[str, Any]:
    """All cases with what the Python reading says."""
    known = {name: (BlockLayout(shapes, te), {**shapes, **te}) for name, (shapes, te) in layouts().items()}
    described = {
        name: {"schema": "patchbay.blocks", "version": 1, "source": "model", "architecture": "", "energy": None}
        | {"not_measured": 0, **describe_layout(layout, shapes.items())}
        for name, (layout, shapes) in known.items()
    }
    cases = [_case(text, "flux", *known["flux"], described["flux"]) for text in _SYNTAX]
    for name, (layout, shapes) in known.items():
        chance = random.Random(f"patchbay {name}")
        cases += [_case(text, name, layout, shapes, described[name]) for text in _MEANING]
        lists = (_case(_random_text(name, chance), name, layout, shapes, described[name]) for _ in range(2_000))
        cases += list(islice((case for case in lists if "strengths" in case), 60))
    return {"layouts": described, "cases": cases}


def _random_text(name: str, chance: random.Random) -> str:
    """A list of several items: what matters is which of them wins."""
    heads = {
        "flux": ["all", "*", "double", "double_blocks", "single", "other"],
        "flux_with_te": ["all", "*", "double", "single_blocks", "te", "te.clip_l", "te.layers", "te.t5xxl.block"],
        "unet": ["all", "*", "in", "mid", "out", "input_blocks"],
        "qwen": ["all", "*", "transformer_blocks", "other"],
    }[name]
    items = []
    for _ in range(chance.randint(2, 6)):
        index = chance.choice(["", "", ".*", ".0", ".1", ".0-1", ".1-2", ".0-50%", ".50-100%"])
        part = chance.choice(["", "", "", ".attn", ".mlp", ".img", ".txt", ".q"])
        items.append(f"{chance.choice(heads)}{index}{part}={chance.randint(-8, 16) / 8:g}")
    return chance.choice([", ", "\n", " ,\n"]).join(items)


def _case(text: str, name: str, layout: BlockLayout, shapes: Shapes, described: dict[str, Any]) -> dict[str, Any]:
    case: dict[str, Any] = {"layout": name, "text": text}
    try:
        strengths = parse_block_strengths(text)
    except BlockStrengthError as error:
        return case | {"problem": _kind(str(error))}
    case["items"] = [
        [".".join(x.path), x.first, x.last, x.part, x.any_index, x.percent, x.value + 0.0] for x in strengths.items
    ]
    try:
        values = _values(strengths, layout, shapes, described)
    except BlockStrengthError as error:
        return case | {"problem": _kind(str(error))}
    runs: list[list[float]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return case | {"strengths": runs}


def _values(strengths: BlockStrengths, layout: BlockLayout, shapes: Shapes, described: dict[str, Any]) -> list[float]:
    """The strength of every unit, in the order in which the page goes through a layout."""
    places: dict[tuple[bool, str, int | None, str], Place] = {}
    slices = []
    for key, shape in shapes.items():
        place = layout.place(key)
        kind = place.block.kind if place.block else place.encoder
        places[place.text_encoder, kind, place.block.index if place.block else None, place.layer] = place
        slices += [(place, name) for part in fused_slices(place, shape) for name in part.names]
    table = StrengthTable(strengths, layout, slices)
    values: list[float] = []  # + 0.0: JSON would tell -0.0 from 0.0

    def add(text: bool, kind: str, index: int | None, number: int | None) -> None:
        for layer in described["layer_sets"][number] if number is not None else ():
            place = places[text, kind, index, layer["layer"]]
            values.extend(table.strength(place, names) + 0.0 for names in layer["slices"] or [()])

    te = described["te"] or {"containers": [], "other": []}
    for text, containers in ((False, described["containers"]), (True, te["containers"])):
        for container in containers:
            for block in container["blocks"]:
                add(text, container["kind"], block["index"], block["layers"])
        if not text:
            add(False, "", None, described["other"])
    for other in te["other"]:
        add(True, other["encoder"], None, other["layers"])
    return values


def _kind(sentence: str) -> str:
    """The page's word for an error of the Python reading."""
    signs = {
        'expected a block, "="': "noNumber",
        "expected a number after": "notANumber",
        "is not the name of a block": "notABlock",
        "is not the name of a part": "notAPart",
        "runs backwards": "backwards",
        "range of depth": "notADepth",
        "names nothing": "namesNothing",
    }
    return next(kind for sign, kind in signs.items() if sign in sentence)


def as_text() -> str:
    """The file's content, one case a line."""
    vectors = make_vectors()
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in vectors["cases"])
    known = json.dumps(vectors["layouts"], separators=(",", ":"))
    return f'{{"layouts":{known},\n"cases":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    FILE.write_text(as_text(), encoding="utf-8")

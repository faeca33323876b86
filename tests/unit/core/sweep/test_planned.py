"""Units from what Apply LoRA reported, and a bench that says what it is about to ask for."""

from __future__ import annotations

from typing import Any

import pytest
from pack.nodes.core.sweep.modes import run_mode
from pack.nodes.core.sweep.planned import units_of_report, with_layers
from pack.nodes.core.sweep.units import tagged
from sweep_benches import made_bench

MODEL = {
    "blocks": [{"kind": "double_blocks", "first": 0, "count": 2}, {"kind": "single_blocks", "first": 0, "count": 2}],
    "layers": {
        "double_blocks": ["img_attn.qkv", "txt_attn.qkv", "img_mlp.0"],
        "single_blocks": ["linear1", "linear2"],
        "other": ["img_in"],
    },
}


def layer(path: str, strength: float = 1.0, norm: float | None = 1.0, **change: Any) -> dict[str, Any]:
    block = "te" if path.startswith(("clip", "t5")) else "other" if "blocks" not in path else path[:15]
    key = f"{path}.weight" if block == "te" else f"diffusion_model.{path}.weight"
    known = {"lora_key": path, "model_key": key, "block": block, "state": "applied", "shape": [8, 8], "slice": None}
    return {**known, "strength": strength, "block_strength": strength, "delta_norm": norm, **change}


def report(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"model": MODEL, "layers": list(layers)}


def names(found: Any) -> list[str]:
    return [unit.name for unit in found]


def test_units_come_in_the_models_order_and_only_of_what_is_applied() -> None:
    found = report(
        layer("img_in"), layer("single_blocks.1.linear1", shape=[56, 8]), layer("double_blocks.1.img_attn.qkv"),
        layer("double_blocks.1.txt_attn.qkv"), layer("double_blocks.0.img_mlp.0", state="skipped"),
        layer("single_blocks.0.linear1", state="no_such_layer"),
    )  # fmt: skip
    assert names(units_of_report(found, "block", False)) == ["double_blocks.1", "single_blocks.1", "other"]
    assert names(units_of_report(found, "kind of block", False)) == ["double_blocks.*", "single_blocks.*", "other"]
    streams = ["double_blocks.1.img", "double_blocks.1.txt", "single_blocks.1", "other"]
    assert names(units_of_report(found, "block and stream", False)) == streams
    parts = ["double_blocks.1.attn", "single_blocks.1.attn", "single_blocks.1.mlp", "other"]
    assert names(units_of_report(found, "block and part", False)) == parts


def test_slices_of_a_fused_weight_tell_its_height() -> None:
    slices = [layer("single_blocks.0.linear1", slice=[0, start, 8], shape=[8, 8]) for start in (0, 8, 16)]
    mlp = layer("single_blocks.0.linear1", slice=[0, 24, 32], shape=[32, 8])
    whole = ["single_blocks.0.attn", "single_blocks.0.mlp"]
    assert names(units_of_report(report(*slices, mlp), "block and part", False)) == whole


def test_text_encoders_are_units_where_pictures_depend_on_them() -> None:
    found = report(layer("double_blocks.0.img_mlp.0"), layer("clip_l.transformer.layers.0.fc1"))
    assert names(units_of_report(found, "block", False)) == ["double_blocks.0"]
    assert names(units_of_report(found, "block", True)) == ["double_blocks.0", "te"]
    found["layers"].append(layer("t5xxl.transformer.block.0.wo"))
    assert names(units_of_report(found, "block", True)) == ["double_blocks.0", "te.clip_l", "te.t5xxl"]


def test_energy_is_that_of_what_is_applied() -> None:
    plain = report(
        layer("double_blocks.0.img_mlp.0", 0.5, 2.0), layer("double_blocks.1.img_mlp.0", 1.0, 3.0),
        layer("single_blocks.0.linear2", 0.0, 9.0, state="skipped"),
    )  # fmt: skip
    units = units_of_report(plain, "block", False)
    text, tags = tagged(units)
    assert text == "double_blocks.0=2.0, double_blocks.1=2.0009765625"
    told = report(
        layer("double_blocks.0.img_mlp.0", norm=2.0, block_strength=2.0),
        layer("double_blocks.1.img_mlp.0", norm=3.0, block_strength=2.0009765625),
        layer("single_blocks.0.linear2", norm=9.0, block_strength=2.0),
    )
    found = with_layers(units, plain, told, tags)
    assert [unit.layers for unit in found] == [1, 1]
    assert [unit.energy for unit in found] == pytest.approx([0.1, 0.9])
    told["layers"][0]["delta_norm"] = None
    assert [unit.energy for unit in with_layers(units, plain, told, tags)] == [None, None]


def test_strengths_may_cut_a_weight_where_the_file_does_not() -> None:
    key = "single_blocks.0.linear1"
    plain = report(layer(key, 1.0, 5.0, shape=[56, 8]))
    units = units_of_report(plain, "block and part", False)
    _, tags = tagged(units)
    told = report(
        layer(key, norm=3.0, slice=[0, 0, 24], block_strength=2.0),
        layer(key, norm=4.0, slice=[0, 24, 32], block_strength=2.0009765625),
    )
    found = with_layers(units, plain, told, tags)
    assert [(unit.layers, unit.energy) for unit in found] == [(1, 0.36), (1, 0.64)]
    half = report(layer(key, 0.5, 3.0, slice=[0, 0, 24]), layer(key, 1.0, 4.0, slice=[0, 24, 32]))
    assert [unit.energy for unit in with_layers(units, half, told, tags)] == pytest.approx([2.25 / 18.25, 16 / 18.25])


@pytest.mark.parametrize("mode", ["knock-out", "solo"])
def test_a_bench_says_at_once_what_it_will_ask_for(mode: str) -> None:
    import pack

    bench = made_bench(pack, [2.0, 0.0, 0.0, 1.0])
    told: list[list[frozenset[int]]] = []
    bench.ahead = lambda settings: told.append(list(settings))
    swept = run_mode(bench, mode, 0.1, range(4))
    assert [len(settings) for settings in told] == [4]
    assert told[0] == [swept.alone[unit] for unit in range(4)]
    run_mode(bench, mode, 0.1, range(4))
    assert len(told) == 1, "what is known is not asked for again"

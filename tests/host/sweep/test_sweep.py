"""Sweeps of real models: chosen blocks are found, nothing stays behind, the time is kept, and what was run is kept."""

from __future__ import annotations

import re
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from measure_support import attached_things, conditioning, latent, slow_step
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host
NANO = {"hidden": 128, "double": 1, "single": 3, "context": 64}
CHOSEN = ("single_blocks.1.",)


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core.errors import PatchbayError
    from pack.nodes.core.sweep.bench import TimeSpent
    from pack.nodes.host.apply import apply, lora_cache
    from pack.nodes.host.sweep import cells, store, sweep, units

    return types.SimpleNamespace(
        sd=comfy.sd, load=lora_cache.LORA_CACHE.load, cells=cells, sweep=sweep, units=units, store=store,
        apply=apply.apply_lora, error=PatchbayError, time_spent=TimeSpent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def nano(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**NANO))


@pytest.fixture(autouse=True)
def folder(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host.cells, "LATENTS", host.store.LatentStore(lambda: tmp_path / "kept"))
    monkeypatch.setattr(host.sweep, "LATENTS", host.cells.LATENTS)
    return tmp_path / "kept"


def lora_of(tmp_path: Path, chosen: tuple[str, ...] | None = None, size: float = 0.1) -> str:
    """A LoRA of every block, which changes nothing outside ``chosen``."""
    state = native_lora(size=size, **NANO)
    for key, tensor in state.items():
        if chosen is not None and key.endswith("lora_B.weight") and not any(name in key for name in chosen):
            tensor.mul_(1e-4)
    return write(tmp_path / "x.safetensors", state)


def split_lora(**sizes: int) -> dict[str, torch.Tensor]:
    """Attention layers as diffusers has them: in double blocks a LoRA each for q, k and v of the fused weight."""
    state: dict[str, torch.Tensor] = {}
    for key, tensor in native_lora(**sizes).items():
        found = re.fullmatch(r"diffusion_model\.double_blocks\.(\d+)\.(\w+)\.qkv\.(.*)", key)
        if found is None:
            if ".linear2." in key:
                single = key.replace("diffusion_model.single_blocks", "transformer.single_transformer_blocks")
                state[single.replace(".linear2.", ".attn.to_out.")] = tensor
            continue
        block, stream, factor = found.groups()
        words = ("to_q", "to_k", "to_v") if stream == "img_attn" else ("add_q_proj", "add_k_proj", "add_v_proj")
        rows = tensor.chunk(3) if "lora_B" in factor else (tensor, tensor, tensor)
        for word, part in zip(words, rows, strict=True):
            state[f"transformer.transformer_blocks.{block}.attn.{word}.{factor}"] = part.clone()
    return state


def inputs(host: Any, model: Any, path: str, **change: Any) -> Any:
    fields = {
        "model": model, "lora": host.load(path, "x"), "strength": 1.0, "positive": conditioning(),
        "negative": conditioning(1), "latent": latent(), "seed": 3, "seeds": 1, "steps": 2, "cfg": 1.0,
        "sampler_name": "euler", "scheduler": "simple", "mode": "knock-out", "grouping": "block", "distance": 0.1,
        "budget_s": 600.0, "feature_shift": False,
    }  # fmt: skip
    return host.cells.SweepInputs(**{**fields, **change})


@pytest.mark.parametrize("mode", ["knock-out", "solo", "search"])
def test_a_lora_of_one_block_is_found_there_and_only_there(host: Any, nano: Any, tmp_path: Path, mode: str) -> None:
    result = host.sweep.run_sweep(inputs(host, nano, lora_of(tmp_path, CHOSEN), mode=mode, seeds=2))
    assert [row.name for row in result.table.rows if row.kept] == ["single_blocks.1"]
    assert result.blocks == "double_blocks.0=0, single_blocks.0=0, single_blocks.2=0"
    assert result.table.missed.mean < 0.01
    assert result.table.floor == 0
    assert attached_things(nano) == []


def test_the_result_is_what_apply_lora_makes_of_the_text(host: Any, nano: Any, tmp_path: Path) -> None:
    path = lora_of(tmp_path, CHOSEN)
    result = host.sweep.run_sweep(inputs(host, nano, path))
    applied = host.apply(path, "x", nano, None, 1.0, 0.0, result.blocks).model
    scene = host.cells.scenes_of(inputs(host, nano, path))[0][0]
    from pack.nodes.host.measure.sampling import sample_latent

    found = sample_latent(applied, scene, lambda *_: None)
    assert torch.equal(found, result.bench.pictures(result.swept.dropped)[0])


def test_units_and_their_energy(host: Any, nano: Any, tmp_path: Path) -> None:
    lora = host.load(lora_of(tmp_path, CHOSEN), "x")
    blocks = host.units.find_units(lora, nano, "block")
    assert [unit.name for unit in blocks] == ["double_blocks.0", *(f"single_blocks.{i}" for i in range(3))]
    assert [unit.layers for unit in blocks] == [8, 2, 2, 2]
    assert blocks[2].energy == pytest.approx(1, abs=1e-4)
    parts = host.units.find_units(lora, nano, "block and part")
    assert [unit.name for unit in parts[:3]] == ["double_blocks.0.attn", "double_blocks.0.mlp", "single_blocks.0.attn"]
    assert sum(unit.energy for unit in parts) == pytest.approx(1)
    streams = host.units.find_units(lora, nano, "block and stream")
    assert [unit.name for unit in streams[:2]] == ["double_blocks.0.img", "double_blocks.0.txt"]
    own = host.units.find_units(lora, nano, "own groups", "a: double_blocks.*, single_blocks.0\nb: single_blocks.1-2")
    assert [(unit.name, unit.layers) for unit in own] == [("a", 10), ("b", 4)]
    with pytest.raises(host.error, match="changes nothing in"):
        host.units.find_units(lora, nano, "own groups", "double_blocks.*\n*")
    with pytest.raises(host.error, match="single_blocks.9"):
        host.units.find_units(lora, nano, "own groups", "double_blocks.*\nsingle_blocks.9")


@pytest.mark.parametrize("grouping", ["block", "block and stream", "block and part", "kind of block"])
@pytest.mark.parametrize("spelling", [native_lora, split_lora])
def test_a_report_tells_the_same_units(host: Any, nano: Any, tmp_path: Path, grouping: str, spelling: Any) -> None:
    """The command ``sweep`` knows the model only by what Apply LoRA reported."""
    from pack.nodes.core.report.report import to_json
    from pack.nodes.core.sweep.planned import units_of_report, with_layers
    from pack.nodes.core.sweep.units import tagged

    path = write(tmp_path / "x.safetensors", spelling(**NANO))
    report = to_json(host.apply(path, "x", nano, None, 1.0, 0.0, "").report)
    units = units_of_report(report, grouping, False)
    text, tags = tagged(units)
    told_apart = to_json(host.apply(path, "x", nano, None, 1.0, 0.0, text).report)
    assert with_layers(units, report, told_apart, tags) == host.units.find_units(host.load(path, "x"), nano, grouping)


@pytest.mark.all
def test_parts_of_fused_weights_are_left_out_too(host: Any, nano: Any, tmp_path: Path) -> None:
    result = host.sweep.run_sweep(inputs(host, nano, lora_of(tmp_path, CHOSEN), grouping="block and part"))
    kept = [row.name for row in result.table.rows if row.kept]
    assert set(kept) <= {"single_blocks.1.attn", "single_blocks.1.mlp"}
    assert kept


def test_a_second_run_takes_everything_from_the_first(host: Any, nano: Any, tmp_path: Path, folder: Path) -> None:
    chosen = inputs(host, nano, lora_of(tmp_path))
    first = host.sweep.run_sweep(chosen)
    assert first.table.costs.resumed == 0
    second = host.sweep.run_sweep(chosen)
    assert second.table.costs.resumed == first.table.costs.settings + 2
    assert len(second.cell_seconds) == 1, "only the run-to-run floor is measured anew"
    assert second.table.rows == first.table.rows
    other = host.sweep.run_sweep(replace(chosen, seed=4))
    assert other.table.costs.resumed == 0
    assert not list(folder.glob("*.tmp"))


def test_the_time_is_kept_and_the_next_run_goes_on(host: Any, nano: Any, tmp_path: Path) -> None:
    slow = slow_step(nano, 0.05)
    chosen = inputs(host, nano, lora_of(tmp_path), budget_s=0.01)
    assert host.cells.model_digest(slow) is None, "another pack's function on the model: nothing could be kept"
    first = host.sweep.run_sweep(chosen)
    assert first.table.stopped
    assert first.table.measured == 0
    assert first.report.summary == "The time ran out after 0 of 4 units."
    second = host.sweep.run_sweep(replace(chosen, budget_s=600.0))
    assert not second.table.stopped
    assert second.table.costs.resumed == 2


class _Stop(Exception):
    pass


def test_nothing_stays_attached_after_an_interrupt(
    host: Any, nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management

    before = (dict(nano.patches), nano.patches_uuid)
    calls = [0]

    def interrupted() -> None:
        calls[0] += 1
        if calls[0] == 12:
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    chosen = inputs(host, nano, lora_of(tmp_path), method="bypass")
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        host.sweep.run_sweep(chosen)
    monkeypatch.undo()
    assert (dict(nano.patches), nano.patches_uuid) == before
    from measure_support import sample

    sample(nano)
    assert attached_things(nano) == []


def test_an_error_of_the_model_goes_through(host: Any, nano: Any, tmp_path: Path) -> None:
    failing = slow_step(nano, 0, fail_at=5, error=_Stop())
    with pytest.raises(_Stop):
        host.sweep.run_sweep(inputs(host, failing, lora_of(tmp_path)))
    assert attached_things(nano) == []


@pytest.mark.all
def test_beside_the_weights_it_finds_the_same(host: Any, nano: Any, tmp_path: Path) -> None:
    path = lora_of(tmp_path, CHOSEN)
    merged, beside = (host.sweep.run_sweep(inputs(host, nano, path, method=m)).table for m in ("merge", "bypass"))
    assert merged.blocks == beside.blocks
    for a, b in zip(merged.rows, beside.rows, strict=True):
        assert a.effect.mean == pytest.approx(b.effect.mean, abs=0.01)


def test_prompts_count_each_and_regions_together(host: Any, nano: Any, tmp_path: Path) -> None:
    two = [*conditioning(), *conditioning(5)]
    chosen = inputs(host, nano, lora_of(tmp_path), positive=two, seeds=2)
    scenes, prompts = host.cells.scenes_of(chosen)
    assert (len(scenes), prompts) == (4, 2)
    assert [scene.seed for scene in scenes] == [3, 4, 3, 4]
    regional = [[tensor, {**options, "area": (2, 2, 0, 0)}] for tensor, options in two]
    assert len(host.cells.scenes_of(replace(chosen, positive=regional, seeds=1))[0]) == 1
    with pytest.raises(host.error, match="no prompt"):
        host.cells.scenes_of(replace(chosen, positive=[]))


def test_a_lora_that_does_not_fit_is_refused(host: Any, nano: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "wide.safetensors", native_lora(**{**NANO, "hidden": 256}))
    with pytest.raises(host.error, match="no layer of this LoRA fits"):
        host.sweep.run_sweep(inputs(host, nano, path))


def test_the_feature_shift_stands_beside_the_effect(host: Any, nano: Any, tmp_path: Path) -> None:
    result = host.sweep.run_sweep(inputs(host, nano, lora_of(tmp_path, CHOSEN), feature_shift=True))
    shifts = {row.name: row.shift for row in result.table.rows}
    assert max(shifts, key=lambda name: shifts[name] or 0) == "single_blocks.1"


def test_layers_of_the_text_encoder_are_said_to_be_left_alone(host: Any, nano: Any, tmp_path: Path) -> None:
    state = native_lora(**NANO)
    state["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.randn(2, 8)
    state["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"] = torch.randn(8, 2)
    chosen = inputs(host, nano, write(tmp_path / "te.safetensors", state), grouping="kind of block")
    notes = host.sweep.run_sweep(chosen).report.notes
    assert "1 layers for the text encoder are not swept: the prompts come in encoded." in notes


def test_the_store_forgets_the_oldest_and_survives_damage(host: Any, folder: Path) -> None:
    import os

    store = host.store.LatentStore(lambda: folder, limit_bytes=5000)
    value = torch.randn(1, 4, 16, 16)
    for number in range(3):
        assert store.put(f"{number}", value + number)
        os.utime(folder / f"{number}.safetensors", (number, number))
    store.shrink()
    assert store.get("0") is None
    assert torch.equal(store.get("2"), value + 2)
    (folder / "2.safetensors").write_bytes(b"cut")
    assert store.get("2") is None
    assert not (folder / "2.safetensors").exists()
    assert store.get(None) is None
    assert not store.put(None, value)

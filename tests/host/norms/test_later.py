"""Sizes that are left out of a report, and the same report with them once somebody looks."""

from __future__ import annotations

import dataclasses
import gc
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, lora_layers, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 1}


@pytest.fixture
def host(comfy_in_process: Any, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Applying where every file counts as large."""
    import comfy.sd
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply, lora_cache, stack
    from pack.nodes.host.norms import later

    monkeypatch.setattr(later, "QUICK_NUMBERS", 0)
    model = comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))
    return types.SimpleNamespace(
        model=model, apply=apply.apply_lora, merge=stack.merge_reports, later=later, sizes=later.LATE_SIZES,
        cache=lora_cache.LORA_CACHE, State=report.LayerState, Level=report.Level, json=report.to_json,
    )  # fmt: skip


def lora_file(folder: Path, name: str = "a.safetensors", broken: int | None = None, kronecker: bool = False) -> Path:
    """A LoRA on every layer; the number ``broken`` of one of its tensors is infinite."""
    generator = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = {}
    for layer, (rows, columns) in lora_layers(**SIZES).items():
        factors = {"lokr_w1": (8, 8), "lokr_w2": (rows // 8, columns // 8)} if kronecker else None
        factors = factors or {"lora_A.weight": (4, columns), "lora_B.weight": (rows, 4)}
        for end, shape in factors.items():
            state[f"diffusion_model.{layer}.{end}"] = torch.randn(shape, generator=generator)
    if broken is not None:
        next(iter(state.values())).view(-1)[broken] = float("inf")
    path = folder / name
    write(path, state)
    return path


def applied(host: Any, path: Path, **options: Any) -> Any:
    return host.apply(str(path), path.name, host.model, None, 0.5, 1.0, "", **options).report


@pytest.mark.parametrize("kronecker", [False, True])
def test_the_report_that_is_asked_for_is_the_one_with_its_sizes(host: Any, tmp_path: Path, kronecker: bool) -> None:
    path = lora_file(tmp_path, kronecker=kronecker)
    waiting = host.sizes.keep_report(applied(host, path, sizes_later=True))
    assert waiting.sizes
    assert {(layer.delta_norm, layer.not_measured) for layer in waiting.layers} == {(None, host.later.PENDING)}
    assert waiting.coverage == 1
    again = applied(host, path, sizes_later=True)
    assert again.layers == waiting.layers
    complete = host.sizes.complete(waiting.sizes)
    assert complete is not None
    assert all(layer.delta_norm > 0 for layer in complete.layers)
    at_once = applied(host, path)
    assert at_once.sizes == ""
    assert host.json(complete) == host.json(at_once)
    assert applied(host, path, sizes_later=True).sizes == "", "what is known is not left out"


def test_shares_with_strengths_of_their_own_wait_as_well(host: Any, tmp_path: Path) -> None:
    path, blocks = lora_file(tmp_path, "g.safetensors"), "double_blocks.*.q=0.5, single_blocks.0.attn=0"
    waiting = host.apply(str(path), path.name, host.model, None, 0.5, 1.0, blocks, sizes_later=True).report
    assert {layer.not_measured for layer in waiting.layers} == {host.later.PENDING}
    at_once = host.apply(str(path), path.name, host.model, None, 0.5, 1.0, blocks).report
    complete = host.sizes.complete(host.sizes.keep_report(waiting).sizes)
    assert all(layer.delta_norm for layer in at_once.layers)
    assert host.json(complete) == host.json(at_once)
    assert len(complete.layers) > len(lora_layers(**SIZES))


def test_a_small_file_has_its_sizes_at_once(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.later, "QUICK_NUMBERS", 1 << 20)
    report = applied(host, lora_file(tmp_path), sizes_later=True)
    assert report.sizes == ""
    assert all(layer.delta_norm > 0 for layer in report.layers)


def test_a_broken_file_is_found_at_once_and_a_single_number_when_somebody_looks(host: Any, tmp_path: Path) -> None:
    at_once = applied(host, lora_file(tmp_path, "b.safetensors", broken=0), sizes_later=True)
    assert at_once.level is host.Level.WARNING
    assert "1 layers are broken" in at_once.notes[0]
    waiting = host.sizes.keep_report(applied(host, lora_file(tmp_path, "c.safetensors", broken=7), sizes_later=True))
    assert waiting.level is host.Level.OK
    complete = host.sizes.complete(waiting.sizes)
    assert complete.level is host.Level.WARNING
    assert "1 layers are broken" in complete.notes[0]


def test_several_files_have_one_report(host: Any, tmp_path: Path) -> None:
    paths = [lora_file(tmp_path, "d.safetensors"), lora_file(tmp_path, "e.safetensors", kronecker=True)]
    merged = host.sizes.keep_report(host.merge([applied(host, path, sizes_later=True) for path in paths], ""))
    assert merged.sizes.count(",") == 1
    complete = host.sizes.complete(merged.sizes)
    expected = host.merge([applied(host, path) for path in paths], "")
    assert [layer.delta_norm for layer in complete.layers] == [layer.delta_norm for layer in expected.layers]
    assert all(layer.delta_norm for layer in complete.layers)


def test_a_file_that_nobody_uses_any_more_is_let_go_of(host: Any, tmp_path: Path) -> None:
    path = lora_file(tmp_path, "f.safetensors")
    waiting = host.sizes.keep_report(applied(host, path, sizes_later=True))
    host.cache.forget(str(path))
    gc.collect()
    assert host.sizes.complete(waiting.sizes) is None
    assert host.sizes.complete("unknown") is None
    assert dataclasses.replace(waiting, sizes="").sizes == ""

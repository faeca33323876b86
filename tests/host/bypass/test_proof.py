"""What was applied proves that it ran, and what a ComfyUI of tomorrow skips is named and merged instead."""

from __future__ import annotations

import logging
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 2}
ROUNDING = 2e-5
SKIPPED = ("diffusion_model.double_blocks.0.img_mlp.0", "diffusion_model.double_blocks.0.img_mlp.2")


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.samplers
    import comfy.sd
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bypass import hooks, proof, weight_functions
    from pack.nodes.host.inspect.patches import inspect_patches

    return types.SimpleNamespace(
        sd=comfy.sd, samplers=comfy.samplers, apply=apply.apply_lora, stack=hooks.bypass_stack, proof=proof,
        functions=weight_functions, inspect=inspect_patches,
    )  # fmt: skip


@pytest.fixture
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=2, **SIZES))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write(tmp_path / "native.safetensors", native_lora(seed=7, **SIZES))


class FusedMlp(torch.nn.Module):
    """A ComfyUI that has fused two layers: it uses their weights and calls neither of them."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers = list(self.children())
        x = torch.nn.functional.linear(x, layers[0].weight, layers[0].bias)
        return torch.nn.functional.linear(layers[1](x), layers[2].weight, layers[2].bias)


def fuse(model: Any) -> None:
    block = model.model.diffusion_model.double_blocks[0]
    block.img_mlp = FusedMlp(block.img_mlp)


def sample(host: Any, model: Any, steps: int = 2, cfg: float = 1.0, sampler: str = "euler") -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {"pooled_output": torch.zeros(1, 8)}]]
    guider = host.samplers.CFGGuider(model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(cfg)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sigmas = torch.tensor([1.0, *torch.linspace(0.8, 0.2, steps - 1).tolist(), 0.0])
    with torch.inference_mode():
        return guider.sample(
            noise, torch.zeros_like(noise), host.samplers.sampler_object(sampler), sigmas, seed=0, disable_pbar=True
        )


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).double().norm() / b.double().norm())


def apply(host: Any, path: str, model: Any, method: str, strength: float = 0.7) -> Any:
    return host.apply(path, Path(path).name, model, None, strength, 0.0, "", method=method)


@pytest.mark.parametrize(("cfg", "sampler"), [(1.0, "euler"), (3.0, "euler"), (1.0, "euler_ancestral")])
def test_layers_whose_hooks_are_skipped_are_named_and_merged_in_the_same_run(
    host: Any, model: Any, path: str, caplog: pytest.LogCaptureFixture, cfg: float, sampler: str
) -> None:
    fuse(model)
    base = sample(host, model, 2, cfg, sampler)
    expected = sample(host, apply(host, path, model, "merge").model, 2, cfg, sampler)
    beside = apply(host, path, model, "bypass").model
    with caplog.at_level(logging.WARNING):
        found = sample(host, beside, 2, cfg, sampler)
    said = [record.getMessage() for record in caplog.records if host.proof.NOT_USED in record.getMessage()]
    assert len(said) == 1
    assert "2 layers (for example " in said[0]
    assert SKIPPED[0] in said[0]
    assert relative(expected, base) > 1e-3
    assert relative(found, expected) < ROUNDING
    caplog.clear()
    assert torch.equal(sample(host, beside, 2, cfg, sampler), found)  # known by now: nothing begins again
    assert not caplog.records
    assert torch.equal(sample(host, model, 2, cfg, sampler), base)
    note = host.inspect(beside).notes[0]
    assert "did not use it: 2 layers" in note
    again = apply(host, path, model, "bypass", 0.5)
    merged = {layer.model_key.removesuffix(".weight") for layer in again.report.layers if layer.method == "merge"}
    assert merged == set(SKIPPED)
    assert any("did not use what ran beside" in layer.reason for layer in again.report.layers)


def test_what_ran_is_proved_once_and_not_looked_at_again(
    host: Any, model: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = apply(host, path, model, "bypass").model
    asked: list[int] = []
    reached = host.stack(beside).not_reached

    def counted() -> list[str]:
        asked.append(1)
        return reached()

    monkeypatch.setattr(host.stack(beside), "not_reached", counted)
    sample(host, beside, 3)
    assert host.stack(beside).proved
    sample(host, beside, 3)
    assert asked == [1]


@pytest.fixture
def at_use(host: Any, model: Any, path: str) -> Iterator[Any]:
    """The merged model with its patches hung on the layers, as where it does not fit on the device."""
    import comfy.model_management

    patched = apply(host, path, model, "merge").model
    comfy.model_management.unload_all_models()
    load = type(patched).load

    def partly(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs |= {"lowvram_model_memory": 1, "full_load": False}
        return load(self, args[0] if args else kwargs.pop("device_to"), **kwargs)

    host.load = (type(patched), load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(patched), "load", partly)
        yield patched
    comfy.model_management.unload_all_models()


def test_weights_that_are_patched_when_they_are_used_report_too(
    host: Any, model: Any, at_use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    watch = host.functions.watched_functions

    def watched(patcher: Any) -> Any:
        manager = watch(patcher)
        seen.append(manager)
        return manager

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(host.proof, "watched_functions", watched)
        found = sample(host, at_use)
        assert len(seen) == 1
        sample(host, at_use)
        assert len(seen) == 1
    assert not [record for record in caplog.records if host.proof.NOT_USED in record.getMessage()]
    assert list(host.functions.at_use(at_use))
    assert all(not hasattr(entry[1], "stands_for") for entries in at_use.patches.values() for entry in entries)
    assert relative(found, sample(host, model)) > 1e-3


def test_a_weight_function_that_is_skipped_is_named(
    host: Any, model: Any, at_use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fuse(model)
    with caplog.at_level(logging.WARNING):
        sample(host, at_use)
    said = [record.getMessage() for record in caplog.records if host.proof.NOT_USED in record.getMessage()]
    assert len(said) == 1
    assert "2 layers (for example diffusion_model.double_blocks.0.img_mlp" in said[0]


def test_an_error_in_the_first_evaluation_stays_that_error(host: Any, model: Any, path: str) -> None:
    fuse(model)
    beside = apply(host, path, model, "bypass").model

    def broken(*_: Any) -> None:
        raise RuntimeError("an error of the model")

    handle = model.model.diffusion_model.double_blocks[0].register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="an error of the model"):
        sample(host, beside)
    handle.remove()
    assert host.stack(beside).instead is None
    merged = sample(host, apply(host, path, model, "merge").model)
    assert relative(sample(host, beside), merged) < ROUNDING


def test_copies_that_dynamic_vram_makes_on_the_way_report_too(
    host: Any, model: Any, at_use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy import lora

    copy = getattr(lora, "prefetch_prepared_value", None)
    if copy is None:
        pytest.skip("this ComfyUI makes no copies of adapters")
    calculate = lora.calculate_weight

    def of_copies(patches: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = [(p[0], copy(p[1], [0], None, None, False), *p[2:]) for p in patches]
        assert all(new[1] is not old[1] for new, old in zip(made, patches, strict=True))
        return calculate(made, *args, **kwargs)

    monkeypatch.setattr(lora, "calculate_weight", of_copies)
    said: list[Any] = []
    monkeypatch.setattr(host.proof, "_say", lambda *args: said.append(args))
    found = sample(host, at_use)
    assert said == []
    assert relative(found, sample(host, model)) > 1e-3

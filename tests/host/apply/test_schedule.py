"""A scheduled LoRA in real sampling: off outside its window, on inside, and the same as switching models by hand."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, native_lora, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 2, "single": 3}
SIGMAS = (1.0, 0.9, 0.7, 0.4, 0.0)


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules."""
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply, schedule

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, schedule=schedule.schedule_lora, attach=schedule.attach,
        Error=errors.PatchbayError, State=report.LayerState, Level=report.Level,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def model(request: pytest.FixtureRequest, host: Any) -> Any:
    state = {key: value.to(getattr(torch, request.param)) for key, value in flux2_state_dict(**SIZES).items()}
    options = {"dtype": getattr(torch, request.param)}
    return host.sd.load_diffusion_model_state_dict(state, model_options=options)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("lora") / "x.safetensors", kohya_lora(**SIZES))


def conditioning(seed: int = 5) -> Any:
    pooled = torch.zeros(1, 768)  # an older ComfyUI asks for it
    return [[torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(seed)), {"pooled_output": pooled}]]


def sample(
    model: Any,
    hooks: Any = None,
    sigmas: Any = SIGMAS,
    latent: torch.Tensor | None = None,
    cfg: float = 1.0,
    sampler: str = "euler",
) -> torch.Tensor:
    """Euler steps with fixed noise; ``latent`` goes on from an earlier part without new noise."""
    import comfy.samplers
    from pack.nodes.host.apply.schedule import attach

    positive, negative = (conditioning(seed) for seed in (5, 6))
    if hooks is not None:
        positive, negative = attach(hooks, (positive, negative))
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    noise = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(5))
    if latent is None:
        latent = torch.zeros_like(noise)
    else:
        noise = torch.zeros_like(noise)
    return guider.sample(
        noise, latent, comfy.samplers.sampler_object(sampler), torch.tensor(sigmas), seed=0, disable_pbar=True
    )


def made(host: Any, model: Any, lora: str, schedule: str = "", blocks: str = "", **more: Any) -> Any:
    window = (more.pop("start", 0.0), more.pop("end", 1.0))
    strength = more.pop("strength", 1.0)
    return host.schedule(lora, "x.safetensors", model, None, (strength, 1.0), blocks, schedule, window, **more)


def patched(host: Any, model: Any, lora: str, blocks: str = "", strength: float = 1.0) -> Any:
    return host.apply(lora, "x.safetensors", model, None, strength, 0.0, blocks).model


def percent_of(model: Any, sigma: float) -> float:
    """The percent at which ComfyUI reaches a noise level."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if model.model.model_sampling.percent_to_sigma(middle) > sigma else (low, middle)
    return low


BLOCKS = "double_blocks.*=0.5, single_blocks.1.attn=0, double_blocks.1.q=-1"


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_all_the_time_is_apply_lora(host: Any, model: Any, lora: str, cfg: float) -> None:
    scheduled = made(host, model, lora, blocks=BLOCKS, strength=0.7)
    expected = sample(patched(host, model, lora, BLOCKS, 0.7), cfg=cfg)
    assert torch.equal(sample(model, scheduled.hooks, cfg=cfg), expected)
    assert not torch.equal(expected, sample(model, cfg=cfg))


def test_the_model_is_left_as_it_was(host: Any, model: Any, lora: str) -> None:
    before = sample(model)
    hooks = made(host, model, lora).hooks
    first = sample(model, hooks)
    assert torch.equal(sample(model), before)
    assert torch.equal(sample(model, hooks), first)
    assert model.patches == {}


def test_outside_the_window_nothing_is_patched(host: Any, model: Any, lora: str) -> None:
    late = percent_of(model, 0.3)
    assert torch.equal(sample(model, made(host, model, lora, start=late).hooks), sample(model))
    early = percent_of(model, 0.95)
    only_first = made(host, model, lora, end=early).hooks
    rest = SIGMAS[1:]
    start = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(8))
    assert torch.equal(sample(model, only_first, rest, start), sample(model, None, rest, start))


def test_inside_the_window_is_patched(host: Any, model: Any, lora: str) -> None:
    window = (percent_of(model, 0.95), percent_of(model, 0.3))
    start = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(8))
    inside = SIGMAS[1:4]
    scheduled = made(host, model, lora, start=window[0], end=window[1])
    expected = sample(patched(host, model, lora), None, inside, start)
    assert torch.equal(sample(model, scheduled.hooks, inside, start), expected)


@pytest.mark.parametrize("unit", ["step", "percent"])
def test_two_moments_are_two_models_one_after_the_other(host: Any, model: Any, lora: str, unit: str) -> None:
    first, second = "all=0.5, double_blocks.0=1", "all=0, single_blocks.*=-1"
    begin, at = ("step 0", "step 2") if unit == "step" else ("0%", f"{percent_of(model, 0.8) * 100:.4f}%")
    both = sample(model, made(host, model, lora, f"{begin}: {first}; {at}: {second}").hooks)
    half = sample(patched(host, model, lora, first), None, SIGMAS[:3])
    by_hand = sample(patched(host, model, lora, second), None, SIGMAS[2:], half)
    error = float((both - by_hand).norm() / by_hand.norm())
    assert error < (1e-5 if model.model_dtype() == torch.float32 else 1e-2)
    for unswitched in (first, second):
        other = sample(patched(host, model, lora, unswitched))
        assert float((both - other).norm() / other.norm()) > 20 * max(error, 1e-6)


def test_every_step_has_its_own_strength(host: Any, model: Any, lora: str) -> None:
    hooks = made(host, model, lora, "step 0: all=0; step 3: all=1", linear=True).hooks
    latent: torch.Tensor | None = None
    for step in range(4):
        strength = min(1.0, step / 3)
        one = patched(host, model, lora, f"all={strength!r}")
        latent = sample(one, None, SIGMAS[step : step + 2], latent)
    assert latent is not None
    error = float((sample(model, hooks) - latent).norm() / latent.norm())
    assert error < (1e-5 if model.model_dtype() == torch.float32 else 2e-2)


def test_a_second_run_is_the_first(host: Any, model: Any, lora: str) -> None:
    for schedule in ("step 0: all=0; step 2: all=1", "0%: all=1; 30%: all=0; 60%: all=-1"):
        hooks = made(host, model, lora, schedule).hooks
        assert torch.equal(sample(model, hooks), sample(model, hooks))
    late = made(host, model, lora, start=percent_of(model, 0.8)).hooks
    start = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(8))
    one_step = [sample(model, late, SIGMAS[2:4], start) for _ in range(2)]
    assert torch.equal(*one_step)
    assert torch.equal(one_step[0], sample(patched(host, model, lora), None, SIGMAS[2:4], start))


def test_it_adds_to_what_is_patched_already(host: Any, model: Any, lora: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.safetensors", native_lora(seed=9, **SIZES))
    base = patched(host, model, other, strength=0.5)
    hooks = made(host, base, lora).hooks
    found, expected = sample(base, hooks), sample(patched(host, base, lora))
    if model.model_dtype() == torch.float32:
        assert torch.equal(found, expected)
    else:  # merged weights are rounded once more
        assert float((found - expected).norm() / expected.norm()) < 2e-2


def test_courses_share_hooks_and_skip_what_is_always_off(host: Any, model: Any, lora: str) -> None:
    scheduled = made(host, model, lora, "0%: double_blocks.0=0; 50%: all=1", "double_blocks.1=0, single_blocks.2=2")
    groups = {
        (hook.strength_model, tuple(frame.strength for frame in hook.hook_keyframe.keyframes)): len(hook.weights)
        for hook in scheduled.hooks.hooks
    }
    assert scheduled.report.level is host.Level.OK
    assert len(groups) == len(scheduled.hooks.hooks) == 3
    reasons = {layer.block: layer.reason for layer in scheduled.report.layers}
    assert reasons["double_blocks.0"] == "0%: 0, 50%: 1"
    assert reasons["single_blocks.2"] == "0%: 2, 50%: 1"
    assert reasons["single_blocks.0"] == ""
    never = made(host, model, lora, blocks="all=0, single_blocks.0=1")
    assert len(never.hooks.hooks) == 1
    off = [layer for layer in never.report.layers if layer.block != "single_blocks.0"]
    assert {layer.state for layer in off} == {host.State.SKIPPED}


def test_names_that_stock_does_not_know_and_formats_that_it_computes_otherwise(
    host: Any, model: Any, tmp_path: Path
) -> None:
    state = {key.replace("diffusion_model.", "base_model.model."): t for key, t in native_lora(**SIZES).items()}
    for key in [key for key in state if key.endswith("lora_B.weight")]:
        state[key.replace("lora_B.weight", "lora_magnitude_vector")] = torch.rand(state[key].shape[0]) + 0.5
    path = write(tmp_path / "x.safetensors", state)
    hooks = made(host, model, path, strength=0.7).hooks
    assert torch.equal(sample(model, hooks), sample(patched(host, model, path, strength=0.7)))


def test_hooks_of_others_stay(host: Any, model: Any, lora: str) -> None:
    import comfy.hooks
    import comfy.utils

    theirs = comfy.hooks.create_hook_lora(comfy.utils.load_torch_file(lora), 0.5, 0.0)
    ours = made(host, model, lora, strength=0.5).hooks
    cond = host.attach(ours, host.attach(theirs, (conditioning(),)))
    assert cond[0][0][1]["hooks"].hooks == [*theirs.hooks, *ours.hooks]
    assert host.attach(ours, (None,)) == [None]


def test_what_hooks_cannot_do_is_said(host: Any, model: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"diffusion_model.img_in.set_weight": torch.ones(128, 128)})
    with pytest.raises(host.Error, match="replaces the weight, and that cannot change between steps"):
        made(host, model, path, "0%: all=1; 50%: all=0")
    assert len(made(host, model, path).hooks.hooks) == 1
    with pytest.raises(host.Error, match="names nothing in this model"):
        made(host, model, path, "0%: all=1; 50%: single_blocks.77=0")


def test_the_node(pack_nodes: Any, comfy_in_process: Any, host: Any, model: Any) -> None:
    folder = Path(comfy_in_process.base) / "models" / "loras"
    folder.mkdir(exist_ok=True)
    write(folder / "scheduled.safetensors", kohya_lora(**SIZES))
    node = pack_nodes["PatchbayScheduleLora"]
    result = node.execute(
        model, "scheduled.safetensors", 1.0, 1.0, "", "0%: all=1; 50%: all=0", 0.0, 1.0, "jump", positive=conditioning()
    ).args
    hooks, positive, negative, report, text = result
    assert positive[0][1]["hooks"] is hooks
    assert negative is None
    assert report.kind == "schedule"
    assert "0%: 1, 50%: 0" in text
    assert node.validate_inputs(schedule="10%: all=1") != True  # noqa: E712 - a sentence
    assert "0 <= start < end" in node.validate_inputs(start_percent=0.5, end_percent=0.2)

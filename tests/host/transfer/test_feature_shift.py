"""Features of real ComfyUI models of many architectures: what is read, that nothing stays behind, and what is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nano_models import with_guidance
from shift_support import FLOW, settings
from support import some
from tiny_models import SMALL, tiny_conditioning, tiny_latent, tiny_model

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("_own_cache")]
EPS = torch.tensor([12.0, 2.0, 0.0])
UNETS = ("SD 1.5", "SDXL")
TOKENS = {"Z-Image": 32}
"""Text tokens that a model pads to."""

EXPECTED = {
    "FLUX.1": {
        "double_blocks.1|img": 64,
        "double_blocks.1|txt": 6,
        "single_blocks.2|img": 64,
        "single_blocks.2|txt": 6,
    },
    "FLUX.2 Klein 4B": {"double_blocks.1|img": 256, "double_blocks.1|txt": 512, "single_blocks.2|img": 256},
    "SD3 / SD3.5 medium": {"joint_blocks.0|img": 64, "joint_blocks.0|txt": 6, "joint_blocks.1|img": 64},
    "Qwen-Image": {"transformer_blocks.1|img": 64, "transformer_blocks.1|txt": 6},
    "Z-Image": {"context_refiner.0|txt": 32, "noise_refiner.0|img": 64, "layers.1|img": 64, "layers.1|txt": 32},
    "Wan 2.1 1.3B": {"blocks.1|img": 64},
    "SD 1.5": {"input_blocks.1|img": 256, "middle_block.1|img": 4, "output_blocks.11|img": 256},
    "SDXL": {"input_blocks.1|img": 256, "middle_block.1|img": 16, "output_blocks.8|img": 256},
    "Chroma": {"double_blocks.1|img": 64, "single_blocks.1|txt": 6},
    "HunyuanVideo": {"double_blocks.1|txt": 6, "single_blocks.1|img": 64},
}


def hooks_of(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_reports_its_streams(host: Any, name: str) -> None:
    model = tiny_model(name)
    tokens = 77 if name in UNETS else 6
    probes = host.probes.plan_probes(
        model, tiny_conditioning(name, 1, tokens), tiny_latent(name), EPS if name in UNETS else FLOW, 0, 1, 4
    )
    first, second = (host.profiling.take_profile(model, probes) for _ in range(2))
    seen = {place: record.moments.count // 2 for place, record in first.records.items()}
    assert {place: seen.get(place) for place in EXPECTED[name]} == EXPECTED[name]
    assert not any(place.rpartition("|")[2].startswith("out") for place in some(seen) if "|" in place)
    rows = host.report.build_rows(first, second, first)
    assert {row.shift for row in rows} == {0.0}
    assert hooks_of(model) == 0
    assert host.profiling.model_digest(model) is not None
    blocks = set(host.activations.block_modules(model))
    assert blocks == {place.rpartition("|")[0] for place in seen if "|" in place}
    changed = host.profiling.take_profile(tiny_model(name, seed=1), probes)
    assert all(row.shift > 0.05 for row in some(host.report.build_rows(first, changed, first)[1:]))


def test_strength_zero_is_exactly_nothing(host: Any, nano: Any, lora: str) -> None:
    zero = host.apply(lora, "x", nano, None, 0.0, 0.0, "").model
    measured = host.shift.measure_shift(nano, zero, settings(host), use_cache=False)
    assert {row.shift for row in measured.table.rows} == {0.0}
    assert measured.report.verdict == "identical"


def test_a_lora_shifts_only_behind_the_block_that_it_changes(host: Any, nano: Any, lora: str) -> None:
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "all=0, single_blocks.1=1").model
    measured = host.shift.measure_shift(nano, patched, settings(host), use_cache=False)
    shifts = {f"{row.block} {row.stream}".strip(): row.shift for row in measured.table.rows}
    assert all(value == 0 for place, value in shifts.items() if place.startswith(("double", "single_blocks.0")))
    assert shifts["single_blocks.1 img"] > 0.01
    assert shifts["output"] > 0.01
    assert "single_blocks.1" in measured.report.summary


def test_the_figures_are_those_of_captured_features(host: Any, nano: Any, lora: str) -> None:
    """The whole way through ComfyUI's sampler against features kept whole and compared in float64."""
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "").model
    chosen = settings(host, prompts=1, seeds=1)
    measured = host.shift.measure_shift(nano, patched, chosen, use_cache=False)
    probes = host.probes.walk_latents(nano, host.probes.plan_probes(
        nano, chosen.conditioning, chosen.latent_image, chosen.sigmas, chosen.seed, 1, 4
    ))  # fmt: skip
    kept: list[list[torch.Tensor]] = [[], []]
    for model, store in zip((nano, patched), kept, strict=True):

        def tap(probe: Any, store: list[torch.Tensor] = store, model: Any = model) -> Any:
            def visit(block: str, stream: str, features: torch.Tensor) -> None:
                if (block, stream) == ("single_blocks.1", "img"):
                    store.append(features.double().clone())

            return host.activations.BlockTap(model, visit)

        host.probes.evaluate(model, probes, lambda *_: None, tap)
    a, b = (torch.cat(store) for store in kept)
    row = next(r for r in measured.table.rows if (r.block, r.stream) == ("single_blocks.1", "img"))
    assert row.shift == pytest.approx(float((b - a).norm() / a.norm()), rel=0.03)
    assert row.cosine == pytest.approx(float((a * b).sum() / a.norm() / b.norm()), abs=0.02)
    moved = (b.mean(0) - a.mean(0)).square().sum() + (b.std(0, False) - a.std(0, False)).square().sum()
    assert row.frechet == pytest.approx(float(moved / a.var(0, False).sum()), rel=1e-6)


def test_a_lora_on_its_own_model_transfers_perfectly(host: Any, nano: Any, lora: str) -> None:
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "").model
    measured = host.shift.measure_shift(nano, patched, settings(host), (nano, patched))
    output = measured.table.rows[-1]
    assert (output.ratio, output.change_error) == (1.0, 0.0)
    assert output.change_cosine == pytest.approx(1.0)
    assert output.seed_cosine is not None
    assert output.seed_cosine < 1
    assert measured.report.verdict == "transfers"


def test_a_guidance_that_is_built_in_is_no_failure_to_transfer(host: Any, nano: Any, lora: str) -> None:
    """The target is the reference with guidance 3 inside: with the negative prompt that is seen, without it is not."""
    negative = [[torch.zeros(1, 8, 64), {}]]
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "").model
    target, target_patched = (with_guidance(model, negative, 3.0) for model in (nano, patched))
    chosen = settings(host, 2, 1)
    found = host.shift.measure_shift(target, target_patched, chosen, (nano, patched), negative=negative)
    output = found.table.rows[-1]
    assert found.table.guidance.levels == pytest.approx((3.0, 3.0), abs=1e-3)
    assert (output.ratio, output.change_cosine) == (pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-5))
    assert output.change_error < 1e-3
    assert any("CFG 3.00" in note for note in found.report.notes)
    blind = host.shift.measure_shift(target, target_patched, chosen, (nano, patched))
    assert blind.table.rows[-1].change_error > 0.1
    assert blind.table.guidance is None
    assert any("no negative prompt" in note for note in blind.report.notes)


def test_a_guided_transfer_costs_what_was_announced_and_comes_from_the_cache(
    host: Any, nano: Any, lora: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[int] = []
    costs = host.shift.Costs
    monkeypatch.setattr(host.shift, "Costs", lambda count, node: announced.append(count) or costs(count, node))
    negative = [[torch.zeros(1, 8, 64), {}]]
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "").model
    weaker = host.apply(lora, "x", nano, None, 0.5, 0.0, "").model
    arguments = (nano, weaker, settings(host, 1, 1), (nano, patched))
    first, second = (host.shift.measure_shift(*arguments, negative=negative) for _ in range(2))
    assert announced == [6 * 2 + 2] * 2
    assert first.table.evaluations == announced[0]
    assert (second.table.evaluations, second.table.from_cache) == (0, 7)
    assert second.table.rows == first.table.rows
    assert second.table.guidance == first.table.guidance
    other = host.shift.measure_shift(*arguments, negative=[[torch.ones(1, 8, 64), {}]])
    assert other.table.evaluations == 2 * 2
    none = host.shift.measure_shift(*arguments, negative=negative, reference_cfg=1.0)
    assert none.table.evaluations == 0
    assert any("as set" in note for note in none.report.notes)


def test_hooks_are_removed_after_an_error(host: Any, nano: Any) -> None:
    chosen = settings(host, 1, 1)
    probes = host.probes.plan_probes(nano, chosen.conditioning, chosen.latent_image, FLOW, 0, 1, 4)

    def visit(block: str, stream: str, features: torch.Tensor) -> None:
        assert hooks_of(nano) > 0
        if block == "single_blocks.0":
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        host.probes.evaluate(nano, probes, lambda *_: None, lambda _: host.activations.BlockTap(nano, visit))
    assert hooks_of(nano) == 0
    host.probes.outputs(nano, probes)  # and the model still works


def test_hooks_are_removed_after_an_interrupt(host: Any, nano: Any) -> None:
    import comfy.model_management as mm

    chosen, seen = settings(host, 1, 1), []
    probes = host.probes.plan_probes(nano, chosen.conditioning, chosen.latent_image, FLOW, 0, 1, 4)

    def visit(block: str, stream: str, features: torch.Tensor) -> None:
        seen.append(block)
        mm.interrupt_current_processing(True)

    with pytest.raises(mm.InterruptProcessingException):
        host.probes.evaluate(nano, probes, lambda *_: None, lambda _: host.activations.BlockTap(nano, visit))
    assert seen
    assert hooks_of(nano) == 0
    assert not mm.processing_interrupted()


@pytest.mark.parametrize("how", ["success", "error", "interrupt"])
def test_hooks_on_layers_are_removed_too(host: Any, nano: Any, how: str) -> None:
    """Those with which a LoRA is refitted."""
    import comfy.model_management as mm

    chosen, seen = settings(host, 1, 1), []
    probes = host.probes.plan_probes(nano, chosen.conditioning, chosen.latent_image, FLOW, 0, 1, 4)
    keys = [f"diffusion_model.single_blocks.{number}.linear1.weight" for number in range(2)]

    def visit(key: str, inputs: torch.Tensor, output: torch.Tensor) -> None:
        assert hooks_of(nano) == 2
        seen.append((key, inputs.shape[1], output.shape[1]))
        if how == "error":
            raise RuntimeError("in the middle")
        if how == "interrupt":
            mm.interrupt_current_processing(True)

    def run() -> None:
        host.probes.evaluate(nano, probes, lambda *_: None, lambda _: host.activations.LayerTap(nano, keys, visit))

    if how == "success":
        run()
        assert seen == [(key, 128, 9 * 128) for _ in range(2) for key in keys]
    else:
        with pytest.raises(RuntimeError if how == "error" else mm.InterruptProcessingException):
            run()
    assert hooks_of(nano) == 0


def test_hooks_are_removed_where_installing_fails(host: Any, nano: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tap = host.activations.BlockTap(nano, lambda *_: None)
    last = list(tap._blocks.values())[-1]
    monkeypatch.setattr(last, "register_forward_hook", None)
    with pytest.raises(TypeError):
        tap.__enter__()
    assert hooks_of(nano) == 0


def test_a_given_picture_is_noised(host: Any, nano: Any) -> None:
    picture = {"samples": torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(4))}
    chosen = settings(host, 1, 1, latent_image=picture)
    probes = host.probes.plan_probes(nano, chosen.conditioning, picture, FLOW, 0, 1, 4)
    probes = host.probes.walk_latents(nano, probes)
    noise = probes.scenes[0].noise
    inside = nano.model.process_latent_in(picture["samples"])
    for step, sigma in enumerate((1.0, 0.7)):
        torch.testing.assert_close(
            probes.latents[0, 0, step], sigma * noise + (1 - sigma) * inside, rtol=1e-5, atol=1e-5
        )


def test_levels_are_spread_over_the_schedule(host: Any, nano: Any) -> None:
    chosen = settings(host, 1, 1)
    sigmas = torch.linspace(1, 0, 21)
    probes = host.probes.plan_probes(nano, chosen.conditioning, chosen.latent_image, sigmas, 0, 1, 4)
    assert probes.sigmas[0] == 1.0
    assert len(probes.sigmas) == 4
    assert probes.sigmas[-1] == pytest.approx(0.05)


def test_models_of_two_families_are_refused(host: Any, nano: Any) -> None:
    with pytest.raises(ValueError, match="different latents"):
        host.shift.measure_shift(nano, tiny_model("SD 1.5"), settings(host))


def test_what_cannot_be_evaluated_is_said(host: Any, nano: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        host.shift.measure_shift(nano, nano, settings(host, sigmas=torch.tensor([0.0])))
    with pytest.raises(ValueError, match="no prompt"):
        host.shift.measure_shift(nano, nano, settings(host, conditioning=[]))
    monkeypatch.setattr(host.activations, "block_modules", lambda _: {})
    with pytest.raises(ValueError, match="compiled"):
        host.shift.measure_shift(nano, nano, settings(host), use_cache=False)

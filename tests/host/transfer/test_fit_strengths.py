"""Fitted strengths against real ComfyUI models: derivatives, known strengths found again, and refusals to change."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, with_guidance, write
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import tiny_conditioning, tiny_latent, tiny_model

pytestmark = pytest.mark.host
NANO = {"hidden": 128, "double": 1, "single": 2}
FLOW = torch.tensor([1.0, 0.7, 0.0])
NEGATIVE = [[torch.zeros(1, 8, 64), {}]]
QUICK: dict[str, Any] = {"prompts": 2, "grouping": "kind of block"}
GROUPS = ["double_blocks.0.img", "double_blocks.0.txt", "single_blocks.0", "single_blocks.1"]


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core.transfer import fit_report
    from pack.nodes.host.apply import apply, lora_cache
    from pack.nodes.host.transfer import activations, feature_shift, fit_strengths, probes, refit, strength_lab

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, shift=feature_shift, fit=fit_strengths, probes=probes, lab=strength_lab,
        load=lora_cache.LORA_CACHE.load, words=fit_report, refit=refit, activations=activations,
    )  # fmt: skip


@pytest.fixture(scope="module")
def nano(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=0, **NANO))


@pytest.fixture(scope="module")
def near(host: Any) -> Any:
    """A model that lies near the first one."""
    state, noise = flux2_state_dict(seed=0, **NANO), flux2_state_dict(seed=9, **NANO)
    return host.sd.load_diffusion_model_state_dict(
        {key: value + (0.1 * noise[key] if value.dim() == 2 else 0) for key, value in state.items()}
    )


@pytest.fixture
def lora(tmp_path: Path) -> str:
    metadata = {"ss_network_dim": "4", "sshs_model_hash": "of the old numbers"}
    return write(tmp_path / "x.safetensors", kohya_lora(size=0.05, **NANO), metadata)


def settings(host: Any, prompts: int = 4, seeds: int = 1, **change: Any) -> Any:
    generator = torch.Generator().manual_seed(3)
    conditioning = [[torch.randn(1, 8, 64, generator=generator), {}] for _ in range(prompts)]
    latent = {"samples": torch.zeros(1, 128, 4, 4)}
    probes = host.shift.ProbeSettings(conditioning, latent, FLOW, 1, seeds, 4)
    chosen = {"grouping": "block and stream", "low": 0.0, "high": 2.0, "ridge": 0.0, "reference_cfg": 0.0}
    return host.fit.FitSettings(**{"probes": probes, "negative": None, "compare_rules": False, **chosen, **change})


def hooks_of(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [("block and stream", GROUPS), ("block", ["double_blocks.0", "single_blocks.0", "single_blocks.1"]),
     ("kind of block", ["double_blocks.*", "single_blocks.*"])],
)  # fmt: skip
def test_groups_cover_the_lora_and_are_text_that_parses(
    host: Any, nano: Any, lora: str, grouping: str, expected: list[str]
) -> None:
    groups = host.lab.find_groups(host.load(lora, "x"), nano, grouping)
    assert [group.selector for group in groups] == expected
    assert sum(len(group.keys) for group in groups) == 8 + 4
    text = host.lab.strengths_text({group.selector: 0.5 for group in groups})
    report = host.apply(lora, "x", nano, None, 1.0, 0.0, text).report
    assert {layer.block_strength for layer in report.layers} == {0.5}


def test_the_jacobian_is_the_derivative_in_float64(host: Any, lora: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against central differences of a float64 model whose weights are changed by hand, without any patch."""
    import comfy.model_management

    # ComfyUI's quick rotary embedding knows no float64; the one for training does.
    monkeypatch.setattr(comfy.model_management, "in_training", True)
    state = {key: value.double() for key, value in flux2_state_dict(seed=0, **NANO).items()}
    tensors = {key: value.double() for key, value in load_file(lora).items()}

    def model_at(strengths: dict[str, float]) -> Any:
        moved = dict(state)
        for key, value in state.items():
            name = f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}"
            if f"{name}.lora_up.weight" not in tensors:
                continue
            group = next(g for g in GROUPS if key.startswith(g.replace(".img", ".img_").replace(".txt", ".txt_")))
            delta = tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
            moved[key] = value + strengths[group] * 0.5 * delta
        model = host.sd.load_diffusion_model_state_dict(moved)
        model.model.diffusion_model.double()
        model.model.manual_cast_dtype = torch.float64
        return model

    target = model_at(dict.fromkeys(GROUPS, 0.0))
    chosen = settings(host, 2, 1)
    p = chosen.probes
    probes = host.probes.walk_latents(target, host.probes.plan_probes(
        target, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4
    ))  # fmt: skip
    one = dict.fromkeys(GROUPS, 1.0)
    found = _jacobian(host, target, lora, probes, chosen)
    for selector, column in zip(GROUPS, found, strict=True):
        ends = [host.probes.outputs(model_at({**one, selector: 1 + sign * 0.02}), probes) for sign in (1, -1)]
        exact = {probe: (ends[0][probe] - ends[1][probe]).double() / 0.04 for probe in column}
        error = sum(float((column[q] - exact[q]).square().sum()) for q in exact)
        size = sum(float(exact[q].square().sum()) for q in exact)
        assert (error / size) ** 0.5 < 0.02, selector


def _jacobian(host: Any, model: Any, lora: str, probes: Any, chosen: Any, step: float = 0.02) -> list[Any]:
    loaded = host.load(lora, "x")
    groups = host.lab.find_groups(loaded, model, "block and stream")
    fit = host.fit._Fit(model, model, loaded, groups, chosen, probes, None)
    one = fit._lab.uniform(1.0)
    return fit._jacobian(probes, one, fit._lab.at(probes), step)


def test_the_step_of_the_fit_is_close_to_the_derivative(host: Any, nano: Any, lora: str) -> None:
    chosen = settings(host, 2, 1)
    p = chosen.probes
    probes = host.probes.plan_probes(nano, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4)
    probes = host.probes.walk_latents(nano, probes)
    coarse = _jacobian(host, nano, lora, probes, chosen, host.fit.STEP)
    fine = _jacobian(host, nano, lora, probes, chosen)
    for a, b in zip(coarse, fine, strict=True):
        error = sum(float((a[q] - b[q]).square().sum()) for q in a) / sum(float(b[q].square().sum()) for q in b)
        assert error**0.5 < 0.15


def test_known_strengths_are_found_again(host: Any, nano: Any, lora: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wanted change is the model's own at other strengths, so that there is a right answer."""
    truth = dict(zip(GROUPS, (0.5, 1.4, 1.0, 0.7), strict=True))
    text = host.lab.strengths_text(truth)

    def own(model: Any, loaded: Any, probes: Any, *_: Any) -> Any:
        after = host.probes.outputs(host.lab.patch_model(nano, loaded, text), probes)
        return host.lab.Reference(host.probes.outputs(nano, probes), after)

    monkeypatch.setattr(host.fit, "run_reference", own)
    fitted = host.fit.fit_strengths(nano, nano, lora, "x", settings(host, seeds=2, rounds=3))
    assert fitted.table.chosen == host.words.FITTED
    found = fitted.table.candidate(host.words.FITTED)
    assert found.strengths == pytest.approx(truth, abs=0.06)
    assert found.error.mean < 0.02
    assert fitted.table.candidate(host.words.PLAIN).error.mean > 0.1
    assert fitted.blocks == host.lab.strengths_text(found.strengths)
    assert "certain" not in fitted.report.summary


def test_on_its_own_model_strength_one_stays(host: Any, nano: Any, lora: str) -> None:
    fitted = host.fit.fit_strengths(nano, nano, lora, "x", settings(host, compare_rules=True))
    assert fitted.blocks == "all=1"
    assert fitted.report.verdict == "keep 1.0"
    assert fitted.table.candidate(host.words.PLAIN).error.mean == 0.0
    assert fitted.table.floor == 0.0
    rule = fitted.table.candidate(host.words.ACTIVATION_RATIO)
    assert rule.strengths == dict.fromkeys(GROUPS, 1.0)
    assert fitted.table.candidate(host.words.INVERSE_NORM).gain.mean < 0
    assert (fitted.table.training_prompts, fitted.table.held_out_prompts) == (2, 2)


MORE = {
    "plain": {}, "rules": {"compare_rules": True}, "rounds": {"rounds": 2}, "guided": {"negative": NEGATIVE},
    "guidance given": {"negative": NEGATIVE, "reference_cfg": 1.0}, "refit": {"refit_name": "not saved"},
}  # fmt: skip
"""What costs more than plain strengths."""
QUICK_ONES = ("plain", "guided")


@pytest.mark.parametrize(
    "more", [pytest.param(name, marks=() if name in QUICK_ONES else pytest.mark.all) for name in MORE]
)
def test_the_announced_cost_is_the_real_one(
    host: Any, nano: Any, near: Any, lora: str, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    chosen = settings(host, **QUICK, seeds=1, **MORE[more])
    loaded = host.load(lora, "x")
    groups = host.lab.find_groups(loaded, nano, chosen.grouping)
    p = chosen.probes
    probes = host.probes.plan_probes(nano, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4)
    fit = host.fit._Fit(nano, near, loaded, groups, chosen, probes, None)
    announced = fit._costs._total
    monkeypatch.setattr(host.refit.Refitted, "save", lambda *_: "nowhere")
    assert fit.run().table.evaluations == announced


def test_a_given_guidance_of_the_reference_changes_the_target(host: Any, nano: Any, near: Any, lora: str) -> None:
    chosen = settings(host, 1, 1)
    p = chosen.probes
    probes = host.probes.walk_latents(nano, host.probes.plan_probes(
        nano, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4
    ))  # fmt: skip
    loaded = host.load(lora, "x")
    there = host.lab.run_reference(near, loaded, probes, NEGATIVE)
    plain = there.change(None)
    guided = there.change(there.guidance(host.probes.outputs(nano, probes), 3.0))
    patched = host.lab.patch_model(near, loaded, "")
    empty = host.lab.difference(
        host.probes.outputs(patched, probes, negative=NEGATIVE), host.probes.outputs(near, probes, negative=NEGATIVE)
    )
    for probe, value in guided.items():
        torch.testing.assert_close(value, empty[probe] + 3 * (plain[probe] - empty[probe]), rtol=1e-3, atol=1e-5)


def test_a_guidance_that_is_built_in_is_measured_and_nothing_else_is_changed(host: Any, nano: Any, lora: str) -> None:
    """The target is the reference with its guidance inside: the LoRA transfers without loss, and only that is true."""
    target = with_guidance(nano, NEGATIVE, 3.0)
    found = host.fit.fit_strengths(target, nano, lora, "x", settings(host, **QUICK, seeds=2, negative=NEGATIVE))
    guidance = found.table.guidance
    assert guidance.cfg == pytest.approx(3.0, abs=1e-3)
    assert guidance.levels == pytest.approx((3.0, 3.0), abs=1e-3)
    assert guidance.high - guidance.low < 1e-3
    assert guidance.distance < 1e-4 < 0.02 < guidance.distance_unguided
    assert found.blocks == "all=1"
    assert found.table.candidate(host.words.PLAIN).error.mean < 1e-3
    assert "left alone" in found.report.summary
    assert any("CFG 3.00" in note for note in found.report.notes)
    blind = host.fit.fit_strengths(target, nano, lora, "x", settings(host, **QUICK))
    assert blind.table.guidance is None
    assert blind.table.candidate(host.words.PLAIN).error.mean > 0.1
    assert any("no negative prompt" in note for note in blind.report.notes)


def test_on_its_own_model_the_guidance_is_none_and_strengths_stay(host: Any, nano: Any, lora: str) -> None:
    found = host.fit.fit_strengths(nano, nano, lora, "x", settings(host, **QUICK, negative=NEGATIVE))
    assert (found.table.guidance.cfg, found.table.guidance.used) == (1.0, (1.0, 1.0))
    assert found.blocks == "all=1"
    assert found.table.candidate(host.words.PLAIN).error.mean == pytest.approx(0.0, abs=1e-6)


def test_a_target_that_is_guided_the_other_way_counts_as_without_guidance(host: Any, nano: Any, lora: str) -> None:
    p = settings(host, 1, 1).probes
    plan = host.probes.plan_probes(nano, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4)
    probes = host.probes.walk_latents(nano, plan)
    there = host.lab.run_reference(nano, host.load(lora, "x"), probes, NEGATIVE)
    backwards = host.probes.outputs(with_guidance(nano, NEGATIVE, 0.4), probes)
    assert there.guidance(backwards, None).used == (1.0, 1.0)
    assert there.guidance(backwards, 1.5).used == (1.5, 1.5)


def test_without_a_reference_there_is_only_a_guard(host: Any, nano: Any, tmp_path: Path) -> None:
    state = kohya_lora(size=0.02, **NANO)
    for key in state:
        if "single_blocks_1" in key and key.endswith("up.weight"):
            state[key] = state[key] * 20
    path = write(tmp_path / "strong.safetensors", state)
    fitted = host.fit.fit_strengths(nano, None, path, "x", settings(host))
    assert fitted.report.verdict == "guard only"
    assert "nothing was fitted" in fitted.report.summary
    assert "rule of thumb" in fitted.report.summary
    assert fitted.table.guarded["single_blocks.1"] < 0.5
    assert fitted.blocks == f"all=1, single_blocks.1={fitted.table.guarded['single_blocks.1']:g}"


def test_a_refit_lora_is_the_same_lora_with_other_numbers(
    host: Any, nano: Any, near: Any, lora: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host.refit, "writable_lora_folder", lambda: str(tmp_path / "loras"))
    choose = host.fit.choose
    monkeypatch.setattr(
        host.fit,
        "choose",
        lambda c, f, allowed: host.words.REFIT if allowed == (host.words.REFIT,) else choose(c, f, allowed),
    )
    chosen = settings(host, refit_name="sub/mine")
    fitted = host.fit.fit_strengths(near, nano, lora, "x", chosen)
    assert fitted.refitted.saved_as == "sub/mine.safetensors"
    assert (fitted.refitted.layers, fitted.refitted.left) == (12, 0)
    path = tmp_path / "loras" / "sub" / "mine.safetensors"
    before, after = load_file(lora), load_file(str(path))
    assert {key: value.shape for key, value in before.items()} == {key: value.shape for key, value in after.items()}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if key.endswith("lora_up.weight")}
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"ss_network_dim": "4", "patchbay.refit_of": "x"}
    p = chosen.probes
    probes = host.probes.walk_latents(near, host.probes.plan_probes(
        near, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4
    ))  # fmt: skip
    applied = host.apply(str(path), "mine", near, None, 1.0, 0.0, "").model
    direct = host.probes.outputs(fitted.refitted.patched(near), probes)
    for probe, value in host.probes.outputs(applied, probes).items():
        torch.testing.assert_close(value, direct[probe], rtol=1e-4, atol=1e-5)
    assert hooks_of(near) == hooks_of(nano) == 0
    again = fitted.refitted.save("sub/mine")
    assert again == "sub/mine-2.safetensors"
    with pytest.raises(ValueError, match="inside the loras folder"):
        fitted.refitted.save("../outside")


def test_layers_of_a_fused_weight_are_refitted_apart_and_saved_as_they_were_judged(
    host: Any, nano: Any, near: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """diffusers names q, k and v apart; in the model they are rows of one weight. In half precision, as files are."""
    monkeypatch.setattr(host.refit, "writable_lora_folder", lambda: str(tmp_path / "loras"))
    generator = torch.Generator().manual_seed(2)
    state: dict[str, torch.Tensor] = {}
    for layer in ("to_q", "to_k", "to_v", "add_q_proj"):
        name = f"transformer.transformer_blocks.0.attn.{layer}"
        state[f"{name}.lora_A.weight"] = (torch.randn(4, 128, generator=generator) * 0.1).half()
        state[f"{name}.lora_B.weight"] = (torch.randn(128, 4, generator=generator) * 0.1).half()
    path = write(tmp_path / "parts.safetensors", state)
    loaded = host.load(path, "parts")
    p = settings(host, 1, 1).probes
    plan = host.probes.plan_probes(near, p.conditioning, p.latent_image, p.sigmas, 1, 1, 4)
    probes = host.probes.walk_latents(near, plan)
    passes = host.refit.refit_passes(near, nano, loaded)
    costs = host.fit.Costs(passes * len(probes))
    refitted = host.refit.refit_lora(near, nano, loaded, probes, costs)
    assert costs.done == passes * len(probes) == 4 * len(probes)
    assert (refitted.layers, refitted.left) == (4, 0)
    saved = tmp_path / "loras" / refitted.save("parts-refit")
    after = load_file(str(saved))
    assert {key for key in state if not torch.equal(state[key], after[key])} == {k for k in state if "lora_B" in k}
    assert {tensor.dtype for tensor in after.values()} == {torch.float16}
    applied = host.apply(str(saved), "parts-refit", near, None, 1.0, 0.0, "").model
    judged = host.probes.outputs(refitted.patched(near), probes)
    for probe, value in host.probes.outputs(applied, probes).items():
        torch.testing.assert_close(value, judged[probe], rtol=1e-5, atol=1e-6)


def test_a_refit_that_does_not_help_is_not_saved(
    host: Any, nano: Any, lora: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host.refit, "writable_lora_folder", lambda: str(tmp_path / "loras"))
    fitted = host.fit.fit_strengths(nano, nano, lora, "x", settings(host, refit_name="mine"))
    assert fitted.refitted.saved_as == ""
    assert not (tmp_path / "loras").exists()
    assert fitted.table.candidate(host.words.REFIT).error.mean < 1e-3  # nothing to refit on its own model
    assert any("not saved" in note for note in fitted.report.notes)


def test_a_lora_that_fits_nowhere_is_refused(host: Any, nano: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "wide.safetensors", kohya_lora(hidden=256, double=1, single=1))
    with pytest.raises(ValueError, match="no layer of this LoRA fits"):
        host.fit.fit_strengths(nano, nano, path, "wide.safetensors", settings(host))


def test_the_node_asks_for_what_is_missing(pack_nodes: dict[str, Any], host: Any, nano: Any) -> None:
    node = pack_nodes["PatchbayFitStrengths"]
    p = settings(host, 1, 1).probes
    given = (nano, "x", p.conditioning, p.sigmas, p.latent_image, 0)
    with pytest.raises(ValueError, match="nothing to hold out"):
        node.execute(*given, 1, "block", 1.0, reference=nano)
    with pytest.raises(ValueError, match="no negative prompt"):
        node.execute(*given, 2, "block", 1.5, reference=nano)
    with pytest.raises(ValueError, match="expected 0, which measures it"):
        node.execute(*given, 2, "block", 0.5, reference=nano, negative=p.conditioning)
    shift = pack_nodes["PatchbayFeatureShift"]
    with pytest.raises(ValueError, match="belong together"):
        shift.execute(nano, nano, p.conditioning, p.sigmas, p.latent_image, 0, 1, reference_a=nano)


OTHERS = ("FLUX.1", "SD3 / SD3.5 medium", "Z-Image", "Wan 2.1 1.3B", "SDXL")


@pytest.mark.parametrize("name", ["Qwen-Image", *(pytest.param(name, marks=pytest.mark.all) for name in OTHERS)])
def test_every_architecture_is_fitted_by_its_own_blocks(host: Any, name: str, tmp_path: Path) -> None:
    """The reference is the model itself, so that 1.0 is right; the cost is announced and nothing stays attached."""
    unet = name == "SDXL"
    model = tiny_model(name)
    generator = torch.Generator().manual_seed(4)
    state: dict[str, torch.Tensor] = {}
    for key, weight in model.model_state_dict().items():
        block = any(part.isdigit() for part in key.split("."))
        if key.endswith(".weight") and weight.dim() == 2 and block and "embed" not in key:
            layer = key.removesuffix(".weight")
            state[f"{layer}.lora_A.weight"] = torch.randn(2, weight.shape[1], generator=generator) * 0.2
            state[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], 2, generator=generator) * 0.05
    path = write(tmp_path / "every.safetensors", state)
    sigmas = torch.tensor([12.0, 2.0, 0.0]) if unet else FLOW
    prompts = tiny_conditioning(name, 2, 77 if unet else 6)
    probes = host.shift.ProbeSettings(prompts, tiny_latent(name), sigmas, 1, 1, 2)
    chosen = host.fit.FitSettings(probes, "kind of block", 0.0, 2.0, 0.0, 0.0, prompts[:1], 1, not unet)
    fitted = host.fit.fit_strengths(model, model, path, "every", chosen)
    assert fitted.blocks == "all=1"
    assert fitted.table.candidate(host.words.PLAIN).error.mean == pytest.approx(0.0, abs=1e-4)
    kinds = {block.rpartition(".")[0] for block in host.activations.block_modules(model)}
    assert {group.removesuffix(".*") for group in fitted.table.groups} <= {*kinds, "other"}
    assert fitted.table.guidance.used == (1.0, 1.0)
    assert hooks_of(model) == 0

"""Profiles of features that are kept: what a second run takes from them, and which model a digest knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict
from shift_support import FLOW, NANO, settings

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("_own_cache")]


def test_a_second_run_comes_from_the_cache(host: Any, nano: Any, lora: str) -> None:
    patched = host.apply(lora, "x", nano, None, 1.0, 0.0, "").model
    weaker = host.apply(lora, "x", nano, None, 0.5, 0.0, "").model
    first = host.shift.measure_shift(nano, patched, settings(host))
    second = host.shift.measure_shift(nano, patched, settings(host))
    third = host.shift.measure_shift(nano, weaker, settings(host))
    fourth = host.shift.measure_shift(nano, patched, settings(host, seed=2))
    assert first.table.evaluations == 2 * 8 + 2
    assert (second.table.evaluations, second.table.from_cache) == (0, 3)
    assert second.table.rows == first.table.rows
    assert (third.table.evaluations, third.table.from_cache) == (8, 2)
    assert third.table.rows[-1].shift < first.table.rows[-1].shift
    assert fourth.table.from_cache == 0


def test_a_damaged_profile_is_taken_again(host: Any, nano: Any, tmp_path: Path) -> None:
    first = host.shift.measure_shift(nano, nano, settings(host))
    for file in (tmp_path / "profiles").iterdir():
        file.write_bytes(file.read_bytes()[:500])
    second = host.shift.measure_shift(nano, nano, settings(host))
    assert second.table.rows == first.table.rows
    assert second.table.from_cache == 0


def test_old_profiles_make_room(host: Any, nano: Any, tmp_path: Path) -> None:
    import os

    cache = host.profiling.ProfileCache(lambda: str(tmp_path / "p"), limit_bytes=1)
    chosen = settings(host, 1, 1)
    probes = host.probes.plan_probes(nano, chosen.conditioning, chosen.latent_image, FLOW, 0, 1, 4)
    profile = host.profiling.take_profile(nano, probes)
    cache.put(nano, probes, profile, "first")
    os.utime(next((tmp_path / "p").iterdir()), (1, 1))
    cache.put(nano, probes, profile, "second")
    assert len(list((tmp_path / "p").iterdir())) == 1
    assert cache.get(nano, probes, "second") is not None


def test_the_digest_knows_a_model_and_its_patches(host: Any, nano: Any, lora: str) -> None:
    digest = host.profiling.model_digest
    other = host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=1, **NANO))
    strengths = ((1, ""), (1, ""), (0.9, ""), (1, "other=1, single=0.5"))
    patched = [host.apply(lora, "x", nano, None, s, 0.0, b).model for s, b in strengths]
    found = [digest(model) for model in (nano, nano.clone(), other, *patched)]
    assert found[0] == found[1]
    assert found[3] == found[4]
    assert len(set(found)) == 5


@pytest.mark.parametrize("what", ["comfyui_version.__version__", "comfy.ldm.modules.attention.optimized_attention"])
def test_the_digest_knows_by_what_arithmetic(host: Any, nano: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of ComfyUI, or another attention, computes other numbers of the same model."""
    before = host.profiling.model_digest(nano)
    assert host.profiling.model_digest(nano) == before
    monkeypatch.setattr(what, "99.0" if "version" in what else test_the_digest_knows_by_what_arithmetic)
    assert host.profiling.model_digest(nano) not in (before, None)


def test_nothing_of_the_projection_stays_after_a_measurement(host: Any, nano: Any, lora: str) -> None:
    """Permutations and signs are as large as the features; they stay for a measurement and not for the session."""
    kept: list[int] = []
    plans, sketch = host.profiling._SKETCHER._plans, type(host.profiling._SKETCHER).__call__

    def watching(self: Any, values: Any) -> Any:
        result = sketch(self, values)
        kept.append(len(plans))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(host.profiling._SKETCHER), "__call__", watching)
        host.shift.measure_shift(nano, host.apply(lora, "x", nano, None, 1.0, 0.0, "").model, settings(host, 1, 2))
    assert max(kept) > 0
    assert kept[-1] >= kept[len(kept) // 2] > 0  # kept between the profiles of one measurement
    assert plans == {}


def test_the_digest_knows_what_else_is_attached(host: Any, nano: Any, lora: str) -> None:
    digest = host.profiling.model_digest
    beside = [host.apply(lora, "x", nano, None, s, 0.0, "", "bypass").model for s in (1, 1, 0.5)]
    sampling = nano.clone()
    other = type(nano.get_model_object("model_sampling"))(nano.model.model_config)
    other.set_parameters(shift=5.0)
    sampling.add_object_patch("model_sampling", other)
    options = nano.clone()
    options.model_options["transformer_options"]["some_setting"] = 3
    found = [digest(model) for model in (nano, *beside, sampling, options)]
    assert found[1] == found[2]
    assert len(set(found)) == 5
    assert None not in found
    unknown = nano.clone()
    unknown.set_model_unet_function_wrapper(lambda apply, args: apply(args["input"], args["timestep"], **args["c"]))
    wrapped = nano.clone()
    wrapped.add_wrapper_with_key("diffusion_model", "another pack", lambda executor, *a, **k: executor(*a, **k))
    assert [digest(model) for model in (unknown, wrapped)] == [None, None]


def test_a_lora_that_runs_beside_the_weights_is_not_taken_for_the_plain_model(
    host: Any, nano: Any, lora: str
) -> None:
    beside = host.apply(lora, "x", nano, None, 1.0, 0.0, "", "bypass").model
    for _ in range(2):
        measured = host.shift.measure_shift(nano, beside, settings(host, 1, 1))
        assert measured.table.rows[-1].shift > 0.01


def test_what_has_no_digest_is_measured_every_time(host: Any, nano: Any, tmp_path: Path) -> None:
    unknown = nano.clone()
    unknown.set_model_unet_function_wrapper(
        lambda apply, args: 0.9 * apply(args["input"], args["timestep"], **args["c"])
    )
    for _ in range(2):
        measured = host.shift.measure_shift(nano, unknown, settings(host, 1, 1))
        assert measured.table.rows[-1].shift > 0.01
    assert measured.table.from_cache == 2  # the plain model's


def test_the_digest_of_prompts_knows_everything_they_carry(host: Any) -> None:
    import comfy.hooks
    from pack.nodes.host.transfer.content_digest import conditioning_digest as digest

    text, pooled = torch.ones(1, 8, 64), torch.ones(1, 4)
    options = ({}, {"guidance": 3.5}, {"guidance": 1.0}, {"pooled_output": pooled}, {"pooled_output": 2 * pooled})
    found = [digest([[text, each]]) for each in options]
    assert len(set(found)) == 5
    assert found == [digest([[text.clone(), dict(each)]]) for each in options]
    assert digest([[text, {"hooks": comfy.hooks.HookGroup()}]]) is None

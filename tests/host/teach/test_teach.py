"""Teaching a LoRA on real ComfyUI models: gradients, nothing left behind, and a run that goes on."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, write
from safetensors import safe_open
from tiny_models import tiny_conditioning, tiny_latent, tiny_model

pytestmark = pytest.mark.host
NANO = {"hidden": 128, "double": 1, "single": 2}
SIGMAS = (1.0, 0.8, 0.0)


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.host.apply import lora_cache
    from pack.nodes.host.teach import batches, examples, factors, judging, prompts, student, teach, training
    from pack.nodes.host.transfer import moved_blocks, strength_lab

    return types.SimpleNamespace(
        sd=comfy.sd, Error=errors.PatchbayError, load=lora_cache.LORA_CACHE.load, batches=batches, examples=examples,
        factors=factors, judging=judging, prompts=prompts, student=student, teach=teach, training=training,
        moved=moved_blocks, lab=strength_lab,
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=0, **NANO))


@pytest.fixture(scope="module")
def lora(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = write(tmp_path_factory.mktemp("teach") / "style.safetensors", kohya_lora(size=0.05, **NANO), {})
    return host.load(path, "style")


def prompts(count: int = 4) -> list[Any]:
    generator = torch.Generator().manual_seed(3)
    return [[torch.randn(1, 4, 64, generator=generator), {}] for _ in range(count)]


def settings(host: Any, **change: Any) -> Any:
    chosen = {
        "conditioning": prompts(), "sigmas": torch.tensor(SIGMAS),
        "latent_image": {"samples": torch.zeros(1, 128, 2, 2)},
        "seed": 1, "steps": 4, "rounds": 2, "batch": 2, "walks": 2, "teacher_steps": 1,
    }  # fmt: skip
    return host.teach.TeachSettings(**{**chosen, **change})


def one_layer(host: Any, model: Any, key: str) -> Any:
    weight = model.model_state_dict()[key]
    generator = torch.Generator().manual_seed(2)
    up, down = (torch.randn(*s, generator=generator) * 0.1 for s in ((weight.shape[0], 2), (2, weight.shape[1])))
    return host.factors.Factors(key, up, down)


@pytest.mark.parametrize(
    ("layer", "recompute"),
    [("double_blocks.0.img_attn.qkv", False), ("double_blocks.0.img_attn.qkv", True),
     ("double_stream_modulation_img.lin", True)],
)  # fmt: skip
def test_gradients_are_those_of_finite_differences(host: Any, layer: str, recompute: bool) -> None:
    name = "FLUX.2 Klein 4B"
    model = tiny_model(name)
    model.model.double()
    model.model.manual_cast_dtype = torch.float64
    latent = tiny_latent(name)["samples"][..., :2, :2].double()
    student = host.student.Student(model, [one_layer(host, model, f"diffusion_model.{layer}.weight")], recompute)
    student.to_device()
    for one in student.factors:
        one.up, one.down = (t.detach().double().requires_grad_(True) for t in (one.up, one.down))
    generator = torch.Generator().manual_seed(4)
    x, want = (torch.randn(latent.shape, generator=generator, dtype=torch.float64) for _ in range(2))

    def work(evaluator: Any) -> tuple[list[torch.Tensor], list[float]]:
        def loss() -> torch.Tensor:
            got = evaluator.velocity(x, torch.tensor([0.7], dtype=torch.float64), [0])
            return (got.double() - want).square().sum()

        loss().backward()
        found = [tensor.grad.clone() for tensor in student.parameters]
        slopes = []
        for tensor in student.parameters:
            direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
            values = []
            with torch.no_grad():
                for sign in (1, -1):
                    tensor.add_(direction, alpha=sign * 1e-3)
                    values.append(float(loss()))
                    tensor.add_(direction, alpha=-sign * 1e-3)
            slopes.append((values[0] - values[1]) / 2e-3)
            found.append(direction)
        return found, slopes

    with torch.inference_mode(False), torch.enable_grad():
        found, slopes = student.inside(tiny_conditioning(name), latent, work)
    for gradient, direction, slope in zip(found[:2], found[2:], slopes, strict=True):
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-3, abs=1e-3)


def test_a_fitting_student_learns_and_nothing_stays_behind(host: Any, base: Any, lora: Any) -> None:
    import comfy.model_management

    before = {key: value.clone() for key, value in base.model_state_dict().items()}
    taught = host.teach.teach_lora(base, base, lora.key[0], "style", settings(host, rank=2, layers="img_attn"))
    assert taught.start == "plain" or taught.start == "zero"
    assert all(torch.equal(value, before[key]) for key, value in base.model_state_dict().items())
    assert not any(m._forward_hooks or "forward" in vars(m) for m in base.model.modules())
    assert not comfy.model_management.in_training
    assert taught.written == ""
    assert taught.ahead.seconds > 0


@pytest.mark.parametrize("recompute", [False, True])
def test_memory_is_told_before_the_first_step(host: Any, base: Any, lora: Any, recompute: bool) -> None:
    """Twice the batch keeps twice as much; blocks that are computed twice keep less; no gradient stays."""
    from pack.nodes.host.teach.forecast import forecast

    with torch.inference_mode(False):
        teaching = host.teach.Teaching(base, base, lora, settings(host), None)
        latent = torch.zeros(1, 128, 8, 8)

        def memory(batch: int, again: bool) -> int:
            student = host.student.Student(base, teaching.factors, again)
            student.to_device()
            found = forecast(student, prompts(), latent, 4, batch, 0).memory
            assert all(tensor.grad is None for tensor in student.parameters)
            return found

        one, two, four = (memory(batch, recompute) for batch in (1, 2, 4))
        assert four - two == pytest.approx(2 * (two - one), rel=0.02)
        assert one > base.model_size()
        assert memory(4, True) < memory(4, False)


@pytest.mark.all
def test_from_zero_the_effect_is_learned_on_prompts_that_were_held_out(host: Any, base: Any, lora: Any) -> None:
    with torch.inference_mode(False):
        teaching = host.teach.Teaching(base, base, lora, settings(host, steps=40, batch=8, walks=12), None)
        for one in teaching.factors:
            one.up.zero_()
        teaching.checkpoint = lambda: None
        taught = teaching.run()
    assert taught.state.curve[0] == pytest.approx(1.0)
    assert taught.state.best_error < 0.9
    assert taught.calls == len(taught.factors) > 0


@pytest.mark.all
def test_a_lora_that_lands_nowhere_starts_from_zero_and_the_best_state_is_kept(host: Any, base: Any, lora: Any) -> None:
    wide = host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=1, hidden=256, double=1, single=1))
    taught = host.teach.teach_lora(wide, base, lora.key[0], "style", settings(host, rate=800.0))
    assert taught.start == "zero"
    assert taught.state.curve[-1] > 1  # far too fast on models that have nothing in common
    assert taught.judged[0].square_mean == pytest.approx(1.0)
    assert not taught.is_better
    assert all(not bool(one.up.any()) for one in taught.factors)


@pytest.mark.parametrize("patience", [0, 2])
def test_rounds_that_bring_too_little_are_taken_back_and_end_it(host: Any, base: Any, lora: Any, patience: int) -> None:
    with torch.inference_mode(False):
        teaching = host.teach.Teaching(base, base, lora, settings(host, rounds=4, layers="single_blocks"), None)
        teaching._course = dataclasses.replace(teaching._course, least_gain=1.0, patience=patience)
        teaching.checkpoint = lambda: None
        taught = teaching.run()
    assert taught.state.round == (patience or 4)
    assert taught.state.step == taught.state.round
    assert taught.state.slowed == 0.5**taught.state.round
    for best, start in zip(taught.state.best, taught.state.start, strict=True):
        assert torch.equal(best, start)


def test_what_lands_is_given_up_after_rounds_without_gain_and_what_starts_from_zero_is_not(
    host: Any, base: Any, lora: Any
) -> None:
    wide = host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=1, hidden=256, double=1, single=1))
    courses = [host.teach.Teaching(target, base, lora, settings(host), None)._course for target in (base, wide)]
    assert [(course.least_gain > 0, course.patience > 0) for course in courses] == [(True, True), (False, False)]


def test_a_mixture_is_taught_as_its_prompts_are(host: Any, base: Any, lora: Any) -> None:
    """Two known prompts, a name that neither model knows, and mixtures of them, whatever the models make of those."""
    examples, mixture = host.examples, host.prompts.Mixture
    mixed = {3: mixture(0, 1, 0.3), 4: mixture(0, 2, 0.25), 5: mixture(2, 7, 0.5)}
    prompts_of = examples.Prompts([], [], (0, 1, 2, 3, 4, 5), (), negative=6, mixed=mixed)
    lesson = examples.Lesson((1.0, 0.5, 0.0), 1.0, torch.zeros(1, 1), spread={0: 1.0, 1: 1.0})
    teacher = examples.Teacher(base, base, None, prompts_of, lesson)
    teacher._level_shares = {0: 0.0, 1: 0.1}
    prompt = torch.arange(7).repeat(2)
    level = torch.tensor([0] * 7 + [1] * 7)
    rows = examples.Examples(torch.zeros(14, 1), torch.zeros(14), level, level * 0.5, prompt, prompt)
    far = torch.where((prompt == 0) | (prompt == 1), 0.01, 0.9)
    shares = teacher._row_shares(rows, far.sqrt()[:, None])
    assert shares[:7].tolist() == pytest.approx([0, 0, 1, 0, 0.75, 0.5, 0])
    assert shares[7:].tolist() == pytest.approx([0.1, 0.1, 1, 0.1, 0.75, 0.5, 0.1])


def test_a_resumed_run_equals_an_unbroken_one(host: Any, base: Any, lora: Any, tmp_path: Path) -> None:
    chosen = settings(host, steps=4, layers="single_blocks")
    runs = []
    for broken in (False, True):
        checkpoint = tmp_path / f"{broken}.safetensors"
        for stops in (1, 2) if broken else (2,):
            with torch.inference_mode(False):
                teaching = host.teach.Teaching(base, base, lora, chosen, None)
                teaching.checkpoint = lambda path=checkpoint: path
                asked = iter([True] * stops if not broken or stops == 2 else [True, False])
                teaching.go_on = lambda asked=asked: next(asked)
                runs.append(teaching.run())
    whole, _, resumed = runs
    assert resumed.state.step == whole.state.step == 4
    for a, b in zip(whole.state.values, resumed.state.values, strict=True):
        assert torch.equal(a, b)


def test_blocks_that_moved_are_found_and_the_start_is_renumbered(host: Any, lora: Any) -> None:
    state = flux2_state_dict(seed=0, **NANO)
    fewer = {
        k.replace("single_blocks.1.", "single_blocks.0."): v for k, v in state.items() if "single_blocks.0." not in k
    }
    base, pruned = (host.sd.load_diffusion_model_state_dict(each) for each in (dict(state), fewer))
    moved = host.moved.moved_blocks(base, pruned)
    assert moved is not None
    assert moved.block_map.of("single_blocks") == {0: None, 1: 0}
    assert host.moved.moved_blocks(base, base) is None


def test_models_without_a_latent_space_in_common_are_refused(host: Any, base: Any, lora: Any) -> None:
    with pytest.raises(host.Error, match="different latents"):
        host.teach.teach_lora(tiny_model("SD 1.5"), base, lora.key[0], "style", settings(host))


def test_prompts_of_another_text_encoder_are_refused_with_the_reason(host: Any, base: Any, lora: Any) -> None:
    other = [[torch.zeros(1, 4, 48), {}]] * 4
    with pytest.raises(host.Error, match="reference_conditioning"):
        host.teach.teach_lora(base, base, lora.key[0], "style", settings(host, reference_conditioning=other))


def test_the_file_says_from_what_and_how_it_was_made(host: Any, base: Any, lora: Any, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(host.teach, "writable_lora_folder", lambda: str(tmp_path))
    monkeypatch.setattr(host.teach, "is_better", lambda taught, others: True)
    taught = host.teach.teach_lora(base, base, lora.key[0], "style", settings(host, steps=2, file_name="new"))
    assert taught.written == "new.safetensors"
    with safe_open(str(tmp_path / taught.written), "pt") as file:
        metadata, keys = file.metadata(), list(file.keys())
    assert metadata["patchbay.taught_from"] == "style"
    assert "seed 1" in metadata["patchbay.taught_with"]
    assert len(metadata["patchbay.taught_from_sha256"]) == 64
    again = host.factors.factors_of(host.load(str(tmp_path / taught.written), "new"), base)
    assert len(keys) == 2 * len(again)

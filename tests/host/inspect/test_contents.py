"""What is inside a merge: LoRAs found in a model of the real ComfyUI, on Klein Nano's own weights."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from support import some

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "models" / "diffusion_models" / "klein-nano-base.safetensors"
DUOTONE, MONO, THINGS = (
    f"klein-nano-{name}.safetensors" for name in ("duotone", "monochrome", "concept-instruments")
)


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    import folder_paths
    from pack.nodes.core import errors
    from pack.nodes.core.report import text
    from pack.nodes.host.comfyui import folders
    from pack.nodes.host.inspect import contents, model

    folders.register_model_folders()

    def inspect(made: Any, base: Any, file_b: str, stack: Any) -> Any:
        report = model.inspect_model(made, base, file_b=file_b, patched=True)
        return contents.add_contents(report, made, base, file_b, stack)

    return types.SimpleNamespace(
        sd=comfy.sd, inspect=inspect, text=text.report_text, Error=errors.PatchbayError, contents=contents,
        loras=lambda name: folder_paths.get_full_path_or_raise("loras", name),
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(host: Any) -> Any:
    return host.sd.load_diffusion_model(str(BASE))


def loaded(host: Any, model: Any, *loras: tuple[str, float]) -> Any:
    """The model with LoRAs, by ComfyUI's own loader."""
    import comfy.utils

    for name, strength in loras:
        tensors = comfy.utils.load_torch_file(host.loras(name), safe_load=True)
        model, _ = host.sd.load_lora_for_models(model, None, tensors, strength, 0)
    return model


def stack(*names: str) -> list[tuple[str, float, float]]:
    return [(name, 1.0, 1.0) for name in names]


def test_what_comfyui_itself_patched_is_found_with_its_strengths(host: Any, base: Any) -> None:
    made = loaded(host, base, (DUOTONE, 0.8), (MONO, -0.3))
    report = host.inspect(made, base, "", stack(DUOTONE, MONO, THINGS))
    assert [lora.verdict for lora in report.found] == ["verified", "verified", "not"]
    assert [lora.strength for lora in report.found[:2]] == pytest.approx([0.8, -0.3], abs=2e-3)
    assert report.level.value == "ok"
    assert all(lora.exact > 0 for lora in report.found[:2])  # in float32, sums of another order differ at the end
    assert report.summary.startswith(f"At strength 0.8: {DUOTONE}. At strength -0.3: {MONO}. Not in it: {THINGS}. ")
    strengths = [block.strength for block in some(report.found[0].blocks) if block.block.startswith("single")]
    assert strengths == pytest.approx([0.8] * len(strengths), abs=5e-3)
    assert "Their strength in each block:" in host.text(report)
    assert any(block.distance for block in report.model_blocks)  # of the weights with their patches


def test_a_merged_checkpoint_against_the_file_of_its_base(host: Any, base: Any, tmp_path: Path) -> None:
    state = {key: tensor.clone() for key, tensor in base.model.diffusion_model.state_dict().items()}
    for key, tensor in state.items():
        patched = host.contents.patched_weight(loaded(host, base, (DUOTONE, 0.6)), f"diffusion_model.{key}")
        state[key] = tensor if patched is None else patched
    merged = host.sd.load_diffusion_model_state_dict(state)
    report = host.inspect(merged, None, str(BASE), stack(DUOTONE, MONO))
    assert [lora.verdict for lora in report.found] == ["verified", "not"]
    assert report.found[0].strength == pytest.approx(0.6, abs=2e-3)


def test_a_merge_of_two_models_holds_half_the_lora(host: Any, base: Any) -> None:
    """ComfyUI's own merge node: half of the plain model, half of the one with the LoRA."""
    other = loaded(host, base, (DUOTONE, 1.0))
    weights = {key: host.contents.patched_weight(other, key) for key in other.patches}
    made = base.clone()
    made.add_patches({key: (weight,) for key, weight in weights.items()}, 0.5, 0.5)
    report = host.inspect(made, base, "", stack(DUOTONE))
    assert report.found[0].strength == pytest.approx(0.5, abs=5e-3)
    assert report.found[0].verdict in ("verified", "partly")


def test_a_lora_in_the_names_of_another_program_is_found(host: Any, base: Any) -> None:
    """diffusers keeps q, k and v apart, the model has them in one weight; one of the candidates is a copy."""
    made = loaded(host, base, (THINGS, 0.7))
    report = host.inspect(made, base, "", [(THINGS, 1.0, 1.0), (DUOTONE, 1.0, 1.0)])
    assert [lora.verdict for lora in report.found] == ["verified", "not"]
    assert report.found[0].strength == pytest.approx(0.7, abs=2e-3)


def test_quantised_weights_cannot_be_looked_into_and_that_is_said(host: Any) -> None:
    path = next(BASE.parent.glob("*nvfp4*"), None)
    if path is None:
        pytest.skip("there is no quantised model here")
    model = host.sd.load_diffusion_model(str(path))
    report = host.inspect(loaded(host, model, (DUOTONE, 0.8)), model, "", stack(DUOTONE))
    assert report.level.value == "warning"
    text = host.text(report)
    assert "not stored whole" in text
    assert [lora.verdict for lora in report.found] != ["verified"]


def test_without_a_base_the_report_says_what_is_missing(host: Any, base: Any) -> None:
    report = host.inspect(base, None, "", stack(DUOTONE))
    assert report.found == ()
    assert report.level.value == "warning"
    assert "connect it as model_b" in host.text(report).lower()


def test_a_lora_for_another_model_is_refused(host: Any, base: Any) -> None:
    wide = host.sd.load_diffusion_model(str(BASE.with_name("klein-nano-wide.safetensors")))
    with pytest.raises(host.Error, match="lora_stack: "):
        host.inspect(wide, wide, "", stack(DUOTONE))


def test_the_model_is_left_as_it_was(host: Any, base: Any) -> None:
    made = loaded(host, base, (DUOTONE, 0.8))
    before = {key: tensor.clone() for key, tensor in made.model.state_dict().items()}
    host.inspect(made, base, "", stack(DUOTONE))
    after = made.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in some(before))

"""LoRA Grid on Klein Nano: each cell is what the ordinary nodes make, nothing is made twice, and stopping is clean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from measure_support import attached_things
from PIL import Image
from safetensors.torch import load_file, save_file

MODELS = Path(__file__).resolve().parents[3] / "models"
DUOTONE = "klein-nano-duotone-distilled.safetensors"


class Nano:
    """The bundled model with its VAE and a prompt, as the loaders give them."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        import comfy.sd

        self.nodes = nodes
        self.model = comfy.sd.load_diffusion_model(str(MODELS / "diffusion_models/klein-nano-distilled.safetensors"))
        self.vae = self.run("PatchbayLoadTinyVAE", "klein-nano")[0]
        self.positive = self.run("PatchbayLoadConditioning", "klein-nano-prompts.safetensors", "butterfly")[0]
        self.other = self.run("PatchbayLoadConditioning", "klein-nano-prompts.safetensors", "red apple")[0]
        self.negative = [[torch.zeros_like(self.positive[0][0]), {}]]
        self.latent = {"samples": torch.zeros(1, 128, 4, 4)}

    def run(self, node: str, *values: Any, **named: Any) -> Any:
        return self.nodes[node].PREPARE_CLASS_CLONE(None).execute(*values, **named).args

    def grid(self, model: Any = None, **changes: Any) -> Any:
        values = {
            "negative": self.negative, "latent_image": self.latent, "vae": self.vae, "positive": self.positive,
            "lora_name": DUOTONE, "folder": "none", "strengths": "0.5, 1", "blocks": "", "seed": 7, "seeds": 1,
            "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "reference": "without LoRA",
            "time_budget": 600.0,
        }  # fmt: skip
        node = self.nodes["PatchbayLoraGrid"].PREPARE_CLASS_CLONE(None)
        return node.execute(model or self.model, **(values | changes))

    def picture(self, model: Any, seed: int = 7, positive: Any = None) -> torch.Tensor:
        """What KSampler and VAE Decode make, rounded to 8 bits."""
        import comfy.sample

        noise = comfy.sample.prepare_noise(self.latent["samples"], seed)
        samples = comfy.sample.sample(
            model, noise, 2, 1.0, "euler", "simple", positive or self.positive, self.negative,
            self.latent["samples"], disable_pbar=True, seed=seed,
        )  # fmt: skip
        return self.vae.decode(samples.cpu())[0].clamp(0, 1).mul(255).round() / 255


@pytest.fixture(scope="module")
def nano(pack_nodes: dict[str, Any]) -> Nano:
    import comfy.taesd.taesd

    if not hasattr(comfy.taesd.taesd, "EncoderFlux2"):
        pytest.skip("this ComfyUI has no tiny FLUX.2 autoencoder")
    return Nano(pack_nodes)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, nano: Nano) -> Iterator[Path]:
    """User, output and temporary folders of the test's own, and loras of its own before the pack's."""
    import folder_paths

    before = folder_paths.get_user_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    for name in ("user", "output", "temp", "loras/training"):
        (tmp_path / name).mkdir(parents=True)
    folder_paths.set_user_directory(str(tmp_path / "user"))
    folder_paths.set_output_directory(str(tmp_path / "output"))
    folder_paths.set_temp_directory(str(tmp_path / "temp"))
    paths, suffixes = folder_paths.folder_names_and_paths["loras"]
    folder_paths.folder_names_and_paths["loras"] = ([str(tmp_path / "loras"), *paths], suffixes)
    folder_paths.filename_list_cache.clear()
    yield tmp_path
    folder_paths.folder_names_and_paths["loras"] = (paths, suffixes)
    folder_paths.filename_list_cache.clear()
    folder_paths.set_user_directory(before[0])
    folder_paths.set_output_directory(before[1])
    folder_paths.set_temp_directory(before[2])


def epochs(folder: Path) -> list[str]:
    """Epochs as a trainer leaves them: the shipped LoRA at a fraction of its change, and whole."""
    state = load_file(MODELS / "loras" / DUOTONE)
    names = []
    for epoch, factor in ((2, 0.3), (10, 0.7), (0, 1.0)):
        scaled = {key: value * factor if "lora_B" in key or "lora_up" in key else value for key, value in state.items()}
        name = f"style-{epoch:06}.safetensors" if epoch else "style.safetensors"
        save_file(scaled, folder / "loras" / "training" / name)
        names.append(f"training/{name}")
    return names


def test_every_cell_is_what_the_ordinary_nodes_make(nano: Nano) -> None:
    images, sheet, report, text = nano.grid(strengths="0, 0.5, 1").args
    assert images.shape[0] == 3
    assert sheet.shape[0] == 1
    for picture, strength in zip(images, (0.0, 0.5, 1.0), strict=True):
        model = nano.run("PatchbayApplyLora", nano.model, DUOTONE, strength, strength, "", "auto")[0]
        assert torch.equal(picture, nano.picture(model))
    zero, half, whole = report.cells
    assert zero.metrics.identical
    assert 0 < half.metrics.mae < whole.metrics.mae
    assert report.floor.metrics.identical
    assert "every difference counts" in text
    assert [axis.name for axis in report.axes] == ["model", "lora", "strength", "blocks", "prompt", "seed"]
    assert attached_things(nano.model) == []


def test_a_folder_of_epochs_in_its_order_against_strengths(nano: Nano, folders: Path) -> None:
    names = epochs(folders)
    result = nano.grid(lora_name="none", folder="training/", strengths="0.5, 1", reference="lora=style, strength=1")
    report = result.args[2]
    lora = next(axis for axis in report.axes if axis.name == "lora")
    assert [value.replace("\\", "/") for value in lora.values] == names
    assert lora.labels == ("style-000002", "style-000010", "style")
    assert (report.rows, report.columns) == (1, 2)
    distances = [cell.metrics.mae for cell in report.cells]
    assert distances[-1] == 0.0
    assert distances[0] == max(distances)
    data = result.ui["patchbay_grid"][0]
    assert data["pages"][0]["cells"] == [[0, 1], [2, 3], [4, 5]]
    assert all((folders / "temp" / cell["picture"]["filename"]).is_file() for cell in data["cells"])
    json.dumps(result.ui, allow_nan=False)


def test_the_sheet_opens_as_its_workflow(nano: Nano, folders: Path) -> None:
    import types

    node = nano.nodes["PatchbayLoraGrid"]
    hidden = types.SimpleNamespace(
        prompt={"1": {"class_type": "X"}}, extra_pnginfo={"workflow": {"nodes": []}}, unique_id="1"
    )
    clone = node.PREPARE_CLASS_CLONE(None)
    clone.hidden = hidden
    clone.execute(
        nano.model, nano.negative, nano.latent, nano.vae, DUOTONE, "none", "1", "", 7, 2, 1.0, "euler", "simple", 1, "",
        600.0, positive=nano.positive,
    )  # fmt: skip
    (sheet,) = (folders / "output" / "lora-patchbay").glob("grid_*.png")
    with Image.open(sheet) as image:
        assert json.loads(image.info["prompt"]) == hidden.prompt
        assert json.loads(image.info["workflow"]) == {"nodes": []}


def test_nothing_is_made_twice_and_only_what_changed_is_made(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    from pack.nodes.host.grid import cells

    sampled = []
    real = cells.sample_latent
    monkeypatch.setattr(cells, "sample_latent", lambda *args: sampled.append(args) or real(*args))
    first = nano.grid().args
    assert len(sampled) == 4  # two cells, the model alone, and that once more for the floor
    again = nano.grid().args
    assert len(sampled) == 4
    assert torch.equal(first[0], again[0])
    assert [cell.state.value for cell in again[2].cells] == ["kept", "kept"]
    assert again[2].floor == first[2].floor
    more = nano.grid(strengths="0.5, 1, 0.25").args
    assert len(sampled) == 5
    assert [cell.state.value for cell in more[2].cells] == ["kept", "kept", "made"]
    nano.grid(use_cache=False)
    assert len(sampled) == 9


def test_it_stops_at_once_and_goes_on_where_it_was(nano: Nano, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management
    from pack.nodes.host.grid import cells

    real, count = cells.sample_latent, [0]

    def stop_in_the_third(model: Any, sampling: Any, callback: Any) -> torch.Tensor:
        count[0] += 1
        if count[0] == 3:
            comfy.model_management.interrupt_current_processing(True)
        return real(model, sampling, callback)

    monkeypatch.setattr(cells, "sample_latent", stop_in_the_third)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        nano.grid(strengths="0.25, 0.5, 1", method="bypass")
    comfy.model_management.interrupt_current_processing(False)
    assert count[0] == 3
    assert attached_things(nano.model) == []
    assert len(list((folders / "user/default/lora-patchbay/grid").iterdir())) == 2
    report = nano.grid(strengths="0.25, 0.5, 1", method="bypass").args[2]
    assert [cell.state.value for cell in report.cells] == ["kept", "made", "made"]


def test_the_time_is_kept_and_the_rest_is_made_next_time(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    from measure_support import VirtualTime
    from pack.nodes.host.grid import cells, run

    clock = VirtualTime()
    monkeypatch.setattr(cells, "time", clock)
    monkeypatch.setattr(run, "time", clock)
    real = cells.sample_latent
    monkeypatch.setattr(cells, "sample_latent", lambda *args: clock.sleep(10) or real(*args))
    node = nano.nodes["PatchbayLoraGrid"]
    before = node.fingerprint_inputs(lora_name=DUOTONE)
    images, _, report, text = nano.grid(strengths="0.25, 0.5, 1", time_budget=25.0, reference="").args
    assert images.shape[0] == 2
    assert [cell.state.value for cell in report.cells] == ["made", "made", "missing"]
    assert "The time of 25 s is spent." in text
    assert report.advice.startswith("Run again")
    assert node.fingerprint_inputs(lora_name=DUOTONE) != before
    assert [cell.state.value for cell in nano.grid(strengths="0.25, 0.5, 1", time_budget=25.0).args[2].cells] == [
        "kept", "kept", "made",
    ]  # fmt: skip


def test_a_damaged_file_fails_alone_and_one_for_another_model_is_said(nano: Nano, folders: Path) -> None:
    (folders / "loras" / "bad.safetensors").write_bytes(b"no lora")
    save_file({"lora_unet_nowhere.lora_down.weight": torch.ones(1, 4)}, folders / "loras" / "other.safetensors")
    report = nano.grid(more_loras="bad.safetensors\nother.safetensors", strengths="1").args[2]
    assert [cell.state.value for cell in report.cells][:2] == ["made", "failed"]
    assert "bad.safetensors" in report.cells[1].note
    assert report.level.value == "warning"
    assert report.cells[2].note


def test_prompts_seeds_and_models_make_pages_and_keep_their_own_reference(nano: Nano) -> None:
    result = nano.grid(strengths="1", seeds=2, positive_b=nano.other, model_b=nano.model.clone(), reference="")
    report = result.args[2]
    assert len(report.cells) == 8
    assert len(result.ui["patchbay_grid"][0]["pages"]) == 2
    assert result.args[1].shape[0] == 2
    images = dict(zip([cell.index for cell in report.cells], result.args[0], strict=True))
    assert torch.equal(images[0, 0, 0, 0, 0, 0], images[1, 0, 0, 0, 0, 0])
    assert not torch.equal(images[0, 0, 0, 0, 0, 0], images[0, 0, 0, 0, 0, 1])
    assert not torch.equal(images[0, 0, 0, 0, 0, 0], images[0, 0, 0, 0, 1, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_name": "none"}, "no LoRA is chosen"),
        ({"more_loras": "../../etc"}, "neither a file nor a folder"),
        ({"reference": "strength=9"}, 'strength has no "9"'),
        ({"positive": None}, "there is no prompt"),
        ({"prompts": "a cat"}, "needs a text encoder"),
        ({"filename_prefix": "../out"}, "filename_prefix"),
    ],
)
def test_what_cannot_be_done_is_said(nano: Nano, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nano.grid(**({"strengths": "1", "reference": ""} | changes))


def test_wrong_texts_are_refused_before_the_run(nano: Nano) -> None:
    node = nano.nodes["PatchbayLoraGrid"]
    assert node.validate_inputs(strengths="0.5, 1", blocks="double=0\n\nsingle=0") is True
    assert '"x" is no number' in node.validate_inputs(strengths="x")
    assert node.validate_inputs(strengths="1", blocks="double=") is not True

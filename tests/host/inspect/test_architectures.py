"""Every architecture of the table against ComfyUI's own model classes, full-size on the meta device.

What a model is, what a LoRA for it is, and which weight each name of a LoRA means: the tables of the command line say
the same as ComfyUI, which builds its key map from the loaded model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from model_zoo import CONFIGS, zoo_model, zoo_shapes
from support import one_of_each

pytestmark = pytest.mark.host
HEADERS = Path(__file__).resolve().parents[4] / "shared" / "data" / "headers" / "models"

# By model: the architecture's id and the name of a LoRA for all of its matrices.
ANSWERS: dict[str, tuple[str, str]] = {
    "SD 1.5": ("sd15", "SD 1.5"),
    "SD 2": ("sd2", "SD 2"),
    "SDXL": ("sdxl", "SDXL"),
    "SDXL refiner": ("sdxl_refiner", "SDXL refiner"),
    "SD3 / SD3.5 medium": ("sd3", "SD3 / SD3.5 medium"),
    "SD3.5 large": ("sd3", "SD3.5 large"),
    "FLUX.1": ("flux1", "FLUX.1"),
    "FLUX.1 schnell": ("flux1", "FLUX.1"),
    "FLUX.2 dev": ("flux2", "FLUX.2 dev"),
    "FLUX.2 Klein 4B": ("flux2", "FLUX.2 Klein 4B"),
    "FLUX.2 Klein 9B": ("flux2", "FLUX.2 Klein 9B"),
    "Chroma": ("chroma", "Chroma"),
    "Z-Image": ("zimage", "Z-Image"),
    "Lumina 2": ("lumina2", "Lumina 2"),
    "Qwen-Image": ("qwen_image", "Qwen-Image"),
    "Wan 2.x 14B": ("wan", "Wan 2.x 14B"),
    "Wan 2.x 14B, image to video": ("wan", "Wan 2.x 14B, image to video"),
    "Wan 2.1 1.3B": ("wan", "Wan 2.1 1.3B"),
    "Wan 2.2 5B": ("wan", "Wan 2.2 5B"),
    "HunyuanVideo": ("hunyuan_video", "HunyuanVideo"),
    "LTX-Video 2B": ("ltx", "LTX-Video 2B"),
    "LTX-Video 13B": ("ltx", "LTX-Video 13B"),
    "LTX-2": ("ltx2", "LTX-2"),
    "Anima": ("anima", "Anima"),
    "Cosmos Predict 2 2B": (
        "cosmos_predict2",
        "Anima or Cosmos Predict 2 2B",
    ),  # Anima's blocks are those of this model
    "Krea 2": ("krea2", "Krea 2"),
    "AuraFlow": ("auraflow", "AuraFlow"),
    "PixArt": ("pixart", "PixArt"),
}


ONE_OF_EACH = one_of_each(ANSWERS, lambda name: ANSWERS[name][0])


@pytest.fixture(autouse=True)
def _comfy(comfy_in_process: Any) -> None:
    """ComfyUI is importable in this process."""


def test_every_model_has_an_answer() -> None:
    assert set(ANSWERS) == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_models_are_identified(name: str) -> None:
    from pack.nodes.core.files.tensors import Header, TensorInfo
    from pack.nodes.core.lora.file_kinds import identify_model

    shapes = zoo_shapes(name)
    architecture, _ = ANSWERS[name]
    for prefix, kind in (("", "diffusion_model"), ("model.diffusion_model.", "diffusion_model")):
        infos = {f"{prefix}{k}": TensorInfo(f"{prefix}{k}", "BF16", shape, 0, 0) for k, shape in shapes.items()}
        found = identify_model(Header("x.safetensors", 0, "safetensors", infos, {}))
        assert found.architecture is not None
        assert (found.kind, found.architecture.id, found.architecture.certainty) == (kind, architecture, "certain")
        assert found.architecture.name.startswith(name.removesuffix(" schnell"))
        assert found.architecture.evidence


@pytest.mark.parametrize("style", ["native", "kohya"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_loras_for_all_matrices_are_identified(name: str, style: str) -> None:
    from pack.nodes.core.files.tensors import Header, TensorInfo
    from pack.nodes.core.lora.file import read_lora
    from pack.nodes.core.lora.file_kinds import identify_lora

    tensors: dict[str, tuple[int, ...]] = {}
    for key, shape in zoo_shapes(name).items():
        if len(shape) < 2 or not key.endswith(".weight"):
            continue
        layer = key.removesuffix(".weight")
        layer = f"lora_unet_{layer.replace('.', '_')}" if style == "kohya" else f"diffusion_model.{layer}"
        tensors[f"{layer}.lora_down.weight"] = (4, *shape[1:])
        tensors[f"{layer}.lora_up.weight"] = (shape[0], 4, *[1] * (len(shape) - 2))
    infos = {key: TensorInfo(key, "BF16", shape, 0, 0) for key, shape in tensors.items()}
    match = identify_lora(read_lora(Header("x.safetensors", 0, "safetensors", infos, {}))).architecture
    assert match is not None
    architecture, expected = ANSWERS[name]
    assert match.name == expected
    assert match.id == architecture or " or " in expected


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_names_mean_the_weights_that_comfyui_says(name: str) -> None:
    """Every name in ComfyUI's key map, rows and their order too, by our own tables alone."""
    import comfy.lora
    from pack.nodes.core.files.tensors import Header
    from pack.nodes.core.lora.file import LoraLayer, read_lora
    from pack.nodes.core.match.model_names import FileNames, ModelNames
    from pack.nodes.host.comfyui.model_keys import row_order

    model = zoo_model(name)
    full = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    theirs = comfy.lora.model_lora_keys_unet(model, {})
    keys = {layer: target if isinstance(target, str) else target[0] for layer, target in theirs.items()}
    parts = {layer: target[1] for layer, target in theirs.items() if not isinstance(target, str) and target[1]}
    rows = {layer: parts[layer][2] if layer in parts else full.get(key, (0,))[0] for layer, key in keys.items()}
    layers = {layer: LoraLayer(layer, "lora", {}, out_features=rows[layer]) for layer in theirs}
    alone = ModelNames(full, ANSWERS[name][0])
    both = ModelNames(full, ANSWERS[name][0], second=theirs, order_of=row_order)
    names = FileNames(read_lora(Header("x.safetensors", 0, "safetensors", {}, {})), ())
    wrong = []
    for layer, key in keys.items():
        if key not in full or (layer in parts and sum(parts[layer][1:]) > full[key][0]):
            continue  # Lumina 2's keys are fewer than its queries, and ComfyUI's table ends beyond the weight
        found = both.find(layers[layer], names)
        if name.startswith("FLUX.2") and layer.endswith("proj_mlp"):
            assert "another model" in found.problem  # FLUX.1's, of another height
        elif not alone.find(layers[layer], names).spots or found.difference or found.only_second:
            wrong.append((layer, theirs[layer], found))
    assert not wrong, wrong[:5]


DIFFUSERS = {
    "FLUX.1": "flux_to_diffusers",
    "FLUX.1 schnell": "flux_to_diffusers",
    "SD3.5 large": "mmdit_to_diffusers",
    "SD3 / SD3.5 medium": "mmdit_to_diffusers",
    "Z-Image": "z_image_to_diffusers",
    "AuraFlow": "auraflow_to_diffusers",
    "PixArt": "pixart_to_diffusers",
    "SD 1.5": "unet_to_diffusers",
    "SD 2": "unet_to_diffusers",
    "SDXL": "unet_to_diffusers",
}


@pytest.mark.parametrize("name", DIFFUSERS)
def test_files_in_diffusers_layout_get_the_names_of_the_loaded_model(name: str) -> None:
    import comfy.utils
    from pack.nodes.core.files.tensors import Header, TensorInfo
    from pack.nodes.core.lora.file_kinds import identify_model
    from pack.nodes.core.match.diffusers_names import own_names

    if not hasattr(comfy.utils, DIFFUSERS[name]):
        pytest.skip(f"this ComfyUI does not read the layout of diffusers: {name}")
    config, shapes = zoo_model(name).model_config.unet_config, zoo_shapes(name)
    stored: dict[str, tuple[int, ...]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    second_spellings = ("linear_in", "linear_out", "to_qkv_mlp_proj", "attn.to_out.weight", "class_embedding")
    for other, target in getattr(comfy.utils, DIFFUSERS[name])(config).items():
        own, part = (target, None) if isinstance(target, str) else target[:2]
        if own in shapes and not any(word in other for word in second_spellings):
            expected[own] = shapes[own]
            stored[other] = shapes[own] if part is None else (part[2], *shapes[own][1:])
    assert len(expected) > 0.9 * len(shapes)
    infos = {key: TensorInfo(key, "BF16", shape, 0, 0) for key, shape in stored.items()}
    found = identify_model(Header("x.safetensors", 0, "safetensors", infos, {})).architecture
    assert found is not None
    assert found.id == ANSWERS[name][0]
    assert own_names(stored, found.id) == expected


KLEIN_HEADERS = {
    "FLUX.2 Klein 4B": "flux2_klein4b_bfl_keys_shapes",
    "FLUX.2 Klein 9B": "flux2_klein9b_bfl_keys_shapes",
    "FLUX.2 dev": "flux2_dev_bfl_keys_shapes",
}


@pytest.mark.parametrize("name", KLEIN_HEADERS)
def test_flux2_models_are_those_of_the_real_files(name: str) -> None:
    """ComfyUI's model on the meta device, and what the file of the same model gets when it is loaded."""
    from pack.nodes.core.match.diffusers_names import own_names

    path = HEADERS / f"{KLEIN_HEADERS[name]}.json"
    if not path.exists():
        pytest.skip(f"the shared test data is not here: {path.name}")
    stored = {key: tuple(shape) for key, shape in json.loads(path.read_text(encoding="utf-8")).items()}
    assert own_names(stored, "flux2") == zoo_shapes(name)


@pytest.mark.parametrize("model", ["FLUX.2 Klein 4B", "FLUX.2 Klein 9B"])
@pytest.mark.parametrize("made_for", ["FLUX.2 Klein 4B", "FLUX.2 Klein 9B", "FLUX.2 dev", "FLUX.1"])
def test_every_layer_of_full_size_models_in_every_direction(model: str, made_for: str) -> None:
    """Where ComfyUI has a weight of that name and shape a layer lands, and nowhere else."""
    from pack.nodes.core.check.files import check_lora_file
    from pack.nodes.core.check.model_file import model_of_header
    from pack.nodes.core.files.tensors import Header, TensorInfo
    from pack.nodes.core.lora.file import read_lora

    own, other = zoo_shapes(model), zoo_shapes(made_for)
    tensors: dict[str, Any] = {}
    for key, shape in other.items():
        if len(shape) == 2 and key.endswith(".weight"):
            layer = f"diffusion_model.{key.removesuffix('.weight')}"
            for end, side in (("lora_A.weight", (8, shape[1])), ("lora_B.weight", (shape[0], 8))):
                tensors[f"{layer}.{end}"] = TensorInfo(f"{layer}.{end}", "BF16", side, 0, 0)
    file = read_lora(Header("x.safetensors", 0, "safetensors", tensors, {}))
    infos = {key: TensorInfo(key, "BF16", shape, 0, 0) for key, shape in own.items()}
    checked = check_lora_file(file, model_of_header(Header("model.safetensors", 0, "safetensors", infos, {})))
    landing = {layer.model_key for layer in checked.report.layers if layer.state.value == "applied"}
    expected = {key for key, shape in other.items() if own.get(key) == shape and len(shape) == 2}
    assert landing == {f"diffusion_model.{key}" for key in expected if key.endswith(".weight")}
    assert checked.verdict.fits == (model == made_for)
    if model != made_for:
        assert checked.report.summary.startswith(f"x.safetensors does not fit {model}: it is made for {made_for}")

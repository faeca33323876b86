"""Every LoRA file does what the program that wrote it does with it; with ``as_stock``, what ComfyUI does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import (
    EXACT,
    FORMULA_WRITERS,
    SHARED,
    added,
    file_from_header,
    probed_error,
    stock,
)
from nano_models import write
from support import one_of_each, some
from tiny_models import tiny_model
from writer_files import TOOL_FILES, diffusers_model, kind_of_file, write_tool_file
from writer_files_sd15 import SD15_FILES, write_sd15_file
from writer_reference import Deltas, reference_deltas, relative_error

MEASURED = 5e-5
"""Where the truth is found from outputs of whole layers in float32."""
TRUTHS = sorted((SHARED / "truth").glob("*.safetensors")) if SHARED.is_dir() else []
HEADERS = SHARED / "headers" / "writers"
CHANGED = tuple(
    f"lycoris_{name}"
    for name in ("lora_dora", "loha_dora", "lokr_dora", "ia3", "oft_bounded", "oft_rescaled", "boft_bounded")
)
NO_TRUTH = ("lycoris_dylora",)


ONE_OF_EACH = one_of_each(TOOL_FILES, kind_of_file)


@pytest.fixture(scope="module")
def tool_file(
    tmp_path_factory: pytest.TempPathFactory, bfl: dict[str, torch.Tensor]
) -> Callable[[str], tuple[str, Deltas]]:
    """Files of the real tools with their truth, each made once."""
    pytest.importorskip("peft")
    pytest.importorskip("diffusers")
    pytest.importorskip("lycoris")
    known: dict[str, tuple[str, Deltas]] = {}

    def make(name: str) -> tuple[str, Deltas]:
        if name not in known:
            known[name] = write_tool_file(name, tmp_path_factory.mktemp(name), bfl)
        return known[name]

    return make


def same_deltas(first: Deltas, second: Deltas) -> bool:
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", TOOL_FILES)
def test_a_file_does_what_its_own_tool_does(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, truth = tool_file(name)
    result = host.apply(path, name, model, None, 1.0, 0.0, "")
    assert relative_error(added(result.model), truth) < EXACT
    assert {layer.state for layer in result.report.layers} == {host.State.APPLIED}
    assert all(layer.delta_norm for layer in some(result.report.layers))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_strength_is_linear_below_zero_too(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, truth = tool_file(name)
    result = host.apply(path, name, model, None, -0.5, 0.0, "")
    assert relative_error(added(result.model, -0.5), truth) < EXACT


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_as_stock_is_the_stock_loader_bit_for_bit(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    strength = 0.5 if "oft" in name else 1.0
    theirs = stock(model, path, strength)
    result = host.apply(path, name, model, None, strength, 0.0, "", as_stock=True)
    assert same_deltas(added(result.model), added(theirs))
    types_of = [[type(patches[0][1]) for patches in m.patches.values()] for m in (result.model, theirs)]
    assert types_of[0] == types_of[1]


@pytest.mark.parametrize("name", [name for name in TOOL_FILES if name.startswith("lycoris")])
def test_what_stock_does_right_stays_the_very_same(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    result = host.apply(path, name, model, None, 1.0, 0.0, "")
    theirs = added(stock(model, path))
    remarked = {layer.model_key for layer in result.report.layers if layer.reason}
    assert name in CHANGED or len(remarked) < len(theirs)
    for key, delta in some(added(result.model).items()):
        assert key in remarked or torch.equal(delta, theirs[key])


@pytest.mark.parametrize(
    "name", ["peft_raw_dora", "peft_raw_oft", "diffusers_model_lora", "lycoris_ia3", "lycoris_glora"]
)
def test_the_sum_of_the_blocks_is_the_whole(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, truth = tool_file(name)
    places = ["other", "double_blocks.0", "double_blocks.1", *(f"single_blocks.{index}" for index in range(3))]
    total: Deltas = {}
    for place in places:
        alone = added(host.apply(path, name, model, None, 1.0, 0.0, f"all=0, {place}=1").model)
        assert not total.keys() & alone.keys()
        total |= alone
    assert relative_error(total, truth) < EXACT


def sample(model: Any) -> torch.Tensor:
    """Three Euler steps with fixed noise."""
    import comfy.samplers

    generator = torch.Generator().manual_seed(5)
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {}]]
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = torch.tensor([1.0, 0.8, 0.4, 0.0])
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=0, disable_pbar=True)


@pytest.mark.parametrize("name", ["peft_raw_dora", "lycoris_lora_dora"])
def test_sampling_as_meant_and_as_stock(host: Any, model: Any, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    meant = sample(host.apply(path, name, model, None, 1.0, 0.0, "").model)
    as_stock = sample(host.apply(path, name, model, None, 1.0, 0.0, "", as_stock=True).model)
    assert torch.equal(as_stock, sample(stock(model, path)))
    assert meant.isfinite().all()
    assert not torch.equal(meant, as_stock)


# --- convolutions, norms and names of a UNet ----------------------------------------------------------


@pytest.fixture(scope="module")
def unet(host: Any) -> Any:
    return tiny_model("SD 1.5")


@pytest.mark.parametrize("name", one_of_each(SD15_FILES, kind_of_file))
def test_a_file_for_stable_diffusion_does_what_its_own_tool_does(
    host: Any, unet: Any, tmp_path: Path, name: str
) -> None:
    for tool in ("peft", "diffusers", "lycoris"):
        pytest.importorskip(tool)
    path, truth = write_sd15_file(name, tmp_path, dict(unet.model_state_dict()))
    result = host.apply(path, name, unet, None, 1.0, 0.0, "")
    assert relative_error(added(result.model), truth) < MEASURED
    assert {layer.state for layer in result.report.layers} == {host.State.APPLIED}
    as_stock = host.apply(path, name, unet, None, 0.7, 0.0, "", as_stock=True).model
    assert same_deltas(added(as_stock), added(stock(unet, path, 0.7)))


# --- adapter_config.json -----------------------------------------------------------------------------


def raw_peft(folder: Path, config: object, rank: int = 4) -> str:
    state = {
        "base_model.model.double_blocks.0.img_attn.proj.lora_A.weight": torch.ones(rank, 128),
        "base_model.model.double_blocks.0.img_attn.proj.lora_B.weight": torch.ones(128, rank),
    }
    if config is not None:
        (folder / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return write(folder / "adapter_model.safetensors", state)


@pytest.mark.parametrize(
    ("config", "scale", "remark"),
    [
        ({"r": 4, "lora_alpha": 16}, 4.0, ""),
        ({"r": 4, "lora_alpha": 16, "use_rslora": True}, 8.0, ""),
        ({"r": 64, "lora_alpha": 64, "rank_pattern": {"img_attn.proj": 4}}, 16.0, ""),
        ({"r": 8, "lora_alpha": 16}, 1.0, "of another file"),
        (None, 1.0, "missing"),
        ("{not json", 1.0, "cannot be read"),
        ("[1]", 1.0, "not a PEFT configuration"),
        ({}, 1.0, ""),
    ],
)
def test_the_scale_of_raw_peft_stands_beside_the_file(
    host: Any, model: Any, tmp_path: Path, config: object, scale: float, remark: str
) -> None:
    path = raw_peft(tmp_path, config)
    result = host.apply(path, "raw", model, None, 1.0, 0.0, "")
    (layer,) = result.report.layers
    assert layer.scale == scale
    assert remark in layer.reason
    (delta,) = added(result.model).values()
    torch.testing.assert_close(delta, torch.full_like(delta, 4 * scale))


def test_a_changed_configuration_is_noticed(host: Any, model: Any, tmp_path: Path) -> None:
    path = raw_peft(tmp_path, {"r": 4, "lora_alpha": 16})
    assert host.apply(path, "raw", model, None, 1.0, 0.0, "").report.layers[0].scale == 4.0
    raw_peft(tmp_path, {"r": 4, "lora_alpha": 160})
    assert host.apply(path, "raw", model, None, 1.0, 0.0, "").report.layers[0].scale == 40.0


def test_a_configuration_elsewhere_is_not_followed(host: Any, model: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere.json").write_text(json.dumps({"r": 4, "lora_alpha": 16}))
    (tmp_path / "here" / "adapter_config.json").symlink_to(tmp_path / "elsewhere.json")
    result = host.apply(raw_peft(tmp_path / "here", None), "raw", model, None, 1.0, 0.0, "")
    assert "a link to another folder" in result.report.layers[0].reason


# --- what has no unique meaning ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "metadata", "reason"),
    [
        ({"lora_down.weight": torch.ones(4, 128), "lora_up.weight": torch.ones(128, 4), "alpha": torch.tensor(2.0)},
         {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "dylora"}'}, "random rank"),
        ({"lora_down.weight": torch.ones(4, 128), "lora_up.weight": torch.ones(128, 4),
          "alpha": torch.tensor(float("nan"))}, {}, "not a number"),
        ({"ia3_l": torch.ones(128)}, {}, "nothing in the file says which"),
    ],
)  # fmt: skip
def test_what_has_no_unique_meaning_is_not_applied(
    host: Any, model: Any, tmp_path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str], reason: str
) -> None:
    name = "diffusion_model.double_blocks.0.img_attn.proj"
    path = write(tmp_path / "x.safetensors", {f"{name}.{key}": value for key, value in state.items()}, metadata)
    result = host.apply(path, "x", model, None, 1.0, 0.0, "")
    (layer,) = result.report.layers
    assert layer.state in (host.State.NOT_UNDERSTOOD, host.State.SHAPE_MISMATCH)
    assert reason in layer.reason
    assert result.model.patches == {}
    as_stock = host.apply(path, "x", model, None, 1.0, 0.0, "", as_stock=True).model
    assert list(as_stock.patches) == list(stock(model, path).patches)


def test_a_flux_1_mlp_is_not_written_into_a_gated_one(host: Any, model: Any, tmp_path: Path) -> None:
    name = "transformer.single_transformer_blocks.0.proj_mlp"
    state = {f"{name}.lora_A.weight": torch.ones(4, 128), f"{name}.lora_B.weight": torch.ones(512, 4)}
    path = write(tmp_path / "x.safetensors", state)
    result = host.apply(path, "x", model, None, 1.0, 0.0, "")
    assert result.model.patches == {}
    assert "another size" in result.report.layers[0].reason
    assert len(stock(model, path).patches) == 1


# --- our own adapters inside ComfyUI -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["peft_raw_dora", "peft_raw_oft", "peft_raw_boft", "lycoris_oft_bounded", "lycoris_ia3"]
)
def test_all_state_lies_in_the_weights(host: Any, model: Any, tool_file: Any, name: str) -> None:
    patched = host.apply(tool_file(name)[0], name, model, None, 1.0, 0.0, "").model
    for key, patches in some(patched.patches.items()):
        counter = [0]
        host.lora.prefetch_prepared_value(patches[0][1], counter, None, None, False)
        again = type(patches[0][1])(patches[0][1].loaded_keys, patches[0][1].weights)
        weight = model.model_state_dict(key)[key]
        entry = (patches[0][0], again, *patches[0][2:])
        one, other = (host.lora.calculate_weight([p], weight.clone(), key) for p in (patches[0], entry))
        assert counter[0] > 0
        assert torch.equal(one, other)


def test_bfloat16_weights_are_rounded_once(host: Any, bfl: dict[str, torch.Tensor], tool_file: Any) -> None:
    half = host.sd.load_diffusion_model_state_dict({key: value.bfloat16() for key, value in bfl.items()})
    patched = host.apply(tool_file("peft_raw_dora")[0], "dora", half, None, 1.0, 0.0, "").model
    for key, patches in some(patched.patches.items()):
        weight = half.model_state_dict(key)[key]
        exact = host.lora.calculate_weight(patches, weight.float().clone(), key)
        rounded = host.lora.calculate_weight(patches, weight.clone(), key, torch.bfloat16)
        torch.testing.assert_close(rounded.float(), exact, rtol=2**-7, atol=2**-7 * float(exact.abs().max()))


def test_what_needs_the_weight_cannot_run_beside_it(host: Any) -> None:
    adapter = host.Writer.make("ia3", {"ia3_l": torch.ones(4, 1)})
    with pytest.raises(NotImplementedError, match="method merge"):
        adapter.h(torch.ones(1, 4), torch.ones(1, 4))


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_butterfly_is_pefts(host: Any, stages: int) -> None:
    boft = pytest.importorskip("peft.tuners.boft.layer")
    torch.manual_seed(1)
    width, size = 32, 4
    blocks = torch.randn(stages, width // size, size, size) * 0.3
    weight, factor = torch.randn(8, width), torch.rand(8, 1) + 0.5
    layer: Any = boft.BOFTLayer
    turn = torch.eye(width)
    for stage in range(stages):
        order = layer.block_butterfly_perm(None, width, width // size // 2**stage, size // 2, stages - 1)
        permutation = layer.perm2mat(None, order)
        rotation = torch.block_diag(*layer.cayley_batch(None, blocks[stage]))
        turn = permutation @ rotation @ permutation.T @ turn
    delta = host.Writer.make("boft (PEFT)", {"boft_R": blocks, "boft_s": factor}).delta(weight)
    torch.testing.assert_close(weight + delta, (turn @ weight.T).T * factor, rtol=1e-4, atol=1e-5)


def test_diffusers_model_of_the_tests_is_the_same_model(bfl: dict[str, torch.Tensor]) -> None:
    pytest.importorskip("diffusers")
    assert sum(p.numel() for p in diffusers_model(bfl).parameters()) == sum(t.numel() for t in bfl.values())


# --- files that are not part of the project ----------------------------------------------------------


@pytest.fixture(scope="module")
def shared_model(host: Any) -> Any:
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data")
    return host.sd.load_diffusion_model(str(SHARED / "nano" / "nano_2x3_bfl_f32.safetensors"))


@pytest.mark.skipif(not TRUTHS, reason="no ../shared/data/truth")
@pytest.mark.parametrize(
    "path",
    one_of_each(sorted(SHARED.glob("loras/*.safetensors")) if TRUTHS else [], lambda path: kind_of_file(path.stem)),
    ids=lambda path: path.stem,
)
def test_the_shared_files(host: Any, shared_model: Any, path: Path) -> None:
    as_stock = host.apply(str(path), path.stem, shared_model, None, 1.0, 0.0, "", as_stock=True)
    assert same_deltas(added(as_stock.model), added(stock(shared_model, str(path))))
    result = host.apply(str(path), path.stem, shared_model, None, 1.0, 0.0, "")
    truth = SHARED / "truth" / f"{path.stem.split('.')[0]}.safetensors"
    if path.stem in NO_TRUTH:
        assert {layer.state for layer in result.report.layers} == {host.State.NOT_UNDERSTOOD}
    elif truth.is_file():
        assert probed_error(added(result.model), truth, shared_model) < EXACT
    else:  # ComfyUI itself is the writer
        assert relative_error(added(result.model), added(as_stock.model)) == 0


@pytest.mark.skipif(not HEADERS.is_dir(), reason="no ../shared/data/headers")
@pytest.mark.parametrize(
    "header", sorted(p for tool in FORMULA_WRITERS for p in HEADERS.glob(f"{tool}_*.json")),
    ids=lambda path: path.stem,
)  # fmt: skip
def test_writers_whose_weights_are_not_there(host: Any, shared_model: Any, tmp_path: Path, header: Path) -> None:
    pytest.importorskip("diffusers")
    tensors = file_from_header(header, tmp_path / "x.safetensors")
    truth = reference_deltas(tensors, shared_model.model_state_dict(), 1.0)
    result = host.apply(str(tmp_path / "x.safetensors"), header.stem, shared_model, None, 1.0, 0.0, "")
    assert {layer.state for layer in result.report.layers} == {host.State.APPLIED}
    assert relative_error(added(result.model), truth) < EXACT

"""What must hold for any strengths: linearity, ones, zeros, the sum of blocks, and merge = bypass in every dtype."""

from __future__ import annotations

import math
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from bypass_files import adapter_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nano_models import flux2_state_dict, native_lora, write
from support import some

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 2}
BLOCKS = ("double_blocks.0", "single_blocks.0", "single_blocks.1")
KINDS = ("lora", "loha_small", "lokr", "glora", "diff")
STRENGTHS = st.floats(-4, 4, allow_nan=False).map(lambda value: round(value, 3))
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's apply function and ComfyUI's arithmetic."""
    import comfy.lora
    import comfy.model_management
    import comfy.sd
    import comfy.utils
    from pack.nodes.host.apply import apply

    return types.SimpleNamespace(
        sd=comfy.sd, lora=comfy.lora, apply=apply.apply_lora, utils=comfy.utils, management=comfy.model_management
    )


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=6, **SIZES))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("kinds")
    return {name: adapter_file(name, folder, SIZES) for name in KINDS}


def deltas(host: Any, model: Any, path: str, strength: float, blocks: str = "") -> dict[str, torch.Tensor]:
    """What each weight gains in float64."""
    patched = host.apply(path, Path(path).name, model, None, strength, 0.0, blocks).model
    result = {}
    for key, patches in patched.patches.items():
        weight = model.model_state_dict(key)[key].double()
        result[key] = host.lora.calculate_weight(patches, weight.clone(), key, torch.float64) - weight
    return result


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal up to the rounding of weights of unit size in float64, and of LoHa and LoKr factors made in float32."""
    return bool(torch.allclose(a, b, rtol=1e-5, atol=1e-7))


@pytest.mark.parametrize("kind", KINDS)
def test_strength_is_linear(host: Any, model: Any, files: dict[str, str], kind: str) -> None:
    one = deltas(host, model, files[kind], 1.0)

    @FEW
    @given(STRENGTHS, STRENGTHS)
    def holds(strength: float, block: float) -> None:
        found = deltas(host, model, files[kind], strength, f"single_blocks.1={block}")
        for key, delta in some(one.items()):
            factor = strength * (block if ".single_blocks.1." in key else 1.0)
            assert (key in found) == (factor != 0)
            if factor:
                assert close(found[key], delta * factor)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_of_blocks_is_the_whole(host: Any, model: Any, files: dict[str, str], kind: str) -> None:
    @FEW
    @given(st.tuples(*[STRENGTHS] * len(BLOCKS)))
    def holds(strengths: tuple[float, ...]) -> None:
        items = [f"{block}={strength}" for block, strength in zip(BLOCKS, strengths, strict=True)]
        whole = deltas(host, model, files[kind], 1.0, ", ".join(items))
        total: dict[str, torch.Tensor] = {}
        for item in items:
            for key, delta in deltas(host, model, files[kind], 1.0, f"all=0, {item}").items():
                assert key not in total
                total[key] = delta
        assert whole.keys() == total.keys()
        assert all(close(whole[key], total[key]) for key in whole)

    holds()


@FEW
@given(st.lists(st.sampled_from(BLOCKS), unique=True, min_size=0), st.booleans())
def test_zeros_leave_the_model_alone_however_they_are_written(
    host: Any, model: Any, files: dict[str, str], blocks: list[str], overall: bool
) -> None:
    text = ", ".join([*(f"{block}=0" for block in blocks), *([] if overall else ["all=0"])])
    patched = host.apply(files["lora"], "x", model, None, 0.0 if overall else 1.0, 0.0, text)
    assert patched.model.patches == {}
    assert patched.model.patches_uuid == model.patches_uuid


@pytest.mark.parametrize("method", ["merge", "bypass"])
def test_a_chain_at_strength_0_leaves_uuid_and_weights_alone(
    host: Any, model: Any, files: dict[str, str], method: str
) -> None:
    end = model
    for kind in KINDS:
        end = host.apply(files[kind], kind, end, None, 0.0, 0.0, "", method=method).model
        end = host.apply(files[kind], kind, end, None, 1.0, 0.0, "all=0", method=method).model
    assert end.patches == {}
    assert end.injections == {}
    assert end.patches_uuid == model.patches_uuid
    host.management.load_models_gpu([model])
    before = {name: parameter.data_ptr() for name, parameter in model.model.named_parameters()}
    values = {name: parameter.clone() for name, parameter in model.model.named_parameters()}
    host.management.load_models_gpu([end])
    after = dict(model.model.named_parameters())
    assert {name: parameter.data_ptr() for name, parameter in after.items()} == before
    assert all(torch.equal(values[name], parameter) for name, parameter in some(after.items()))


def tolerance(dtype: torch.dtype, weight: torch.Tensor, x: torch.Tensor, delta: torch.Tensor) -> float:
    """How far the outputs of a merged and a bypassed linear layer may lie apart (Frobenius norm).

    Merged, the sum of weight and delta is rounded once: each element is off by up to u |w + d|; over many elements the
    errors add up as squares, u |w + d| |x| over the root of the width. Beside, x down, the output and the sum are
    rounded: u (|d x| + |w x| + |(w + d) x|) each. ``u`` is half of the dtype's spacing at 1.
    """
    u = torch.finfo(dtype).eps / 2
    merged = weight + delta
    outputs = float((x @ merged.T).norm()), float((x @ weight.T).norm()), float((x @ delta.T).norm())
    rounded_weight = float(merged.norm()) * float(x.norm()) / math.sqrt(merged.shape[1])
    return u * (rounded_weight + 3 * sum(outputs)) + 1e-6 * outputs[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_merge_is_bypass_within_the_rounding_of_the_dtype(host: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    state = {key: tensor.to(dtype) for key, tensor in flux2_state_dict(seed=2, **SIZES).items()}
    model = host.sd.load_diffusion_model_state_dict(dict(state), model_options={"dtype": dtype})
    path = write(tmp_path / "x.safetensors", {k: t.to(dtype) for k, t in native_lora(seed=7, **SIZES).items()})
    tensors = host.utils.load_torch_file(path)
    name = "diffusion_model.single_blocks.0.linear1"
    layer = host.utils.get_attr(model.model, name)

    @FEW
    @given(STRENGTHS.filter(lambda value: abs(value) > 0.01), st.integers(0, 1000))
    def holds(strength: float, seed: int) -> None:
        x = torch.randn(8, 128, generator=torch.Generator().manual_seed(seed)).to(dtype)
        results = []
        for method in ("merge", "bypass"):
            patched = host.apply(path, "x", model, None, strength, 0.0, "", method=method).model
            host.management.load_models_gpu([patched])
            results.append(layer(x).double())
        host.management.load_models_gpu([model])
        weight = state[f"{name.removeprefix('diffusion_model.')}.weight"].double()
        delta = strength * tensors[f"{name}.lora_B.weight"].double() @ tensors[f"{name}.lora_A.weight"].double()
        allowed = tolerance(dtype, weight, x.double(), delta)
        assert float((results[0] - results[1]).norm()) <= allowed
        exact = x.double() @ (weight + delta).T
        assert float((results[1] - exact).norm()) <= allowed
        assert float((x.double() @ delta.T).norm()) > allowed or abs(strength) < 0.2

    with torch.inference_mode():
        holds()

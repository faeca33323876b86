"""Norms without the delta against the delta that ComfyUI itself adds."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.host
OUT, IN, RANK = 96, 64, 4


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's measuring and ComfyUI's arithmetic."""
    import comfy.lora
    from pack.nodes.host.match import writer_adapters
    from pack.nodes.host.match.roles import read_parts
    from pack.nodes.host.norms import exact as exact_norms
    from pack.nodes.host.norms import factor_products as products
    from pack.nodes.host.norms import patches as norms

    return types.SimpleNamespace(
        lora=comfy.lora, limit=norms.DENSE_LIMIT, Writer=writer_adapters.WriterAdapter, products=products.product_norms,
        exact=lambda value, weight: exact_norms.exact_norm(read_parts(value), weight),
        norm=lambda value, *where: norms.delta_norm(read_parts(value), *where),
    )  # fmt: skip


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


ALPHA = {"alpha": torch.tensor(2.0)}
STATES: dict[str, dict[str, torch.Tensor]] = {
    "loha": {"hada_w1_a": rand(OUT, RANK), "hada_w1_b": rand(RANK, IN), "hada_w2_a": rand(OUT, RANK),
             "hada_w2_b": rand(RANK, IN), **ALPHA},
    "lokr": {"lokr_w1": rand(8, 4), "lokr_w2_a": rand(12, RANK), "lokr_w2_b": rand(RANK, 16), **ALPHA},
    "lokr of low ranks": {"lokr_w1_a": rand(8, 2), "lokr_w1_b": rand(2, 4), "lokr_w2_a": rand(12, RANK),
                          "lokr_w2_b": rand(RANK, 16), **ALPHA},
    "lokr of whole factors": {"lokr_w1": rand(8, 4), "lokr_w2": rand(12, 16), **ALPHA},
    "glora": {"a1.weight": rand(IN, RANK), "a2.weight": rand(RANK, IN), "b1.weight": rand(OUT, RANK),
              "b2.weight": rand(RANK, IN), **ALPHA},
    "old glora": {"a1.weight": rand(RANK, IN), "a2.weight": rand(IN, RANK), "b1.weight": rand(RANK, IN),
                  "b2.weight": rand(OUT, RANK), **ALPHA},
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_exact_norms_are_those_of_comfyui(host: Any, name: str) -> None:
    state = {f"x.{suffix}": tensor for suffix, tensor in STATES[name].items()}
    value = host.lora.load_lora(state, {"x": "y"}, log_missing=False)["y"]
    weight = rand(OUT, IN + 1)[:, :IN].contiguous()
    patched = host.lora.calculate_weight([(1.0, value, 1.0, None, None)], weight.clone(), "y", torch.float32)
    expected = float((patched - weight).double().norm())
    assert expected > 0
    assert host.exact(value, lambda: weight) == pytest.approx(expected, rel=1e-5)
    assert host.norm(value, (OUT, IN), lambda: weight) == (pytest.approx(expected, rel=1e-5), "")


@pytest.mark.parametrize("size", [1e-14, 1.0, 1e12])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_plain_lora_of_any_size_and_dtype(host: Any, size: float, dtype: torch.dtype) -> None:
    """Together with others of other shapes and with convolutions; a tiny change is not taken for none at all."""
    size = 1.0 if dtype is torch.float16 else size
    opposite = rand(OUT, 1).repeat(1, 2), torch.cat([row := rand(1, IN), -1.001 * row])
    shapes = [(rand(OUT, RANK), rand(RANK, IN)), (rand(OUT, 1), rand(1, 3 * IN)), opposite,
              (rand(OUT, RANK, 1, 1), rand(RANK, 8, 3, 3)), (torch.zeros(OUT, RANK), rand(RANK, IN))]  # fmt: skip
    pairs = [(up.mul(size).to(dtype), down.mul(size).to(dtype)) for up, down in shapes]
    exact = [float((up.double().flatten(1) @ down.double().flatten(1)).norm()) for up, down in pairs]
    found = host.products(pairs)
    assert found == pytest.approx(exact, rel=1e-3, abs=0)  # float32, and two terms that nearly cancel
    assert [norm == 0 for norm in found] == [False, False, False, False, True]


def test_a_large_weight_is_measured_all_the_same(host: Any) -> None:
    """A linear1 of Klein 9B, and one that does not fit its weight."""
    state = {"x.lokr_w1": rand(48, 32), "x.lokr_w2_a": rand(768, 8), "x.lokr_w2_b": rand(8, 128)}
    value = host.lora.load_lora(state, {"x": "y"}, log_missing=False)["y"]
    assert 36864 * 4096 > host.limit
    for shape in ((36864, 4096), (36864, 3072)):
        norm, why = host.norm(value, shape, lambda: pytest.fail("the weight is not needed"))
        product = (state["x.lokr_w2_a"].double() @ state["x.lokr_w2_b"].double()).norm()
        assert (norm, why) == (pytest.approx(float(state["x.lokr_w1"].double().norm() * product), rel=1e-6), "")


def test_the_writers_own_scale_counts(host: Any) -> None:
    tensors = {"lokr_w1": rand(8, 4), "lokr_w2": rand(12, 16)}
    plain, scaled = (host.Writer.make("lokr", tensors, scale) for scale in (1.0, 0.25))
    assert host.exact(scaled, lambda: None) == pytest.approx(0.25 * host.exact(plain, lambda: None))


def test_what_has_no_exact_form_is_left_to_comfyui(host: Any) -> None:
    state = {f"x.{suffix}": tensor for suffix, tensor in STATES["lokr"].items()} | {"x.dora_scale": rand(OUT, 1)}
    value = host.lora.load_lora(state, {"x": "y"}, log_missing=False)["y"]
    assert host.exact(value, lambda: None) is None
    assert host.exact(("diff", (rand(3, 3),)), lambda: None) is None

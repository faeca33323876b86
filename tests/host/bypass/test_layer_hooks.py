"""The hooks on single layers: the term inside the layer's own product, after it, and with an input by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bypass_support import ROUNDING, apply, relative, sample

pytestmark = pytest.mark.host


def test_the_low_rank_term_is_part_of_the_layers_own_product_where_the_layer_lets_it(
    host: Any, model: Any, lora_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pack.nodes.host.bypass import layer_hooks as bypass_ops

    taken: list[tuple[int, ...]] = []
    product = bypass_ops.LinearCall.product

    def counted(self: Any, x: Any, weight: Any, bias: Any) -> torch.Tensor:
        taken.append(tuple(weight.shape))
        return product(self, x, weight, bias)

    monkeypatch.setattr(bypass_ops.LinearCall, "product", counted)
    beside = apply(host, lora_path, model, "bypass", 0.7).model
    inside = sample(host, beside)
    stack = host.bypass.bypass_stack(beside)
    assert len(taken) == 2 * len(stack.hooks)
    monkeypatch.setattr(bypass_ops, "INSIDE", False)
    assert relative(inside, sample(host, beside)) < ROUNDING
    assert len(taken) == 2 * len(stack.hooks)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["own", "another product first", "other weight", "forward replaced", "twice", "empty"])
def test_layers_that_compute_in_another_way_get_the_term_afterwards(host: Any, kind: str, bias: bool) -> None:
    from pack.nodes.core.lora.bypass_factors import LowRank
    from pack.nodes.host.bypass.layer_hooks import InsideHook, LinearInput, make_hook
    from pack.nodes.host.bypass.terms import Beside, LayerKind

    class Layer(torch.nn.Linear):
        def forward(self, input: Any) -> torch.Tensor:
            if kind == "another product first":
                assert type(torch.nn.functional.linear(input, torch.ones(3, 16))) is torch.Tensor
            if kind == "other weight":  # of another dtype: the layer casts its input too
                return torch.nn.functional.linear(input.double(), self.weight.double()).float() + (
                    0 if self.bias is None else self.bias
                )
            first = super().forward(input)
            return first + super().forward(input) if kind == "twice" else first

    torch.manual_seed(3)
    layer = Layer(16, 24, bias=bias).requires_grad_(False)
    down, up = torch.randn(8, 16), torch.randn(24, 8)
    factors = host.bypass.LayerFactors(
        [Beside("layer", False, None, LowRank(down, up, 0.5))], LayerKind("linear"), (24, 16), torch.float32
    )
    hook = make_hook(factors.calls([0.6]), layer)
    assert isinstance(hook, InsideHook)
    x = torch.randn(2, 0 if kind == "empty" else 5, 16)
    expected = layer(x) + 0.3 * x @ down.T @ up.T
    if kind == "forward replaced":
        replaced = layer.forward

        def forward(input: Any) -> torch.Tensor:
            assert type(input) is not LinearInput
            return replaced(input)

        layer.forward = forward
    handles = hook.register(layer)
    out = layer(x)
    for handle in handles:
        handle.remove()
    assert type(out) is torch.Tensor
    assert out.shape == expected.shape
    assert torch.allclose(out, expected, atol=1e-4)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_glora_takes_its_input_by_name_and_keeps_nothing_after_an_error(host: Any, by_name: bool) -> None:
    from pack.nodes.core.lora.bypass_factors import small_factors
    from pack.nodes.host.bypass.calls import LayerFactors
    from pack.nodes.host.bypass.layer_hooks import GloraHook, make_hook
    from pack.nodes.host.bypass.terms import Beside, LayerKind

    g = torch.Generator().manual_seed(6)
    shapes = {"a1": (12, 2), "a2": (2, 12), "b1": (8, 2), "b2": (2, 12)}
    part = small_factors("glora", {role: torch.randn(s, generator=g) for role, s in shapes.items()}, 1.0, (8, 12))
    term = Beside("layer", False, None, part)
    hook = make_hook(LayerFactors([term], LayerKind("linear"), (8, 12), torch.float32).calls([0.5]))
    assert isinstance(hook, GloraHook)
    layer = torch.nn.Linear(12, 8).requires_grad_(False)
    handles = hook.register(layer)
    x = torch.randn(3, 12, generator=g)
    change = layer.weight @ part.a1 @ part.a2 + part.b1 @ part.b2
    expected = torch.nn.functional.linear(x, layer.weight + 0.5 * change, layer.bias)
    assert torch.allclose(layer(input=x) if by_name else layer(x), expected, atol=1e-5)
    layer.weight.data = layer.weight.data.double()
    with pytest.raises(RuntimeError):
        layer(input=x) if by_name else layer(x)
    assert hook.inputs == []
    for handle in handles:
        handle.remove()

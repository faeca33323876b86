"""Rows of an adapter's delta as adapters of their own: what they make is exactly the rows of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pack.nodes.core.errors import AdapterFormatError
from pack.nodes.core.lora.adapters import dora_delta, find_adapters
from pack.nodes.core.lora.adapters.diff import directed
from pack.nodes.core.lora.adapters.rows import cut_rows, part_of, take

Tensors = dict[str, Any]
OUT, IN = 48, 24


def made(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


KINDS: Mapping[str, Tensors] = {
    "lora": {"up": made(OUT, 3), "down": made(3, IN)},
    "locon": {"up": made(OUT, 3, 1, 1), "down": made(3, IN, 3, 3)},
    "lora with a core": {"up": made(OUT, 3, 1, 1), "mid": made(3, 3, 3, 3), "down": made(3, IN, 1, 1)},
    "loha": {
        "hada_w1_a": made(OUT, 2), "hada_w1_b": made(2, IN), "hada_w2_a": made(OUT, 2, seed=1),
        "hada_w2_b": made(2, IN, seed=1),
    },
    "loha with cores": {
        "hada_w1_a": made(2, OUT), "hada_w1_b": made(2, IN), "hada_t1": made(2, 2, 3, 3),
        "hada_w2_a": made(2, OUT, seed=1), "hada_w2_b": made(2, IN, seed=1), "hada_t2": made(2, 2, 3, 3, seed=1),
    },
    "lokr": {"lokr_w1": made(4, 3), "lokr_w2": made(12, 8)},
    "lokr of low rank": {
        "lokr_w1_a": made(3, 2), "lokr_w1_b": made(2, 4), "lokr_w2_a": made(16, 2), "lokr_w2_b": made(2, 6),
    },
    "lokr with a core": {
        "lokr_w1": made(4, 3), "lokr_w2_a": made(2, 12), "lokr_w2_b": made(2, 8), "lokr_t2": made(2, 2, 3, 3),
    },
    "glora": {"a1": made(IN, 2), "a2": made(2, IN), "b1": made(OUT, 2), "b2": made(2, IN)},
    "early glora": {"a1": made(2, IN), "a2": made(IN, 2), "b1": made(2, IN), "b2": made(OUT, 2)},
    "oft": {"oft_blocks": made(12, 4, 4) / 9, "rescale": made(OUT, 1)},
    "boft": {"oft_blocks": made(2, 12, 4, 4) / 9},
    "oft of the columns": {"oft_R": made(6, 6) / 9},
    "boft of the columns": {"boft_R": made(1, 6, 4, 4) / 9, "boft_s": made(OUT, 1)},
    "ia3 of rows": {"ia3_l": made(OUT, 1)},
    "ia3 of columns": {"ia3_l": made(1, IN)},
    "ia3 of LyCORIS, rows": {"ia3_weight": made(OUT), "on_input": torch.tensor(0)},
    "ia3 of LyCORIS, columns": {"ia3_weight": made(IN), "on_input": torch.tensor(1)},
    "diff": {"diff": made(OUT, IN)},
    "diff of a bias": {"diff_b": made(OUT)},
    "set": {"set_weight": made(OUT, IN)},
}  # fmt: skip
CASES = [(name, False) for name in KINDS] + [(name, True) for name in KINDS if name.startswith(("lo", "lora"))]
RANGES = (
    ((0, 16),), ((16, 24),), ((40, 8),), ((24, 24), (0, 24)), ((8, 8), (32, 8), (0, 8)), ((5, 30),), ((13, 2),),
)  # fmt: skip


def rows_of(delta: Any, ranges: Any) -> Any:
    return torch.cat([delta[first : first + count] for first, count in ranges])


@pytest.mark.parametrize("ranges", RANGES, ids=str)
@pytest.mark.parametrize(("name", "dora"), CASES)
def test_cuts_are_the_rows(name: str, dora: bool, ranges: Any) -> None:
    tensors = dict(KINDS[name])
    (adapter,) = find_adapters({role: tuple(tensor.shape) for role, tensor in tensors.items()})
    kernel = (3, 3) if any(tensor.dim() == 4 and tensor.shape[-1] == 3 for tensor in tensors.values()) else ()
    weight = made(OUT) if adapter.parameter == "bias" else made(OUT, IN, *kernel)
    whole = adapter.delta(tensors, 0.5, weight)
    if dora:
        tensors["dora_scale"] = made(OUT, 1).abs()
        whole = dora_delta(whole, tensors["dora_scale"], weight)
    shapes = {role: tuple(tensor.shape) for role, tensor in tensors.items()}
    try:
        cuts = cut_rows(adapter, directed(shapes, "columns" in name), ranges, OUT)
    except AdapterFormatError:
        assert name in ("oft", "boft")
        assert any(first % 8 or count % 8 for first, count in ranges)
        return
    made_rows = []
    for cut in cuts:
        own = {r: take(tensor, *cut.takes[r]) if r in cut.takes else tensor for r, tensor in tensors.items()}
        there = rows_of(weight, part_of(ranges, cut.start, cut.rows))
        magnitude = own.pop("dora_scale", None)
        delta = adapter.delta(own, 0.5, there)
        made_rows.append(delta if magnitude is None else dora_delta(delta, magnitude, there))
    torch.testing.assert_close(torch.cat(made_rows), rows_of(whole, ranges), rtol=1e-5, atol=1e-5)


def test_what_has_no_exact_form_says_so() -> None:
    (lora,) = find_adapters({"up": (8, 2), "down": (2, 4)})
    with pytest.raises(AdapterFormatError, match="whole columns"):
        cut_rows(lora, {"up": (8, 2), "down": (2, 4), "dora_scale": (1, 4)}, ((0, 4),), 8)
    (lokr,) = find_adapters({"lokr_w1": (2, 2), "lokr_w2": (64, 8)})
    turns = tuple((first, 2) for start in (0, 2) for first in range(start, 128, 4))
    with pytest.raises(AdapterFormatError, match="in turns"):
        lokr.row_cuts({"lokr_w1": (2, 2), "lokr_w2": (64, 8)}, turns)


def test_a_kronecker_product_needs_three_at_most() -> None:
    shapes = {"lokr_w1": (4, 2), "lokr_w2": (12, 8)}
    (lokr,) = find_adapters(shapes)
    assert [cut.rows for cut in lokr.row_cuts(shapes, ((5, 30),))] == [7, 12, 11]
    assert [dict(cut.takes) for cut in lokr.row_cuts(shapes, ((12, 24),))] == [{"lokr_w1": (0, ((1, 2),))}]

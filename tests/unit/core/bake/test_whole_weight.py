"""What parts of a weight change is the same as one change of the whole weight, written by any way."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pack.nodes.core.bake.baking import bake_layer  # noqa: E402
from pack.nodes.core.bake.layer import BakedLayer, BakeLayer, BakeOptions  # noqa: E402
from pack.nodes.core.bake.whole_weight import Part, on_whole_weight  # noqa: E402
from pack.nodes.core.lora.adapters import ADAPTERS  # noqa: E402

SHAPE = (48, 32)
ROLES = {".lora_up.weight": "up", ".lora_down.weight": "down"}
FIRST = {"lora": "up", "loha": "hada_w1_a", "lokr": "lokr_w1"}
KINDS = {adapter.name: adapter for adapter in ADAPTERS}
Offset = tuple[int, int, int]


def rand(seed: int, *shape: int) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def part(kind: str, offset: Offset | None, seed: int, **more: Any) -> Part:
    """A layer of random tensors for a part of the weight."""
    rows, columns = SHAPE
    if offset is not None:
        rows, columns = (offset[2], columns) if offset[0] == 0 else (rows, offset[2])
    tensors = {
        "lora": {"up": (rows, 3), "down": (3, columns)},
        "loha": {"hada_w1_a": (rows, 2), "hada_w1_b": (2, columns), "hada_w2_a": (rows, 2), "hada_w2_b": (2, columns)},
        "lokr": {"lokr_w1": (4, 2), "lokr_w2_a": (rows // 4, 2), "lokr_w2_b": (2, columns // 2)},
        "lokr of whole factors": {"lokr_w1": (2, 2), "lokr_w2": (rows // 2, columns // 2)},
        "diff": {"diff": (rows, columns)},
    }[kind]
    made = {role: rand(seed + index, *shape) for index, (role, shape) in enumerate(tensors.items())}
    kind = kind.partition(" ")[0]
    rank = {"lora": 3, "loha": 2, "lokr": 2 if "lokr_w2_a" in made else None}.get(kind)
    scale = 1.0 if rank is None else 0.5
    return Part(
        BakeLayer(
            "x", kind, made, (rows, columns), scale=scale, rank=rank,
            delta=lambda: KINDS[kind].delta(made, scale), **more,
        ),
        offset,
    )  # fmt: skip


def meant(parts: list[Part]) -> Any:
    """The sum of the parts' changes, each in its place."""
    whole = torch.zeros(SHAPE)
    for one in parts:
        assert one.layer.delta is not None
        change = one.layer.delta().reshape(one.layer.shape).clone()
        for dim, start, length, strength in one.layer.shares or ((0, 0, one.layer.shape[0], one.layer.strength),):
            change.narrow(dim, start, length).mul_(strength)
        (whole if one.offset is None else whole.narrow(*one.offset)).add_(change)
    return whole


def written(baked: BakedLayer) -> Any:
    """The change that a loader makes of what was written."""
    tensors = {key.removeprefix("w"): tensor for key, tensor in baked.tensors.items()}
    if ".diff" in tensors:
        return tensors[".diff"].float()
    alpha = tensors.pop(".alpha", None)
    roles = {ROLES.get(end, end[1:]): tensor.float() for end, tensor in tensors.items()}
    kind = next(name for name, role in FIRST.items() if role in roles)
    ranked = roles.get("down", roles.get("hada_w1_b", roles.get("lokr_w2_b")))
    scale = 1.0 if alpha is None or ranked is None else float(alpha) / ranked.shape[0]
    return KINDS[kind].delta(roles, scale).reshape(SHAPE)


CASES: dict[str, tuple[list[tuple[str, Offset | None]], str]] = {
    "rows": ([("lora", (0, 16, 16))], ".lora_up.weight"),
    "columns": ([("lora", (1, 8, 16))], ".lora_up.weight"),
    "loha rows": ([("loha", (0, 16, 16))], ".hada_w1_a"),
    "loha columns": ([("loha", (1, 8, 16))], ".hada_w1_a"),
    "lokr rows": ([("lokr", (0, 16, 16))], ".lokr_w1"),
    "lokr columns": ([("lokr", (1, 8, 8))], ".lokr_w1"),
    "lokr whose blocks end elsewhere": ([("lokr", (0, 18, 20))], ".lora_up.weight"),
    "q, k and v": ([("lora", (0, 0, 16)), ("lora", (0, 16, 16)), ("lora", (0, 32, 16))], ".lora_up.weight"),
    "q and the whole": ([("lora", None), ("lora", (0, 16, 16))], ".lora_up.weight"),
    "lora and lokr": ([("lora", (0, 0, 16)), ("lokr", (0, 16, 16))], ".lora_up.weight"),
    "two large lokrs": (
        [("lokr of whole factors", (0, 0, 24)), ("lokr of whole factors", (0, 24, 24))], ".diff",
    ),
    "differences": ([("diff", (0, 0, 16)), ("diff", (0, 16, 16))], ".diff"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("strength", [1.0, -0.25])
def test_the_whole_does_what_the_parts_do(name: str, strength: float) -> None:
    kinds, end = CASES[name]
    parts = [part(kind, offset, 10 * i, strength=strength * (i + 1)) for i, (kind, offset) in enumerate(kinds)]
    baked = bake_layer(on_whole_weight(parts, "w", SHAPE), BakeOptions())
    assert f"w{end}" in baked.tensors
    torch.testing.assert_close(written(baked), meant(parts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_parts_of_a_part_keep_their_strengths(kind: str) -> None:
    shares = ((0, 0, 4, 0.5), (0, 4, 8, 0.0), (0, 12, 4, -2.0))
    parts = [part(kind, (0, 16, 16), 1, shares=shares)]
    baked = bake_layer(on_whole_weight(parts, "w", SHAPE), BakeOptions())
    torch.testing.assert_close(written(baked), meant(parts), rtol=1e-5, atol=1e-5)


def test_one_part_at_strength_one_keeps_its_numbers() -> None:
    one = part("lora", (0, 16, 16), 1)
    baked = bake_layer(on_whole_weight([one], "w", SHAPE), BakeOptions())
    assert torch.equal(baked.tensors["w.lora_up.weight"][16:32], one.layer.tensors["up"])
    assert torch.equal(baked.tensors["w.lora_down.weight"], one.layer.tensors["down"])
    assert math.isclose(float(baked.tensors["w.alpha"]), 1.5)

"""A baked layer is the old one times its strength, in the same format or the one that was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_files import write_lora
from pack.nodes.core.bake.baking import bake_layer, check_layers
from pack.nodes.core.bake.file import Source, free_path, write_baked
from pack.nodes.core.bake.layer import (
    DIFFERENCE,
    LORA,
    LORA_FOR_ALL,
    NEVER,
    BakeLayer,
    BakeOptions,
    obstacle,
)
from pack.nodes.core.bake.resize import Resizing
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.lora.adapters import ADAPTERS, dora_delta
from pack.nodes.core.lora.file import read_lora
from safetensors.torch import load_file
from support import some

ROWS, COLUMNS = 12, 8
BY_NAME: dict[str, Any] = {adapter.name: adapter for adapter in ADAPTERS}
KINDS: dict[str, tuple[str, dict[str, tuple[int, ...]], float, int | None]] = {
    "lora": ("lora", {"up": (ROWS, 3), "down": (3, COLUMNS)}, 0.5, 3),
    "lora without alpha": ("lora", {"up": (ROWS, 3), "down": (3, COLUMNS)}, 1.0, 3),
    "loha": (
        "loha",
        {"hada_w1_a": (ROWS, 2), "hada_w1_b": (2, COLUMNS), "hada_w2_a": (ROWS, 2), "hada_w2_b": (2, COLUMNS)},
        2.0,
        2,
    ),
    "lokr": ("lokr", {"lokr_w1": (3, 2), "lokr_w2_a": (4, 2), "lokr_w2_b": (2, 4)}, 0.25, 2),
    "lokr of whole factors": ("lokr", {"lokr_w1": (3, 2), "lokr_w2": (4, 4)}, 0.75, None),
    "glora": ("glora", {"a1": (COLUMNS, 2), "a2": (2, COLUMNS), "b1": (ROWS, 2), "b2": (2, COLUMNS)}, 0.5, 2),
    "diff": ("diff", {"diff": (ROWS, COLUMNS)}, 1.0, None),
    "ia3": ("ia3", {"ia3_weight": (ROWS,), "on_input": ()}, 1.0, None),
    "oft": ("oft", {"oft_blocks": (3, 4, 4)}, 1.0, None),
}
SLICED = ((0, 0, 4, 0.0), (0, 4, 4, 0.5), (0, 8, 4, -2.0))
COLUMN_SLICES = ((1, 0, 4, 1.0), (1, 4, 4, 0.25))


def weight() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(9))


def layer(name: str, dtype: torch.dtype = torch.float32, **fields: Any) -> BakeLayer:
    kind, shapes, scale, rank = KINDS[name]
    generator = torch.Generator().manual_seed(5)
    tensors = {role: torch.randn(shape, generator=generator).to(dtype) * 0.3 for role, shape in shapes.items()}
    if "on_input" in tensors:
        tensors["on_input"] = torch.tensor(False)
    if rank is not None and scale != 1.0:
        tensors["alpha"] = torch.tensor(scale * rank)
    plain = {role: tensor for role, tensor in tensors.items() if role != "alpha"}
    fields.setdefault("delta", lambda: BY_NAME[kind].delta(plain, scale, weight()))
    return BakeLayer("x", kind, tensors, (ROWS, COLUMNS), scale=scale, rank=rank, **fields)


def read_back(tmp_path: Path, tensors: Any) -> tuple[Any, torch.Tensor]:
    """The layer as our own reader understands it, and its change of :func:`weight`."""
    path = write_lora(tmp_path / "x.safetensors", {"x": {key.removeprefix("x."): t for key, t in tensors.items()}})
    header = read_header(path)
    (found,) = (x for x in read_lora(header).layers if x.parameter == "weight")
    held = load_file(path)
    by_role = {role: held[key] for role, key in found.roles.items() if role != "alpha"}
    magnitude = by_role.pop("dora_scale", None)
    delta = found.adapter.delta(by_role, found.scale, weight())
    return found, dora_delta(delta, magnitude, weight()) if magnitude is not None else delta


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "oft"])
@pytest.mark.parametrize("strength", [1.0, 0.7, -1.5])
def test_the_same_format_holds_any_strength(tmp_path: Path, name: str, strength: float) -> None:
    one = layer(name, strength=strength)
    baked = bake_layer(one, BakeOptions())
    found, delta = read_back(tmp_path, baked.tensors)
    assert found.adapter.name == one.kind
    assert one.delta is not None
    close(delta, one.delta() * strength)
    assert baked.error is None
    assert not baked.converted


@pytest.mark.parametrize("name", ["lora", "loha", "lokr", "glora"])
def test_only_alpha_changes(name: str) -> None:
    one = layer(name, torch.bfloat16, strength=0.3)
    baked = bake_layer(one, BakeOptions())
    kept = {id(tensor) for tensor in baked.tensors.values()}
    for role, tensor in some(one.tensors.items()):
        assert role == "alpha" or id(tensor) in kept
    assert baked.tensors["x.alpha"].dtype == torch.float32


def test_strength_one_without_alpha_adds_none() -> None:
    assert "x.alpha" not in bake_layer(layer("lora without alpha"), BakeOptions()).tensors


@pytest.mark.parametrize("name", ["lora", "loha", "diff", "ia3"])
def test_slices_of_rows(tmp_path: Path, name: str) -> None:
    one = layer(name, shares=SLICED)
    _, delta = read_back(tmp_path, bake_layer(one, BakeOptions()).tensors)
    factor = torch.tensor([0.0] * 4 + [0.5] * 4 + [-2.0] * 4).reshape(-1, 1)
    assert one.delta is not None
    close(delta, one.delta() * factor)
    assert not delta[:4].any()


@pytest.mark.parametrize("name", ["lora", "loha", "diff", "glora"])
def test_slices_of_columns(tmp_path: Path, name: str) -> None:
    one = layer(name, shares=COLUMN_SLICES)
    _, delta = read_back(tmp_path, bake_layer(one, BakeOptions()).tensors)
    assert one.delta is not None
    close(delta, one.delta() * torch.tensor([1.0] * 4 + [0.25] * 4))


def test_rows_at_the_strongest_strength_stay_bit_for_bit() -> None:
    one = layer("lora", torch.bfloat16, shares=SLICED)
    baked = bake_layer(one, BakeOptions())
    assert torch.equal(baked.tensors["x.lora_up.weight"][8:], one.tensors["up"][8:])
    assert baked.tensors["x.lora_up.weight"].dtype == torch.bfloat16
    uneven = bake_layer(layer("lora", torch.bfloat16, shares=((0, 0, 6, 1.0), (0, 6, 6, 0.3))), BakeOptions())
    assert uneven.error is not None
    assert 0 < uneven.error < 2**-8
    assert "rounded" in uneven.note


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("oft", {"strength": 0.5}, "OFT can be kept only at strength 1"),
        ("lora", {"strength": 0.5, "dora": True}, "DoRA"),
        ("lokr", {"shares": SLICED}, "different strengths"),
        ("glora", {"shares": SLICED}, "different strengths"),
        ("oft", {"strength": 1.0, "tied": "it is tied"}, "it is tied"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_can_be_converted(
    tmp_path: Path, name: str, fields: dict[str, Any], reason: str
) -> None:
    one = layer(name, **fields)
    assert reason in obstacle(one)
    with pytest.raises(PatchbayError, match="1 of 2 layers cannot hold their strength"):
        check_layers([one, layer("lora")], BakeOptions())
    factor: Any = one.strength
    if one.shares:
        factor = torch.tensor([0.0] * 4 + [0.5] * 4 + [-2.0] * 4).reshape(-1, 1)
    assert one.delta is not None
    for convert, kind in ((DIFFERENCE, "diff"), (LORA, "lora")):
        options = BakeOptions(convert, Resizing(COLUMNS))
        check_layers([one], options)
        baked = bake_layer(one, options)
        found, delta = read_back(tmp_path, baked.tensors)
        assert found.adapter.name == kind
        assert baked.converted
        close(delta, one.delta() * factor)


def test_a_conversion_without_a_weight_or_a_rank_says_what_is_missing() -> None:
    with pytest.raises(PatchbayError, match="needs the model's own weight"):
        check_layers([layer("oft", strength=0.5, delta=None)], BakeOptions(DIFFERENCE))
    with pytest.raises(PatchbayError, match="Give a rank, or an energy"):
        check_layers([layer("oft", strength=0.5)], BakeOptions(LORA))


@pytest.mark.parametrize("name", KINDS)
def test_lora_for_all(tmp_path: Path, name: str) -> None:
    one = layer(name, strength=0.5)
    found, delta = read_back(tmp_path, bake_layer(one, BakeOptions(LORA_FOR_ALL, Resizing(COLUMNS))).tensors)
    assert found.adapter.name == "lora"
    assert one.delta is not None
    close(delta, one.delta() * 0.5)


def test_resizing_says_its_error(tmp_path: Path) -> None:
    one = layer("lora", strength=0.5)
    baked = bake_layer(one, BakeOptions(NEVER, Resizing(1)))
    found, delta = read_back(tmp_path, baked.tensors)
    assert found.rank == 1
    assert one.delta is not None
    exact = one.delta() * 0.5
    assert baked.error == pytest.approx(float((delta - exact).norm() / exact.norm()), rel=1e-4)
    assert "rank 3 to 1: error" in baked.note
    assert "x.lora_down.weight" in bake_layer(one, BakeOptions(NEVER, Resizing(3))).tensors


def test_a_value_too_large_for_the_dtype_is_an_error() -> None:
    one = BakeLayer("x", "diff", {"diff": torch.full((2, 2), 1e6)}, (2, 2))
    with pytest.raises(PatchbayError, match="too large for float16"):
        bake_layer(one, BakeOptions(dtype="float16"))
    assert bake_layer(one, BakeOptions(dtype="bfloat16")).error


def test_options_are_checked() -> None:
    with pytest.raises(PatchbayError, match="convert: expected one of never"):
        BakeOptions("sometimes")


# --- the file -----------------------------------------------------------------------------------------

METADATA = {
    "ss_network_module": "lycoris.kohya", "ss_network_args": "{}", "ss_network_dim": "3", "ss_network_alpha": "1.5",
    "sshs_model_hash": "old", "sshs_legacy_hash": "old", "modelspec.hash_sha256": "0xold", "modelspec.title": "a title",
    "lora_adapter_metadata": "{}", "patchbay.blocks": "all=0.5",
}  # fmt: skip


def write(path: Path, layers: list[BakeLayer], options: BakeOptions | None = None) -> Any:
    source = Source("source.safetensors", "ab" * 32, 0.5, 1.0, "all=1", "FLUX.2 Klein 4B")
    return write_baked(path, layers, options or BakeOptions(), source, METADATA)


def test_metadata_is_kept_corrected_and_extended(tmp_path: Path) -> None:
    written = write(tmp_path / "x.safetensors", [layer("lora", strength=0.5)])
    header = read_header(tmp_path / "x.safetensors")
    held = header.metadata
    assert held["modelspec.title"] == "a title"
    assert (held["ss_network_module"], held["ss_network_dim"]) == ("lycoris.kohya", "3")
    assert held["ss_network_alpha"] == "0.75"
    assert held["sshs_model_hash"] == held["modelspec.hash_sha256"].removeprefix("0x")
    from pack.nodes.core.files.hashes import file_hashes

    assert held["sshs_model_hash"] == file_hashes(written.path, header.data_start)["sshs_model_hash"]
    assert "sshs_legacy_hash" not in held
    assert "lora_adapter_metadata" not in held
    assert held["patchbay.source"] == "source.safetensors"
    assert held["patchbay.source_sha256"] == "ab" * 32
    assert (held["patchbay.strength_model"], held["patchbay.blocks"]) == ("0.5", "all=1")
    assert held["patchbay.model"] == "FLUX.2 Klein 4B"
    assert json.loads(held["patchbay.history"]) == {"blocks": "all=0.5"}
    assert any("lora_adapter_metadata is removed" in note for note in written.notes)
    assert any("sshs_legacy_hash is removed" in note for note in written.notes)


def test_metadata_after_a_conversion(tmp_path: Path) -> None:
    write(tmp_path / "x.safetensors", [layer("oft", strength=0.5)], BakeOptions(LORA, Resizing(2)))
    held = read_header(tmp_path / "x.safetensors").metadata
    assert (held["ss_network_module"], held["ss_network_dim"], held["patchbay.rank"]) == ("networks.lora", "2", "2")
    assert "ss_network_args" not in held


def test_nothing_is_written_where_something_is_refused(tmp_path: Path) -> None:
    for layers in ([], [layer("lora"), layer("oft", strength=0.5)]):
        with pytest.raises(PatchbayError):
            write(tmp_path / "x.safetensors", layers)
    assert not list(tmp_path.iterdir())


def test_a_taken_name_is_numbered_or_replaced_and_both_are_said(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert free_path(path, False) == (path, "")
    path.touch()
    (tmp_path / "x_00001_.safetensors").touch()
    numbered, said = free_path(path, False)
    assert numbered.name == "x_00002_.safetensors"
    assert "x.safetensors was there and stays" in said
    assert free_path(path, True) == (path, "x.safetensors was there and is replaced.")

"""PatchbayCompareImages in the real ComfyUI: outputs, the files it shows, and its errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="module")
def node(pack_nodes: dict[str, Any]) -> Any:
    return pack_nodes["PatchbayCompareImages"]


def run(
    node: Any, a: torch.Tensor, b: torch.Tensor, gain: float = 4.0, labels: tuple[str, str] = ("one", "two")
) -> Any:
    return node.PREPARE_CLASS_CLONE(None).execute(a, b, *labels, gain)


def batch(count: int, seed: int = 0, height: int = 24, width: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(seed))


def read(place: dict[str, str]) -> np.ndarray:
    """A picture that the node announced, from where ComfyUI's /view would take it."""
    import folder_paths

    assert place["type"] == "temp"
    path = Path(folder_paths.get_temp_directory()) / place["subfolder"] / place["filename"]
    return np.asarray(Image.open(path))


def test_one_pair_gives_pictures_figures_and_files(node: Any) -> None:
    a, b = batch(1, 0), batch(1, 1)
    result = run(node, a, b)
    difference, report, text, sheet = result.args
    torch.testing.assert_close(difference, ((a - b).abs() * 4).clamp(0, 1))
    assert sheet.ndim == 4
    assert sheet.dtype == torch.float32
    assert report.kind == "compare"
    assert "one / two, 32 x 24: MAE" in text
    data = json.loads(json.dumps(result.ui, allow_nan=False))
    assert data["text"] == [text]
    (view,) = data["patchbay_compare"]
    assert (view["schema"], view["version"], view["label_a"], view["label_b"], view["gain"]) == (
        "patchbay.compare", 1, "one", "two", 4.0,
    )  # fmt: skip
    (pair,) = view["pairs"]
    assert (pair["width"], pair["height"]) == (32, 24)
    assert set(pair["metrics"]) == {"mae", "psnr", "ssim", "identical"}
    assert pair["metrics"]["mae"] == pytest.approx(float((a - b).abs().mean()), rel=1e-5)
    for name, picture in (("a", a), ("b", b), ("difference", difference)):
        assert np.array_equal(read(pair[name]), picture[0].mul(255).round().to(torch.uint8).numpy())


def test_identical_pictures(node: Any) -> None:
    result = run(node, batch(1), batch(1))
    metrics = result.ui["patchbay_compare"][0]["pairs"][0]["metrics"]
    assert metrics == {"mae": 0.0, "psnr": None, "ssim": 1.0, "identical": True}
    assert result.args[0].abs().max() == 0


@pytest.mark.parametrize(("count_a", "count_b"), [(3, 3), (1, 3), (3, 1)])
def test_batches(node: Any, count_a: int, count_b: int) -> None:
    a, b = batch(count_a, 0), batch(count_b, 1)
    result = run(node, a, b, gain=1.0)
    assert result.args[0].shape == (3, 24, 32, 3)
    torch.testing.assert_close(result.args[0], (a - b).abs())
    pairs = result.ui["patchbay_compare"][0]["pairs"]
    assert len(pairs) == 3
    assert len({pair["a"]["filename"] for pair in pairs}) == count_a
    assert len({pair["b"]["filename"] for pair in pairs}) == count_b
    assert len({pair["difference"]["filename"] for pair in pairs}) == 3
    for index, pair in enumerate(pairs):
        assert np.array_equal(read(pair["a"]), a[min(index, count_a - 1)].mul(255).round().to(torch.uint8).numpy())


def test_runs_do_not_overwrite_each_other(node: Any) -> None:
    first = run(node, batch(1), batch(1)).ui["patchbay_compare"][0]["pairs"][0]["a"]
    second = run(node, batch(1, 5), batch(1)).ui["patchbay_compare"][0]["pairs"][0]["a"]
    assert first != second
    assert not np.array_equal(read(first), read(second))


def test_labels_say_what_was_used_for_each_picture(node: Any) -> None:
    prompt = {
        "1": {"inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8, "blocks": "all=0,\nother=1"}},
        "2": {"inputs": {"model": ["1", 0]}},
        "9": {"inputs": {"image_a": ["3", 0], "image_b": ["2", 0]}},
    }
    clone = node.PREPARE_CLASS_CLONE(None)
    clone.hidden = SimpleNamespace(prompt=prompt, unique_id="9")
    result = clone.execute(batch(1), batch(1, 1), "plain", "inked", 4.0)
    (view,) = json.loads(json.dumps(result.ui))["patchbay_compare"]
    assert view["loras_a"] == []
    assert view["loras_b"] == [
        {"name": "ink.safetensors", "strength_model": 0.8, "strength_clip": None, "blocks": "all=0, other=1"}
    ]
    assert "inked: ink x 0.8 (all=0, other=1)" in result.args[2]
    assert "plain:" not in result.args[2]


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_with_one_or_four_channels(node: Any, channels: int) -> None:
    result = run(node, batch(2, channels=channels), batch(2, 1, channels=channels))
    assert result.args[0].shape == (2, 24, 32, 3)
    assert result.args[3].shape[-1] == 3


def test_sizes_are_never_adapted(node: Any) -> None:
    with pytest.raises(ValueError, match="image_a is 32 x 24, image_b is 16 x 24"):
        run(node, batch(1), batch(1, width=16))


def test_labels_are_not_trusted(node: Any) -> None:
    labels = ("../../../x" * 100, "\u65e5\u672c\n<script>\x00")
    result = run(node, batch(1), batch(1, 1), labels=labels)
    assert result.ui["patchbay_compare"][0]["label_a"] == labels[0]
    assert ".." not in result.ui["patchbay_compare"][0]["pairs"][0]["a"]["filename"]

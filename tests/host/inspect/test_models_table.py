"""The table of models: no file gets a wrong name, every layer of a LoRA lands. One class of each kind by default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import models_table as table  # noqa: E402
from models_of_comfyui import CLASSES, DETECTORS, DIFFUSERS, NEWER, NO_PICTURES  # noqa: E402

OF_COMFYUI = ("MiniMaxH3", "Segmind_Vega")
"""Fused layers and a UNet; in the layer ``all``, every class."""
OF_DIFFUSERS = ("Ideogram4Transformer2DModel",)


def cases(quick: tuple[str, ...], every: Any) -> list[Any]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.all) for name in every]


@pytest.mark.parametrize("name", cases(OF_COMFYUI, CLASSES))
def test_classes_of_comfyui_and_their_loras(comfy_in_process: Any, name: str) -> None:
    import comfy.supported_models

    if name not in {config.__name__ for config in comfy.supported_models.models}:
        pytest.skip(f"this ComfyUI does not have {name}")
    (row,) = table.comfyui_rows([name])
    assert row.good, row


@pytest.mark.parametrize("name", cases(OF_DIFFUSERS, DIFFUSERS))
def test_transformers_of_diffusers_and_their_loras(comfy_in_process: Any, name: str) -> None:
    (row,) = table.diffusers_rows([name])
    assert row.good, row


def test_no_class_is_left_out(comfy_in_process: Any) -> None:
    import comfy.supported_models
    import comfyui_version

    if tuple(map(int, comfyui_version.__version__.split(".")[:2])) == (0, 30):
        classes = {config.__name__ for config in comfy.supported_models.models}
        assert classes == (set(CLASSES) | DETECTORS) - NEWER


@pytest.mark.all
def test_no_transformer_of_diffusers_is_left_out() -> None:
    assert set(table.diffusers_classes()) <= set(DIFFUSERS) | NO_PICTURES


def test_a_wrong_name_is_seen(comfy_in_process: Any) -> None:
    """The table can fail: the same weights under another family's name are no good row."""
    from models_of_comfyui import shapes_of

    row = table.row("ErnieImage", "flux1", shapes_of(CLASSES["ErnieImage"][1]))
    assert not row.good
    assert row.model == table.WRONG

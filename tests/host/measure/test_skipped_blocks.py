"""Blocks that a newer ComfyUI computes without calling them have no times of their own, and the measurement says so."""

from __future__ import annotations

from typing import Any

import pytest
from measure_support import make_model, sample

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def host(pack_nodes: dict[str, Any]) -> Any:
    from pack.nodes.host.measure import recorder

    return recorder


@pytest.fixture
def model(host: Any) -> Any:
    return make_model()


def test_blocks_that_are_not_called_any_more_are_named(host: Any, model: Any) -> None:
    """As a CUDA graph does it: the first evaluation calls the blocks, later ones repeat what they computed."""
    blocks = model.model.diffusion_model.single_blocks
    whole, calls = blocks[0].forward, []

    class Replayed(type(blocks[0])):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return super().__call__(*args, **kwargs) if len(calls) == 1 else whole(*args, **kwargs)

    blocks[0].__class__ = Replayed
    try:
        measured, recorder = host.attach(model, "plain", host.RecorderOptions(blocks=True))
        sample(measured)
    finally:
        blocks[0].__class__ = Replayed.__mro__[1]
    notes = [note for note in recorder.runs[-1].notes if "were not called in every evaluation" in note]
    assert len(notes) == 1
    assert notes[0].startswith("1 of ")
    assert "single_blocks.0" in notes[0]

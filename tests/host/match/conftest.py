"""Fixtures of the tests of files that are applied as they are meant."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from faithful_cases import SIZES
from nano_models import flux2_state_dict


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules."""
    import comfy.lora
    import comfy.sd
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.match import writer_adapters

    return types.SimpleNamespace(
        sd=comfy.sd, lora=comfy.lora, apply=apply.apply_lora, State=report.LayerState,
        Writer=writer_adapters.WriterAdapter, adapters=writer_adapters,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bfl() -> dict[str, torch.Tensor]:
    return flux2_state_dict(seed=4, **SIZES)


@pytest.fixture(scope="module")
def model(host: Any, bfl: dict[str, torch.Tensor]) -> Any:
    return host.sd.load_diffusion_model_state_dict(dict(bfl))


@pytest.fixture(scope="module")
def weights(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.model_state_dict())

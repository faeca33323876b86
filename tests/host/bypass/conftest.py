"""Fixtures of the tests of bypass."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
from bypass_support import SIZES
from nano_models import flux2_state_dict, native_lora, write


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules and the parts of ComfyUI that the tests compare them with."""
    import comfy.model_management
    import comfy.samplers
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bypass import hooks as bypass

    return types.SimpleNamespace(
        sd=comfy.sd,
        utils=comfy.utils,
        State=report.LayerState,
        apply=apply.apply_lora,
        bypass=bypass,
        samplers=comfy.samplers,
        management=comfy.model_management,
    )


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=2, **SIZES))


@pytest.fixture
def lora_path(tmp_path: Path) -> str:
    return write(tmp_path / "native.safetensors", native_lora(seed=7, **SIZES))

"""Fixtures of the tests of Feature Shift."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
from nano_models import flux2_state_dict, kohya_lora, write
from shift_support import NANO


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core.transfer import shift_report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.transfer import activations, feature_shift, probes, profiling

    return types.SimpleNamespace(
        sd=comfy.sd, activations=activations, apply=apply.apply_lora, shift=feature_shift, probes=probes,
        profiling=profiling, report=shift_report,
    )  # fmt: skip


@pytest.fixture
def _own_cache(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shift, "PROFILES", host.profiling.ProfileCache(lambda: str(tmp_path / "profiles")))


@pytest.fixture(scope="module")
def nano(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=0, **NANO))


@pytest.fixture
def lora(tmp_path: Path) -> str:
    return write(tmp_path / "x.safetensors", kohya_lora(**NANO))

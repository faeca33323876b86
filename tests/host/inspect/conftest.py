"""Fixtures of the tests of Check LoRA."""

from __future__ import annotations

import types
from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules and the parts of ComfyUI that the tests compare them with."""
    import comfy.sd
    import comfy.utils
    from pack.nodes.core.report import report
    from pack.nodes.core.report import text as report_text
    from pack.nodes.host.apply import apply
    from pack.nodes.host.inspect import check

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, State=report.LayerState, Level=report.Level, apply=apply.apply_lora,
        check=check.check_lora, text=report_text.report_text,
    )  # fmt: skip

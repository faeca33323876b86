"""What the fixtures of several layers share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

Case = TypeVar("Case")
ROOT = Path(__file__).resolve().parents[1]
ARTEFACTS = ROOT / "test-artefacts"
"""Logs and screenshots; git-ignored."""

LAYERS = ("unit", "host", "server", "browser", "gpu")
"""Folders below ``tests``, in the order in which they run."""

COMPARE_WORKFLOW = ROOT / "workflows" / "Compare with and without a LoRA (Klein Nano).json"
TEMPLATE_PACK, TEMPLATE_NAME = "template-check", "compare"
"""The server of the tests offers the compare workflow under this plain name, as ``demo --serve`` does."""


def skip_or_fail(reason: str) -> NoReturn:
    """Skip where something is missing; on CI that is a failure, because a skipped layer proves nothing."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def layer_of(path: Path) -> str:
    """The layer that a test file belongs to: its folder below ``tests``.

    Args:
        path: absolute, or as in a test's id, relative to the repository.
    """
    below = (ROOT / path).relative_to(ROOT).parts if (ROOT / path).is_relative_to(ROOT) else ()
    return below[1] if len(below) > 2 and below[0] == "tests" and below[1] in LAYERS else "unit"


def one_of_each(cases: Iterable[Case], kind: Callable[[Case], object]) -> list[Any]:
    """Parameters of a matrix: the first case of each kind runs always, the others in the layer ``all``."""
    seen: set[object] = set()
    rows: list[Any] = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        rows.append(pytest.param(*values, marks=pytest.mark.all) if kind(case) in seen else pytest.param(*values))
        seen.add(kind(case))
    return rows


def some(items: Iterable[Case]) -> list[Case]:
    """The items, of which there is at least one: a claim about all of none says nothing."""
    found = list(items)
    assert found, "there is nothing to say this of"
    return found


def comfyui_folder() -> Path | None:
    """The ComfyUI to test with: given by ``patchbay.py test``, else the private runtime's; None without one."""
    from tools.comfyui import comfyui_folder as private_folder
    from tools.comfyui import is_comfyui
    from tools.versions import COMFYUI_VERSION

    given = os.environ.get("PATCHBAY_TEST_COMFYUI")
    folder = Path(given) if given else private_folder(COMFYUI_VERSION)
    return folder if is_comfyui(folder) else None

"""The table of ComfyUI versions."""

from __future__ import annotations

import re

import pytest

from tools.errors import ToolError
from tools.versions import COMFYUI_VERSION, SOURCES, source_of


def test_the_default_version_is_in_the_table() -> None:
    assert source_of(COMFYUI_VERSION).comfyui == COMFYUI_VERSION


def test_hashes_are_hashes_and_nothing_is_listed_twice() -> None:
    assert all(re.fullmatch("[0-9a-f]{64}", source.sha256) for source in SOURCES)
    for field in ("comfyui", "sdist", "sha256"):
        values = [getattr(source, field) for source in SOURCES]
        assert len(set(values)) == len(values)


def test_versions_ascend() -> None:
    versions = [tuple(map(int, source.comfyui.split("."))) for source in SOURCES]
    assert versions == sorted(versions)


def test_an_unknown_version_is_answered_with_those_there_are() -> None:
    with pytest.raises(ToolError, match=r"ComfyUI 9\.9\.9 is not in the table.*0\.16\.3, .*0\.30\.0.*--comfyui"):
        source_of("9.9.9")

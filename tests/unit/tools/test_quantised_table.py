"""The page on quantised models shows what its figures say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def table() -> Any:
    """The command as a module."""
    spec = importlib.util.spec_from_file_location("quantised_table", ROOT / "tests" / "lab" / "quantised_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(table: Any) -> list[dict[str, Any]]:
    return json.loads(table.RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_made_from_the_figures(table: Any, rows: list[dict[str, Any]]) -> None:
    assert table.markdown(rows) in table.PAGE.read_text(encoding="utf-8")


def test_every_format_is_measured_and_auto_is_the_better_of_the_two(table: Any, rows: list[dict[str, Any]]) -> None:
    assert [row["format"] for row in rows] == ["bfloat16, as shipped", *table.FORMATS]
    for row in rows:
        figures = row["psnr"]
        assert figures["none"] < figures["auto"] - 5
        better = max(figures["merge"], figures["bypass"])
        assert figures["auto"] > better - 0.5, row["format"]

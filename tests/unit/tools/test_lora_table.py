"""The table of GPU figures: runs of some cases are put together, and the page shows what the figures say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FIGURES = ROOT / "tests" / "gpu" / "results" / "lora_table.json"


@pytest.fixture(scope="module")
def table() -> Any:
    """The script as a module; it imports the standard library only."""
    spec = importlib.util.spec_from_file_location("lora_table", ROOT / "tests" / "gpu" / "lora_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case(shape: str, mode: str, **figures: float) -> dict[str, Any]:
    return {"shape": shape, "mode": mode, **figures}


def test_newer_cases_replace_older_ones_and_the_others_stay(table: Any) -> None:
    old = [case("klein-9b", "dynamic", warm_ms=2), case("klein-4b", "dynamic", warm_ms=1)]
    new = [case("klein-9b", "legacy", warm_ms=4), case("klein-9b", "dynamic", warm_ms=3)]
    found = table.merged(old, new)
    names = [(x["shape"], x["mode"]) for x in found]
    assert names == [("klein-4b", "dynamic"), ("klein-9b", "dynamic"), ("klein-9b", "legacy")]
    assert [x["warm_ms"] for x in found] == [1, 3, 4]


def test_parts_measured_again_leave_the_rest_of_a_case_as_it_was(table: Any) -> None:
    old = {**case("klein-9b", "dynamic", warm_ms=2, apply_ours_ms=9, seconds=100), "errors": {"products": "late"}}
    again = {**case("klein-9b", "dynamic", apply_ours_ms=5, seconds=7), "part_seconds": {"applying": 7}, "errors": {}}
    (found,) = table.merged([old], [again], partly=True)
    assert (found["warm_ms"], found["apply_ours_ms"], found["seconds"]) == (2, 5, 100)
    assert found["errors"] == {"products": "late"}
    assert table.merged([old], [again]) == [again]


def test_a_case_that_lacks_a_figure_has_a_gap_and_its_reason(table: Any) -> None:
    whole = case("klein-4b", "dynamic", warm_ms=404.0, merge_stock_warm_ms=439.0)
    broken = {**case("klein-9b", "dynamic", warm_ms=765.0), "errors": {"merge stock": "Traceback\nTimeoutError: late"}}
    text = table.markdown([whole, broken])
    assert "| unpatched, warm | 404 | 765 |" in text
    assert "| stock, warm | 439 | - |" in text
    assert "- klein-9b dynamic, merge stock: TimeoutError: late" in text


def test_a_sentence_leaves_out_the_cases_that_lack_its_figures(table: Any) -> None:
    whole = case("klein-4b", "dynamic", merge_ours_step_ms=101.0, step_base_ms=100.0)
    first, second, *_ = table.in_short([whole, case("klein-9b", "dynamic", step_base_ms=180.0)])
    assert "klein-4b dynamic +1.0%" in first
    assert "klein-9b" not in first
    assert "not measured" in second


def test_the_page_shows_the_figures(table: Any, tmp_path: Path) -> None:
    results = json.loads(FIGURES.read_text(encoding="utf-8"))["results"]
    page = ROOT / "docs" / "gpu.md"
    copy = tmp_path / "gpu.md"
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    table.write_page(copy, results)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), "run lora_table.py with --page"


def test_a_page_without_marks_is_left_alone(table: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no table", encoding="utf-8")
    with pytest.raises(SystemExit, match="expected"):
        table.write_page(page, [])
    assert page.read_text(encoding="utf-8") == "no table"

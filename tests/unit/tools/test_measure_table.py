"""The GPU script for measuring runs what it is asked to and keeps what an earlier run brought."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_table", ROOT / "tests" / "gpu" / "measure_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(shape: str, mode: str, **more: object) -> dict[str, object]:
    return {"shape": shape, "mode": mode, "weights_ours": 1.0, **more}


def test_all_cases_or_those_that_were_named(script: ModuleType) -> None:
    assert script.chosen_cases("") == script.CASES
    assert script.chosen_cases("klein-9b:legacy, klein-4b:legacy") == [("klein-4b", "legacy"), ("klein-9b", "legacy")]
    with pytest.raises(SystemExit, match="klein-4b:cpu is no case"):
        script.chosen_cases("klein-4b:cpu")


def test_an_earlier_run_fills_the_other_columns(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "measure_table.json"
    assert script.earlier_results(path) == {}
    script._write(tmp_path, [result("klein-9b", "dynamic", first=1), result("klein-4b", "legacy")])
    new = {
        ("klein-4b", "legacy"): result("klein-4b", "legacy", step_ours=90.0),
        ("klein-9b", "dynamic"): {"shape": "klein-9b", "mode": "dynamic", "errors": {"case": "no time was left"}},
    }
    both = script.merged(script.earlier_results(path), new)
    assert [(item["shape"], item["mode"]) for item in both] == [("klein-9b", "dynamic"), ("klein-4b", "legacy")]
    assert both[0]["first"] == 1
    assert both[1]["step_ours"] == 90.0
    text = script.markdown(both)
    assert "klein-9b dynamic | klein-4b legacy" in text


def test_another_file_is_refused(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"schema": "something"}), encoding="utf-8")
    with pytest.raises(SystemExit, match="is not what this script writes"):
        script.earlier_results(path)

"""Saved measurements: written, listed, compared, and read back from damaged files; and the text of conditions."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from measurement_runs import cycles
from pack.nodes.core.cli.main import main
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.measure import results
from pack.nodes.core.measure.conditions import ConditionLine, label_conditions, parse_conditions
from pack.nodes.core.measure.report import build_measurement
from pack.nodes.core.measure.results import append_result, compare_text, find_result, list_text, read_results
from pack.nodes.core.measure.runs import measurement_json


def measured(steady: float) -> dict[str, object]:
    context = {"device": "H100", "conditions": {"a": {"model": "klein.safetensors"}}}
    return measurement_json(build_measurement("benchmark", cycles("a", 2, 300, steady), ["a"], context))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "user" / "default" / "lora-patchbay" / "measurements.jsonl"
    append_result(path, measured(100), "2026-01-02T03:04:05+00:00")
    append_result(path, measured(150), "2026-01-03T03:04:05+00:00")
    return path


def test_ids_count_up_and_lines_read_back(file: Path) -> None:
    assert [entry["id"] for entry in read_results(file)] == ["0001", "0002"]
    assert find_result(read_results(file), "2")["id"] == "0002"
    assert find_result(read_results(file), "last")["id"] == "0002"
    with pytest.raises(PatchbayError, match="no measurement has this id. The newest are 0001, 0002"):
        find_result(read_results(file), "7")


def test_damaged_lines_are_left_out_and_closed(file: Path) -> None:
    with open(file, "a", encoding="utf-8") as lines:
        lines.write('not json\n{"schema": "other"}\n[]\n{"schema": "patchbay.measurement", "version": 99}\n{"cut off')
    append_result(file, measured(120), "2026-01-04T00:00:00+00:00")
    assert [entry["id"] for entry in read_results(file)] == ["0001", "0002", "0003"]


def test_an_id_is_found_at_the_end_of_a_long_file_without_reading_it_all(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of several pieces, and ids on every position about the border of two of them."""
    monkeypatch.setattr(results, "_parse", None)  # parsing the file would fail
    for number in range(3, 90):
        name = append_result(file, {"schema": "patchbay.measurement", "pad": "x" * (65_400 + number)}, "now")
        assert name == f"{number:04}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_what_was_there_and_says_so(file: Path) -> None:
    resource = pytest.importorskip("resource")
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match=r".+"):
            append_result(file, measured(120), "2026-01-04T00:00:00+00:00")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert append_result(file, measured(120), "2026-01-04T00:00:00+00:00") == "0003"


def test_the_list_and_a_comparison(file: Path) -> None:
    entries = read_results(file)
    text = list_text(entries)
    assert "klein.safetensors" in text
    assert "150 ms" in text
    compared = compare_text(entries[0], entries[1])
    assert "steady evaluation: 100 ms -> 150 ms (+50.0 %)" in compared
    entries[1]["context"]["device"] = "H200"
    assert "device: H100 -> H200" in compare_text(entries[0], entries[1])


@pytest.mark.parametrize("below", ["", "user", "user/default", "user/default/lora-patchbay/measurements.jsonl"])
def test_the_command_lists_from_the_file_or_a_folder(file: Path, below: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert main(["results", str(file.parents[3] / below)], out, err) == 0
    assert out.getvalue().count("\n") == 3


def test_the_command_compares_shows_and_complains(file: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert main(["results", str(file), "--compare", "1", "last"], out, err) == 0
    assert "0002 against 0001" in out.getvalue()
    out = io.StringIO()
    assert main(["results", str(file), "--show", "1"], out, err) == 0
    assert json.loads(out.getvalue())["id"] == "0001"
    assert main(["results", str(file.with_name("none.jsonl"))], out, err) == 2
    assert "no saved measurements here" in err.getvalue()


def test_conditions_are_parsed() -> None:
    text = "base | steps=20, cfg = 1.5\n\n# a remark\ndistilled + LoRA | steps=4 cfg=1 against=1"
    assert parse_conditions(text) == (
        ConditionLine("base", 20, 1.5),
        ConditionLine("distilled + LoRA", 4, 1.0, 1),
    )
    assert [line.label for line in label_conditions(text, "abc")] == ["base", "distilled + LoRA", "model c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a | steps=0", 'line 1: "steps=0" is not understood'),
        ("a\nb | speed=9", 'line 2: "speed=9" is not understood'),
        ("a | cfg=nan", '"cfg=nan"'),
        ("| steps=4", "expected a name before the bar"),
        ("a\na", '"a" stands twice'),
        ("a\nb\nc\nd", "4 lines for 3 connected models"),
        ("a\nb | against=9", "compared with line 9, but only 3 models"),
    ],
)
def test_conditions_that_cannot_be_are_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(PatchbayError) as error:
        label_conditions(text, "abc")
    assert words in str(error.value)

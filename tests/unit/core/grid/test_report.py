"""Reports, stored cells and sheets of a grid, on pictures made here."""

from __future__ import annotations

import json

import pytest
import torch
from pack.nodes.core.grid.axes import Axis, AxisValue
from pack.nodes.core.grid.plan import GridPlan, content_key, plan_grid
from pack.nodes.core.grid.report import CellState, Floor, GridResult, build_grid_report, grid_text
from pack.nodes.core.grid.sheets import grid_sheets
from pack.nodes.core.grid.store import GridStore, workflow_texts, write_png
from pack.nodes.core.images.metrics import compare_pictures
from pack.nodes.core.images.panels import to_pillow
from pack.nodes.core.report.report import to_json
from PIL import Image


def plan() -> GridPlan:
    strengths = tuple(AxisValue(value, f"{value:g}") for value in (0.0, 0.5, 1.0))
    return plan_grid([Axis("lora", (AxisValue("<b>x</b>", "<b>x</b>"),)), Axis("strength", strengths)])


def picture(value: float) -> torch.Tensor:
    return torch.full((16, 16, 3), value).mul(255).round() / 255


def filled(*values: float | None) -> GridResult:
    result = GridResult()
    for (_, at), value in zip(plan().cells, values, strict=True):
        if value is None:
            continue
        result.pictures[0, at] = picture(value)
        result.states[0, at] = CellState.MADE
        result.references[0, at] = "strength 0", picture(values[0] or 0.0)
    return result


def test_the_report_names_the_nearest_the_farthest_and_what_is_missing():
    floor = Floor(compare_pictures(picture(0.1), picture(0.1)))
    report = build_grid_report(plan(), filled(0.1, 0.2, 0.6), "a grid", "strength=0", floor)
    assert report.level.value == "ok"
    assert "Nearest to its reference: strength 0.5" in report.summary
    assert "farthest: strength 1" in report.summary
    assert "identical in every value, so every difference counts" in grid_text(report)
    part = build_grid_report(plan(), filled(0.1, 0.2, None), "a grid", "strength=0", floor)
    assert part.summary.startswith("2 of 3 pictures.")
    assert (part.level.value, part.advice[:9]) == ("warning", "Run again")
    data = json.loads(json.dumps(to_json(part), allow_nan=False))
    assert [cell["state"] for cell in data["cells"]] == ["made", "made", "missing"]
    assert data["cells"][1]["metrics"]["mae"] == pytest.approx(0.1, abs=0.005)


def test_a_sheet_has_a_page_and_marks_the_reference():
    report = build_grid_report(plan(), filled(0.1, 0.2, None), "a grid", "strength=0")
    (sheet,) = grid_sheets(plan(), report, filled(0.1, 0.2, None).pictures)
    assert (sheet - torch.tensor([196, 88, 0]) / 255).abs().sum(dim=-1).min() < 0.01


def test_what_is_within_the_floor_is_called_so():
    floor = Floor(compare_pictures(picture(0.1), picture(0.3)))
    report = build_grid_report(plan(), filled(0.1, 0.2, 0.9), "a grid", "strength=0", floor)
    from pack.nodes.core.grid.report import cell_lines

    assert [cell_lines(cell, floor)[0][:6] for cell in report.cells] == ["identi", "within", "1.9 dB"]


def test_a_stored_cell_comes_back_as_it_was(tmp_path):
    store, key = GridStore(tmp_path), content_key("a")
    made = store.put(key, torch.rand(8, 9, 3, generator=torch.Generator().manual_seed(0)), {"seconds": 1.5})
    found = store.get(key)
    assert found is not None
    assert torch.equal(found.picture, made)
    assert found.facts == {"seconds": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == [f"{key}.png"]
    with pytest.raises(ValueError, match="is no key"):
        store.path("../x")


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_a_damaged_cell_counts_as_none(tmp_path, damage):
    store, key = GridStore(tmp_path), content_key("a")
    store.put(key, picture(0.5), {})
    whole = store.path(key).read_bytes()
    store.path(key).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert store.get(key) is None
    assert not store.path(key).exists()


def test_the_least_used_cells_go_first_and_nothing_that_is_not_ours(tmp_path):
    store = GridStore(tmp_path, limit_bytes=1)
    (tmp_path / "mine.png").write_bytes(b"x" * 100)
    keys = [content_key(number) for number in range(3)]
    for key in keys:
        store.put(key, picture(0.5), {})
    assert [store.get(key) is not None for key in keys] == [False, False, True]
    assert (tmp_path / "mine.png").exists()


def test_the_sheet_holds_the_workflow_as_comfyui_writes_it(tmp_path):
    texts = workflow_texts({"1": {"class_type": "KSampler"}}, {"workflow": {"nodes": []}})
    write_png(tmp_path / "sheet.png", to_pillow(picture(0.5)), texts)
    with Image.open(tmp_path / "sheet.png") as image:
        assert json.loads(image.info["prompt"])["1"]["class_type"] == "KSampler"
        assert json.loads(image.info["workflow"]) == {"nodes": []}
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]

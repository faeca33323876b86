"""The page on measuring takes its table from what the GPU script writes."""

from __future__ import annotations

import pytest

from tools.measurement_page import BEGIN, END, PAGE, filled, table

RESULT = {
    "shape": "klein-4b", "mode": "dynamic", "machine": {"device": "H100", "torch": "2.11", "comfyui": "0.30.0"},
    "peak_driver": 9 * 2**30, "peak_low": 8.91 * 2**30, "torch_allocated": 0.52 * 2**30, "step_ours": 87.01,
}  # fmt: skip


def test_the_page_has_a_place_for_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    once = filled(page, [RESULT])
    assert "| klein-4b, dynamic |" in once
    assert filled(once, [RESULT]) == once
    assert once.split(BEGIN)[0] == page.split(BEGIN)[0]
    assert once.split(END)[1] == page.split(END)[1]


def test_figures_stand_with_their_distance_from_the_drivers() -> None:
    text = table([RESULT, {"shape": "klein-9b", "mode": "legacy", "errors": {"process": "no memory"}}])
    assert "| ours, process peak, at least | 8.91 GiB (-1.0 %) |" in text
    assert "| `torch.cuda.max_memory_allocated` (most packs) | 0.52 GiB (-94.2 %) |" in text
    assert "87.01 ms" in text
    assert "klein-9b" not in text


def test_without_results_it_says_so_and_a_page_without_a_place_is_refused() -> None:
    assert table([]) == "No measured table yet."
    with pytest.raises(ValueError, match="lacks the lines"):
        filled("nothing here", [])

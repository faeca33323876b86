"""Where LoRAs change the same weights."""

from __future__ import annotations

from pack.nodes.core.report.overlap import describe_blocks, find_meetings
from pack.nodes.core.report.report import LayerReport, LayerState, Report


def report(*layers: tuple[str, str, tuple[int, int, int] | None], state: LayerState = LayerState.APPLIED) -> Report:
    return Report(
        "apply", "x", "y", layers=tuple(LayerReport(state, model_key=k, block=b, slice=s) for b, k, s in layers)
    )


WHOLE = report(("blocks.0", "w0", None), ("blocks.2", "w2", None), ("blocks.10", "w10", None))


def test_pairs_meet_where_both_patch_and_nowhere_else() -> None:
    other = report(("blocks.2", "w2", None), ("blocks.10", "w10", None), ("blocks.3", "w3", None))
    skipped = report(("blocks.0", "w0", None), state=LayerState.SKIPPED)
    found = find_meetings([WHOLE, skipped, other])
    assert [(each.first, each.second, each.weights) for each in found] == [(0, 2, 2)]
    assert list(found[0].blocks) == ["blocks.2", "blocks.10"]


def test_slices_of_a_fused_weight_meet_only_where_they_overlap() -> None:
    q, k, whole = (0, 0, 8), (0, 8, 8), None
    assert find_meetings([report(("b.0", "qkv", q)), report(("b.0", "qkv", k))]) == ()
    assert find_meetings([report(("b.0", "qkv", q)), report(("b.0", "qkv", whole))])[0].weights == 1
    both = report(("b.0", "qkv", q), ("b.0", "qkv", k))
    assert find_meetings([both, report(("b.0", "qkv", whole))])[0].weights == 2


def test_the_pair_with_most_in_common_comes_first() -> None:
    small = report(("blocks.0", "w0", None))
    assert [(m.first, m.second) for m in find_meetings([small, WHOLE, WHOLE])] == [(1, 2), (0, 1), (0, 2)]


def test_blocks_in_a_row_are_a_range() -> None:
    assert describe_blocks(["b.0", "b.1", "b.2", "b.5", "c.3", "other", "te"]) == "other, te, b.0-2, b.5, c.3"

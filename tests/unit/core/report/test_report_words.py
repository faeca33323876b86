"""Every sentence that goes into a report stands, with its Japanese, in the table of the web side."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
TABLE = ROOT / "js" / "lib" / "words" / "strings_report.mjs"
SOURCES = {
    "core/check/verdict.py": ("sampling_advice", "_summary", "_advice", "_notes"),
    "core/check/stranger.py": ("_explain", "warning"),
    "core/model/slices.py": ("torn_slice",),
    "core/model/families/flux1.py": ("ADVICE",),
    "core/model/families/flux2.py": ("ADVICE",),
    "core/check/hints.py": ("_image_to_video", "_pruned", "_other_inputs"),
    "core/check/doubts/__init__.py": ("ALL_ZERO",),
    "core/check/doubts/scale.py": ("whole_factors", "scale_spread", "alpha_left_out"),
    "core/check/doubts/merged.py": ("merged_alpha",),
    "core/check/doubts/provenance.py": ("other_version", "training_adapter", "distillation_patch"),
    "core/lora/dead.py": ("DEAD",),
    "core/lora/file.py": ("_harmless_notes", "REPLACED", "_unknown"),
    "core/check/architecture.py": ("file_fit",),
    "core/match/matches.py": ("missing", "judge", "_miss", "_second", "_refusal", "NO_NAME", "ONLY_COMFYUI"),
    "core/match/readings.py": ("DYLORA", "NO_SUCH_WEIGHT"),
    "core/transfer/fit_report.py": ("_judge", "_LEFT_ALONE", "_why_not", "_judge_guard", "_CONNECT", "_notes"),
    "core/transfer/guidance.py": ("guidance_note", "_CONNECT"),
    "core/check/inspect.py": ("_lora_sentence", "_lora_notes", "_model_sentence", "_model_provenance"),
    "core/measure/report.py": ("_summary", "_remarks"),
    "core/strengths/presets.py": ("STRUCTURE", "UNMEASURED", "_sentence"),
    "core/sweep/units.py": ("setting_words",),
    "core/sweep/report.py": ("_judge", "_notes", "_picture_notes", "_disagreements", "_method_notes"),
    "host/sweep/sweep.py": ("run_sweep", "_text_encoder_note"),
    "core/transfer/shift_report.py": ("_judge_pair", "_judge_transfer", "_WORDS", "_method_notes"),
    "core/transfer/teach_report.py": ("_judge", "_notes", "forecast_text"),
    "host/transfer/moved_blocks.py": ("moved_sentence",),
    "core/match/shapes.py": ("misfit", "_misfit_whole", "_misfit_ia3", "another_shape"),
    "host/apply/apply.py": ("_WORDS", "_judge", "_differences", "_first_reasons"),
    "host/transfer/feature_shift.py": ("_notes",),
    "host/transfer/fit_strengths.py": ("_refit_notes",),
    "host/match/shapes.py": ("misfit", "_misfit_plain", "_misfit_reshape", "_mismatch"),
    "host/inspect/patches.py": ("_describe", "_judge"),
    "host/inspect/model.py": (
        "INDICATOR",
        "_cannot_compare",
        "_comparison_notes",
        "_inspect",
        "_patch_notes",
        "_shift_sentence",
        "_summary",
    ),
    "host/inspect/contents.py": ("NO_BASE", "add_contents"),
    "core/compare/two_files.py": ("compared_sentence",),
    "core/compare/rank_curves.py": ("rank_notes",),
    "core/compare/found.py": ("found_sentences", "found_notes"),
    "core/compare/verify.py": ("_measure", "_judge"),
    "core/compare/replay.py": ("_ways",),
    "host/apply/method_choice.py": ("selection_notes", "_auto_notes", "advice"),
    "host/match/patch.py": ("PENDING",),
    "host/norms/later.py": ("GONE", "LATER_WEIGHT"),
    "host/apply/methods.py": ("SKIPPED_HOOKS",),
    "host/routes/routes.py": ("find_file",),
    "core/match/depth.py": ("_sentence", "_shallower"),
    "core/match/renumbered.py": ("NO_COUNTERPART",),
    "host/apply/renumber.py": ("number_lora",),
    "host/apply/plan.py": ("add", "_ask", "_left_out", "_missed"),
    "core/bake/merge.py": ("write_merged",),
    "core/bake/merge_plan.py": ("_notes",),
    "host/bake/layers.py": ("notes",),
    "host/bake/merge.py": ("_report",),
    "host/bake/report.py": ("layer_reports", "save_report"),
    "host/apply/schedule.py": ("_judge",),
    "host/apply/stack.py": ("merge_reports", "apply_stack", "_meetings"),
    "host/apply/rows.py": ("_nothing",),
    "host/apply/block_strengths.py": ("make_strengths", "_on_model", "_unchecked"),
}
"""Functions and constants that write verdicts, advice, notes and the reasons of states."""

_TWO_WORDS = re.compile(r"[A-Za-z]{2,}.*\s.*[A-Za-z]{2,}", re.DOTALL)
_NEXT = re.compile(r"(?<=\.)\\ (?=[A-Z0-9])")
"""Where one sentence ends and another begins, in the text of a pattern."""
_CODES = {"not known", "Name the file, as ComfyUI lists it."}
"""A ``verdict`` that the page has a name for, and what only a wrong request is told."""


def _table() -> list[tuple[str, str]]:
    rows = re.findall(r"^    (\[.*\]),$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return [tuple(json.loads(row)) for row in rows]


def _definitions(tree: ast.AST, names: tuple[str, ...]) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            found[node.name] = node
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id in names and isinstance(value, ast.AST):
            found[target.id] = value
    return found


def _sentences(node: ast.AST) -> list[str]:
    """Texts of two words or more, as patterns; ``.*`` stands where a value goes in.

    Docstrings and what goes into the log are left out.
    """
    doc = ast.get_docstring(node, clean=False) if isinstance(node, ast.FunctionDef) else None
    inside = {id(part) for each in ast.walk(node) if isinstance(each, ast.JoinedStr) for part in each.values}
    found: list[str] = []
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in each.values]
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in inside:
            parts = [each.value] if each.value != doc else []
        else:
            continue
        if (
            set(parts) <= _CODES
            or any("%s" in str(part) for part in parts)
            or not _TWO_WORDS.search(" ".join(str(part) for part in parts if part))
        ):
            continue
        text = "".join("\0" if part is None else str(part) for part in parts).strip()
        found.append(".*".join(re.escape(part) for part in text.split("\0")))
    return found


def _is_in(table: list[str], sentence: str) -> bool:
    """Whole, or sentence by sentence, as the page looks it up; a value before all may be a sentence of its own."""
    sentence = sentence.removeprefix(r".*\ ")
    parts = [sentence] if any(re.search(sentence, row) for row in table) else _NEXT.split(sentence)
    return all(any(re.search(part, row) for row in table) for part in parts)


@pytest.mark.parametrize("source", SOURCES)
def test_every_sentence_is_in_the_table(source: str) -> None:
    table = [english for english, _ in _table()]
    definitions = _definitions(ast.parse((ROOT / "nodes" / source).read_text(encoding="utf-8")), SOURCES[source])
    assert set(definitions) == set(SOURCES[source])
    sentences = [sentence for node in definitions.values() for sentence in _sentences(node)]
    assert sentences
    missing = [sentence for sentence in sentences if not _is_in(table, sentence)]
    assert missing == [], "add them to js/lib/words/strings_report.mjs"


def test_every_evidence_for_a_writer_is_in_the_table() -> None:
    from pack.nodes.core.lora import key_style

    english = [row for row, _ in _table()]
    known = [row[2] for row in (*key_style._BY_METADATA, *key_style._BY_STYLE.values())]
    source = Path(key_style.__file__).read_text(encoding="utf-8")
    guessed = re.findall(r'Writer\("[^"]+", "\w+", "([^"]+)"\)', source)
    assert len(guessed) >= 2
    assert [evidence for evidence in (*known, *guessed) if evidence not in english] == []


def test_the_words_use_the_values_of_their_sentence() -> None:
    table = _table()
    assert len(table) > 90
    assert len({english for english, _ in table}) == len(table)
    for english, words in table:
        values = re.findall(r"\{[#*]?\w+\}", english)
        assert len(set(values)) == len(values), english
        assert sorted(re.findall(r"\{[#*]?\w+\}", words)) == sorted(values), english
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", words), english

"""One word for one thing, in every Japanese text that a user reads; and words that English pages do without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JAPANESE = [
    *(ROOT / "js" / "docs").glob("*/ja.md"), *(ROOT / "js" / "help").glob("*.ja.md"),
    *(ROOT / "locales" / "ja").glob("*.json"), *(ROOT / "js" / "lib" / "words").glob("*.mjs"),
]  # fmt: skip
ENGLISH = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"),
    *(ROOT / "js" / "docs").glob("*/en.md"), *(ROOT / "js" / "help").glob("*.en.md"),
    *(ROOT / "locales" / "en").glob("*.json"),
]  # fmt: skip
INSTEAD = {"メモリー": "メモリ", "コンディショニング": "条件付け", "計測": "測定"}
KANA = "[ぁ-んァ-ヶー一-龠]"
SPACED = re.compile(f"{KANA} [A-Za-z0-9]|[A-Za-z] {KANA}")
TRANSLATED = re.compile(
    r"\b(?:reckons? with|what is mended|stands? only in|is the truth|obeys? (?:it|them)|beside the weights|at hand)\b"
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", JAPANESE, ids=name)
def test_one_japanese_word_for_one_thing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {word: better for word, better in INSTEAD.items() if word in text} == {}


@pytest.mark.parametrize("path", [path for path in JAPANESE if path.suffix != ".mjs"], ids=name)
def test_no_spaces_between_japanese_and_latin(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if SPACED.search(re.sub(r"`[^`]*`|\*\*.*?\*\*|「[^」]*」", "", line))] == []


@pytest.mark.parametrize("path", ENGLISH, ids=name)
def test_english_that_reads_as_translated_stays_out(path: Path) -> None:
    assert TRANSLATED.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", ENGLISH, ids=name)
def test_no_page_holds_the_marks_of_a_merge(path: Path) -> None:
    marks = ("<<<<<<< ", "=======", ">>>>>>> ")
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(marks)] == []

"""What a page without our nodes loads, and that each part names all that it imports."""

from __future__ import annotations

import re

from tools.web_parts import LIB, PARTS, START, TABLE, closure, table_text

MOST_FILES, MOST_BYTES = 6, 40 * 1024


def test_the_table_of_parts_is_that_of_the_imports() -> None:
    assert TABLE.read_text(encoding="utf-8") == table_text(), "run: python -m tools.web_parts"


def test_a_page_without_our_nodes_loads_little() -> None:
    files = [LIB.parent / "patchbay.js", *(LIB / name for name in closure(*START))]
    assert len(files) <= MOST_FILES, files
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


def test_the_entry_names_all_of_the_library() -> None:
    text = (LIB.parent / "patchbay.js").read_text(encoding="utf-8")
    (names,) = re.findall(r'^const LIBRARY = "([^"]+)"', text, re.MULTILINE)
    assert {f"{name}.mjs" for name in names.split(" ")} == closure(*START)


def test_every_module_belongs_to_a_part_and_every_part_has_its_style_sheets() -> None:
    used = closure(*START, *(module for module, _ in PARTS.values()))
    assert used == {path.relative_to(LIB).as_posix() for path in LIB.rglob("*.mjs")}
    sheets = {sheet for _, styles in PARTS.values() for sheet in styles}
    assert sheets == {path.stem for path in (LIB.parent / "css").glob("*.css")}

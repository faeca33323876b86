"""Locales and help pages: complete in both languages, nothing stale, and safe for the frontend that shows them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import some

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "ja")
FILES = ("main", "nodeDefs", "settings", "commands")
HEADINGS = {
    "en": {"## Inputs", "## Outputs", "## If something goes wrong"},
    "ja": {"## 入力", "## 出力", "## うまくいかないとき"},
}


def read(language: str, name: str) -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))


def texts(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {name: text for key, item in value.items() for name, text in texts(item, f"{path}/{key}").items()}
    return {path: value}


def node_ids() -> set[str]:
    """The nodes that the extension registers, read from its source: a class is named like its node's id."""
    tree = ast.parse((ROOT / "nodes" / "extension.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "NODES":
            assert isinstance(node.value, ast.List)
            return {name.id for name in node.value.elts if isinstance(name, ast.Name)}
    raise AssertionError("nodes/extension.py has no list NODES")


def web_sources() -> str:
    files = [*sorted((ROOT / "js").glob("*.js")), *sorted((ROOT / "js").rglob("*.mjs"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_the_files_that_comfyui_reads_and_no_others(language: str) -> None:
    present = {path.name for path in (ROOT / "locales" / language).iterdir()}
    assert present == {f"{name}.json" for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_both_languages_have_the_same_keys(name: str) -> None:
    assert texts(read("en", name)).keys() == texts(read("ja", name)).keys()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", FILES)
def test_no_text_is_empty_or_means_something_to_the_message_compiler(language: str, name: str) -> None:
    """vue-i18n reads {}, @ and | in a text as its own syntax."""
    for path, text in some(texts(read(language, name)).items()):
        assert text.strip(), path
        assert not re.search(r"[{}@|]", text), path


@pytest.mark.parametrize("name", FILES)
def test_keys_have_no_dots(name: str) -> None:
    """The frontend turns a dot of an id into an underscore before it looks the text up."""
    assert not [path for path in texts(read("en", name)) if "." in path]


def test_every_node_is_in_the_locales() -> None:
    for language in LANGUAGES:
        assert set(read(language, "nodeDefs")) == node_ids()


def test_settings_are_those_of_the_web_side() -> None:
    sources = web_sources()
    used = set(re.findall(r'"(LoraPatchbay\.[\w.]+)"', sources))
    assert set(read("en", "settings")) == {name.replace(".", "_") for name in used}
    # The page registers the English texts; ComfyUI takes those of other languages from the locales.
    for path, text in texts(read("en", "settings")).items():
        assert json.dumps(text, ensure_ascii=False) in sources, path
    assert texts(read("ja", "settings")).keys() == texts(read("en", "settings")).keys()


def test_commands_are_those_of_the_web_side() -> None:
    listed = re.search(r"\n  commands: \[(.*?)\n  \]", web_sources(), re.DOTALL)
    used = set(re.findall(r'id: "([\w.-]+)"', listed[1])) if listed else set()
    assert set(read("en", "commands")) == {name.replace(".", "_") for name in used}


def test_data_types_are_those_of_the_nodes() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py"))
    assert set(read("en", "main")["dataTypes"]) == set(re.findall(r'io\.Custom\("(\w+)"\)', sources))


def test_settings_categories_are_those_of_the_web_side() -> None:
    entry = (ROOT / "js" / "patchbay.js").read_text(encoding="utf-8")
    used = set(re.findall(r'category: \["([^"]+)", "([^"]+)"', entry)[0])
    used |= set(re.findall(r'toggle\(\s*[\w".]+, \["([^"]+)"', entry))
    assert set(read("en", "main")["settingsCategories"]) == used


def test_every_node_has_a_help_page_in_both_languages_and_no_page_is_stale() -> None:
    docs = ROOT / "js" / "docs"
    pages = {str(path.relative_to(docs).as_posix()) for path in docs.rglob("*.md")}
    assert pages == {f"{node}/{language}.md" for node in node_ids() for language in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", sorted(node_ids()))
def test_a_help_page_names_every_input_and_output(node: str, language: str) -> None:
    page = (ROOT / "js" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")
    definition = read("en", "nodeDefs")[node]
    names = [name.rpartition("source_")[2] for name in definition["inputs"]]
    names += [output["name"] for output in definition["outputs"].values()]
    assert not [name for name in names if f"`{name}`" not in page]
    assert HEADINGS[language] <= set(page.splitlines())
    title = next(line for line in page.splitlines() if line.startswith("# "))
    assert title == f"# {read(language, 'nodeDefs')[node]['display_name'].removesuffix(' (Patchbay)')}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_pages_show_their_nodes(language: str) -> None:
    """Each picture lies beside its page, has words for those who do not see it, and a name that only it has."""
    from tools.panel_pictures import NODE_PICTURES, PIXELS, picture_name

    assert f"PICTURE_PIXELS = {PIXELS};" in web_sources(), "the help of the side bar shows pictures in their own size"

    docs = ROOT / "js" / "docs"
    shown = {}
    for node in some(node_ids()):
        page = (docs / node / f"{language}.md").read_text(encoding="utf-8")
        for words, picture in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page):
            assert len(words) > 10, node
            assert (docs / node / picture).read_bytes()[8:12] == b"WEBP"
            shown[node] = picture
    assert shown == {node: f"{picture_name(node)}_{language}.webp" for node in NODE_PICTURES}
    assert len(set(shown.values())) == len(shown)
    kept = {path.name for path in docs.rglob("*.webp") if path.stem.endswith(f"_{language}")}
    assert kept == set(shown.values()), "a picture that no page shows"


@pytest.mark.parametrize(
    "node", ["PatchbayApplyLora", "PatchbayCheckLora", "PatchbayShowPatches", "PatchbayInspectFile"]
)
def test_help_pages_explain_every_state_that_they_can_show(node: str) -> None:
    from pack.nodes.core.report.report import LayerState
    from pack.nodes.core.report.text import STATE_WORDS

    inspected = {LayerState.IN_FILE, LayerState.DEAD, LayerState.NOT_UNDERSTOOD}
    shown = {
        "PatchbayApplyLora": set(LayerState) - {LayerState.IN_FILE},
        "PatchbayCheckLora": set(LayerState) - {LayerState.IN_FILE, LayerState.SKIPPED},
        "PatchbayShowPatches": {
            LayerState.APPLIED,
            LayerState.SKIPPED,
            LayerState.SHAPE_MISMATCH,
            LayerState.DEAD,
        },
        "PatchbayInspectFile": inspected,
    }[node]
    for language in LANGUAGES:
        page = (ROOT / "js" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")
        assert not [state for state in shown if f"`{STATE_WORDS[state]}`" not in page]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_examples_of_block_strengths_are_valid(language: str) -> None:
    from pack.nodes.core.strengths.text import parse_block_strengths

    page = (ROOT / "js" / "docs" / "PatchbayApplyLora" / f"{language}.md").read_text(encoding="utf-8")
    examples = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 4
    for example in examples:
        assert parse_block_strengths(example).items

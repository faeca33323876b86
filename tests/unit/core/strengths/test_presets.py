"""Presets: the shipped ones say what they do, and the user's own are never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.nodes.core.errors import BlockStrengthError
from pack.nodes.core.strengths.presets import (
    MAX_PRESETS,
    MAX_TEXT,
    SHIPPED,
    PresetError,
    PresetExistsError,
    UserPresets,
    check_name,
)
from pack.nodes.core.strengths.text import parse_block_strengths
from support import some

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def store(tmp_path: Path) -> UserPresets:
    return UserPresets(tmp_path / "user" / "lora-patchbay" / "block-presets.json")


def names(store: UserPresets) -> list[str]:
    return [preset.name for preset in store.list()[0]]


@pytest.mark.parametrize("preset", SHIPPED, ids=lambda preset: preset.name)
def test_a_shipped_preset_parses_and_says_where_it_comes_from(preset: Any) -> None:
    assert parse_block_strengths(preset.blocks).items
    assert preset.description["en"].endswith(".")
    assert preset.origin
    for figure in preset.measured:
        assert {"what", "model", "lora", "energy", "effect", "command"} == set(figure)


def test_shipped_names_are_unique_and_translated() -> None:
    shipped = [preset.name for preset in SHIPPED]
    assert len(set(shipped)) == len(shipped)
    texts = json.loads((ROOT / "nodes" / "host" / "routes" / "preset_texts.ja.json").read_text(encoding="utf-8"))
    assert list(texts) == shipped
    assert all(entry["label"] and entry["description"] for entry in some(texts.values()))


def test_save_list_overwrite_delete(store: UserPresets) -> None:
    assert store.list() == ((), ())
    saved = store.save(" b ", "all=0.5", "half")
    store.save("A", "double_blocks=0")
    assert (saved.name, saved.value, saved.source, saved.description) == ("b", "user/b", "user", {"en": "half"})
    assert names(store) == ["A", "b"]
    with pytest.raises(PresetExistsError):
        store.save("b", "all=0")
    assert store.save("b", "all=0", overwrite=True).blocks == "all=0"
    assert store.delete("A") == "A"
    assert names(store) == ["b"]
    with pytest.raises(PresetError, match='no preset "A"'):
        store.delete("A")
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a/b", "a\\b", "..", "a\nb", "a\x00", "<b>", 7, None])
def test_bad_names_are_refused(store: UserPresets, name: Any) -> None:
    with pytest.raises(PresetError, match="name"):
        store.save(name, "all=1")
    assert not store.path.exists()


@settings(deadline=None)
@given(st.text(max_size=100))
def test_a_name_that_is_accepted_is_plain(name: str) -> None:
    try:
        plain = check_name(name)
    except PresetError:
        return
    assert plain == plain.strip() == check_name(plain)
    assert not set(plain) & set('/\\<>:"|?*\n')


@pytest.mark.parametrize(
    ("blocks", "error"), [("nonsense", BlockStrengthError), ("#" * (MAX_TEXT + 1), PresetError), (None, PresetError)]
)
def test_bad_strengths_are_refused(store: UserPresets, blocks: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.save("x", blocks)
    assert not store.path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b'{"schema": "other"}', b"[" * 100_000])
def test_a_corrupt_file_is_kept(store: UserPresets, content: bytes) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(content)
    presets, problems = store.list()
    assert not presets
    assert len(problems) == 1
    assert "left as it is" in problems[0]
    assert store.path.read_bytes() == content
    with pytest.raises(PresetError):
        store.delete("x")
    assert store.path.read_bytes() == content
    store.save("new", "all=1")
    kept = [path for path in store.path.parent.iterdir() if path != store.path]
    assert [path.read_bytes() for path in kept] == [content]
    assert names(store) == ["new"]


def test_a_file_of_a_newer_version_is_never_written_over(store: UserPresets) -> None:
    store.path.parent.mkdir(parents=True)
    text = json.dumps({"schema": "patchbay.user_presets", "version": 99, "presets": {"a": {"blocks": "all=1"}}})
    store.path.write_text(text, encoding="utf-8")
    with pytest.raises(PresetError, match="newer LoRA Patchbay"):
        store.save("x", "all=1")
    assert store.path.read_text(encoding="utf-8") == text


def test_one_bad_entry_does_not_hide_the_others(store: UserPresets) -> None:
    store.path.parent.mkdir(parents=True)
    entries = {"good": {"blocks": "all=1"}, "bad": 3, "a/b": {"blocks": "all=1"}}
    store.path.write_text(json.dumps({"schema": "patchbay.user_presets", "version": 1, "presets": entries}))
    presets, problems = store.list()
    assert [preset.name for preset in presets] == ["good"]
    assert "2 entries" in problems[0]
    store.save("new", "all=0.5")
    store.delete("good")
    kept = json.loads(store.path.read_text(encoding="utf-8"))["presets"]
    assert kept == {"bad": 3, "a/b": {"blocks": "all=1"}, "new": {"blocks": "all=0.5", "description": ""}}


def test_there_is_an_end_to_how_many(store: UserPresets) -> None:
    store.path.parent.mkdir(parents=True)
    many = {f"p{i}": {"blocks": "all=1", "description": ""} for i in range(MAX_PRESETS)}
    store.path.write_text(json.dumps({"schema": "patchbay.user_presets", "version": 1, "presets": many}))
    with pytest.raises(PresetError, match="Delete one first"):
        store.save("one more", "all=1")
    assert store.save("p0", "all=0", overwrite=True).blocks == "all=0"


def test_a_write_that_fails_leaves_the_old_file(store: UserPresets, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save("a", "all=1")
    before = store.path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(PresetError, match="No space left"):
        store.save("b", "all=1")
    assert store.path.read_bytes() == before
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]

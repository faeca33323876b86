"""The texts of which axes are made: numbers, lines, files and folders that lead nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack.nodes.core.grid.axes import (
    GridError,
    folders_of,
    natural_key,
    read_files,
    read_lines,
    read_numbers,
    short_labels,
)

KNOWN = [
    "klein/style-000010.safetensors", "klein/style-000002.safetensors", "klein/style.safetensors",
    "other\\deep\\ink.safetensors", "other/face.safetensors", "top.safetensors",
]  # fmt: skip


def test_numbers_are_taken_as_typed_and_once():
    assert [x.label for x in read_numbers("0.5, 0.75\n1.0 1;-2\uff0c3e-1\u30017", "strengths")] == [
        "0.5", "0.75", "1", "-2", "0.3", "7",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", " , ", "0.5, x", "nan", "inf", "1e999", "0.5.5"])
def test_what_is_no_number_is_named(text):
    with pytest.raises(GridError, match="strengths"):
        read_numbers(text, "strengths")


def test_lines_are_values_and_an_empty_one_is_all_ones():
    assert [x.label for x in read_lines("", "blocks")] == ["all 1"]
    assert [x.value for x in read_lines("double=0\n\nsingle=0\ndouble=0\n", "blocks")] == ["double=0", "", "single=0"]


def test_epochs_come_in_their_order_and_the_finished_file_last():
    names = ["s-10", "s-9", "s", "s-000011", "S-8"]
    files = [f"{name}.safetensors" for name in names]
    assert sorted(files, key=natural_key) == [f"{n}.safetensors" for n in ("S-8", "s-9", "s-10", "s-000011", "s")]


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_names_can_be_sorted(names):
    assert sorted(sorted(names, key=natural_key)) == sorted(names)


def test_a_folder_a_pattern_and_a_file():
    epochs = ("klein/style-000002.safetensors", "klein/style-000010.safetensors", "klein/style.safetensors")
    assert read_files("klein/", KNOWN) == epochs
    assert read_files("klein", KNOWN) == epochs
    assert read_files("klein/style-*", KNOWN) == epochs[:2]
    assert read_files("# a remark\n\nink\nother/deep/\n", KNOWN) == ("other\\deep\\ink.safetensors",)
    assert read_files("top.safetensors\nklein\\style-000010.safetensors", KNOWN) == (
        "top.safetensors", "klein/style-000010.safetensors",
    )  # fmt: skip
    assert read_files("", KNOWN) == ()


@pytest.mark.parametrize(
    "line", ["../secret", "/etc/passwd", "klein/../../x", "..", "C:\\windows", "~", "missing*", "k\0", "[", "."]
)
def test_no_line_leads_out_of_the_list(line):
    with pytest.raises(GridError, match="neither a file nor a folder nor a pattern"):
        read_files(line, KNOWN)


@given(st.text(max_size=40))
def test_whatever_is_typed_only_listed_files_come_back(text):
    try:
        found = read_files(text, KNOWN)
    except GridError:
        return
    assert set(found) <= set(KNOWN)


def test_folders_are_those_of_the_list():
    assert folders_of(KNOWN) == ["klein/", "other/", "other/deep/"]


def test_labels_leave_out_what_all_names_share():
    assert short_labels(KNOWN[:2]) == ("000010", "000002")
    assert short_labels(["a/klein-nano-duotone.safetensors", "a/klein-nano-mono.safetensors"]) == ("duotone", "mono")
    assert short_labels(["a/x.safetensors"]) == ("x",)
    assert short_labels(["a/x.safetensors", "b/x.safetensors"]) == ("a/x.safetensors", "b/x.safetensors")
    assert short_labels(KNOWN[:3]) == ("style-000010", "style-000002", "style")

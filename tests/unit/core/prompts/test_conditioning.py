"""Files of saved conditioning: bit-exact round trips, nothing lost when adding, and refusals in sentences."""

from __future__ import annotations

import enum
import json
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.nodes.core.errors import HeaderError, PatchbayError
from pack.nodes.core.files.names import file_in_folder
from pack.nodes.core.prompts import conditioning as module
from pack.nodes.core.prompts.conditioning import (
    ConditioningFile,
    add_prompt,
    describe_prompts,
    list_prompts,
    load_conditioning_file,
    load_prompt,
    save_conditioning_file,
    summarise,
)
from pack.nodes.core.prompts.conditioning_values import Prompt, copy_conditioning, same_conditioning
from safetensors.torch import load_file, save_file

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def conditioning(seed=0, tokens=7, width=12, dtype=torch.float32, **options):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, tokens, width, generator=generator).to(dtype), options]]


def written(path, **prompts):
    file = ConditioningFile()
    for name, value in prompts.items():
        file = add_prompt(file, name, value)
    save_conditioning_file(path, file)
    return path


def round_trip(path, value):
    save_conditioning_file(path, add_prompt(ConditioningFile(), "x", value))
    return load_prompt(path).conditioning


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_survives_bit_for_bit(tmp_path, dtype):
    bits = torch.randint(0, 256, (1, 5, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    value = bits.bool() if dtype is torch.bool else bits.view(dtype)
    loaded = round_trip(tmp_path / "a.safetensors", [[value, {"pooled_output": value[:, 0]}]])
    assert loaded[0][0].dtype == dtype
    assert same_conditioning(loaded, [[value, {"pooled_output": value[:, 0]}]])


def test_negative_zero_and_nan_payloads_survive(tmp_path):
    raw = struct.unpack("<4i", struct.pack("<4I", 0x80000000, 0x7FC00001, 0xFF800000, 1))
    value = torch.tensor(raw, dtype=torch.int32).view(torch.float32).reshape(1, 1, 4)
    loaded = round_trip(tmp_path / "a.safetensors", [[value, {}]])[0][0]
    assert torch.equal(loaded.view(torch.int32), value.view(torch.int32))


def test_everything_a_stock_conditioning_may_hold_survives(tmp_path):
    value = conditioning(
        pooled_output=torch.randn(1, 8),
        attention_mask=torch.ones(1, 7, dtype=torch.int64),
        reference_latents=[torch.randn(1, 4, 2, 2), torch.randn(1, 4, 3, 3)],
        guidance=3.5,
        area=("percentage", 0.5, 1, 0, 0.25),
        set_area_to_bounds=False,
        strength=1.0,
        start_percent=0.0,
        hooks=None,
        prompt_type="\u732b, \ud800 and \x00",
        nested={"a": [1, (2, {"b": torch.zeros(())})], "$tensor": "0.0.cond", "": {}},
        numbers={1: "one", None: math.inf},
        not_a_number=math.nan,
        minus_zero=-0.0,
        long=10**40,
    )
    assert same_conditioning(round_trip(tmp_path / "a.safetensors", value), value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$tensor", "$tuple", "$dict", "$float"]), inner, max_size=1)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, database=None)
@given(st.dictionaries(st.text(max_size=6), values, max_size=4), st.text(min_size=1, max_size=12))
def test_any_values_survive(tmp_path_factory, options, name):
    if not name.strip():
        return
    path = tmp_path_factory.mktemp("any") / "a.safetensors"
    value = [[torch.zeros(1, 1, 1), options]]
    save_conditioning_file(path, add_prompt(ConditioningFile(), name, value))
    loaded = load_prompt(path, name)
    assert loaded.name == name.strip()
    assert same_conditioning(loaded.conditioning, value)


def test_several_entries_and_views_survive(tmp_path):
    base = torch.randn(4, 6, 8)
    value = [[base[1:2].transpose(1, 2), {"pooled_output": base[0, 0]}], [base[1:2], {}]]
    assert same_conditioning(round_trip(tmp_path / "a.safetensors", value), value)


def test_numpy_scalars_become_plain_numbers(tmp_path):
    loaded = round_trip(tmp_path / "a.safetensors", conditioning(guidance=np.float64(3.5), flag=np.bool_(True)))
    assert loaded[0][1] == {"guidance": 3.5, "flag": True}
    assert type(loaded[0][1]["guidance"]) is float


def test_adding_keeps_what_is_there(tmp_path):
    path = written(tmp_path / "p.safetensors", cat=conditioning(1), dog=conditioning(2, tokens=3, guidance=2.0))
    state = load_file(path)
    save_file(state, path, {**metadata_of(path), "modelspec.title": "Pets"})
    file = add_prompt(load_conditioning_file(path), "owl", conditioning(3), note="three animals")
    save_conditioning_file(path, file)
    loaded = load_conditioning_file(path)
    assert [prompt.name for prompt in loaded.prompts] == ["cat", "dog", "owl"]
    assert loaded.metadata == {"modelspec.title": "Pets", "modelspec.description": "three animals"}
    for seed, name in ((1, "cat"), (3, "owl")):
        assert same_conditioning(load_prompt(path, name).conditioning, conditioning(seed))
    assert same_conditioning(load_prompt(path, "dog").conditioning, conditioning(2, tokens=3, guidance=2.0))
    save_conditioning_file(path, add_prompt(loaded, "fox", conditioning(4)))
    assert load_conditioning_file(path).metadata["modelspec.description"] == "three animals"


def test_a_taken_name_is_replaced_only_on_request():
    file = add_prompt(ConditioningFile(), "Cat", conditioning(1))
    with pytest.raises(PatchbayError, match='already holds another conditioning named "Cat"'):
        add_prompt(file, " cat ", conditioning(2))
    assert same_conditioning(file.prompts[0].conditioning, conditioning(1))
    replaced = add_prompt(file, " cat ", conditioning(2), overwrite=True)
    assert [prompt.name for prompt in replaced.prompts] == ["cat"]
    assert same_conditioning(replaced.prompts[0].conditioning, conditioning(2))


def test_saving_the_very_same_again_is_no_error():
    file = add_prompt(ConditioningFile(), "cat", conditioning(1))
    assert len(add_prompt(file, "cat", conditioning(1)).prompts) == 1


def test_a_stored_prompt_does_not_change_with_its_source():
    value = conditioning(1)
    file = add_prompt(ConditioningFile(), "cat", value)
    value[0][0].zero_()
    value[0][1]["guidance"] = 9
    assert same_conditioning(file.prompts[0].conditioning, conditioning(1))


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = written(tmp_path / "p.safetensors", cat=conditioning(1))
    before = path.read_bytes()

    def break_off(tensors, name, metadata):
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module, "save_file", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_conditioning_file(path, add_prompt(load_conditioning_file(path), "dog", conditioning(2)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.safetensors"]


def test_a_loaded_prompt_outlives_its_file(tmp_path):
    path = written(tmp_path / "p.safetensors", cat=conditioning(1))
    loaded = load_prompt(path, "cat").conditioning
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert same_conditioning(loaded, conditioning(1))


@pytest.mark.parametrize("name", ["", "  ", "A Cat", " a cat\n", "A CAT"])
def test_names_are_found_without_case_and_space(tmp_path, name):
    path = written(tmp_path / "p.safetensors", **{"a cat": conditioning(1), "a dog": conditioning(2)})
    assert load_prompt(path, name).name == "a cat"


def test_an_exact_name_wins_over_another_case(tmp_path):
    path = tmp_path / "p.safetensors"
    prompts = tuple(Prompt(name, conditioning(seed)) for seed, name in enumerate(["Cat", "cat"]))
    save_conditioning_file(path, ConditioningFile(prompts))
    assert same_conditioning(load_prompt(path, "cat").conditioning, conditioning(1))


def test_an_unknown_name_lists_the_closest(tmp_path):
    path = written(tmp_path / "p.safetensors", **{n: conditioning() for n in ("red heart", "red apple", "dog")})
    with pytest.raises(PatchbayError, match=r'p.safetensors: no prompt "red haert" among its 3. Closest: "red heart"'):
        load_prompt(path, "red haert")
    with pytest.raises(PatchbayError, match=r"among its 3\. Leave the name empty .* text output"):
        load_prompt(path, "zzzzzz")


class Hook:
    pass


class Colour(enum.Enum):
    RED = 1


def test_what_a_file_cannot_hold_is_named():
    value = conditioning(
        control=Hook(), hooks=[1, Hook()], c=Colour.RED, s={1, 2}, z=torch.zeros(2, dtype=torch.complex64)
    )
    with pytest.raises(PatchbayError) as caught:
        copy_conditioning(value)
    text = str(caught.value)
    assert "control (a value of type Hook); hooks[1] (a value of type Hook); c (a value of type Colour)" in text
    assert "s (a value of type set)" in text
    assert "z (Tensor of torch.complex64)" in text
    with pytest.raises(PatchbayError, match="sparse_thing"):
        copy_conditioning(conditioning(sparse_thing=torch.eye(2).to_sparse()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected a list of entries, got nothing"),
        ([], "expected a list of entries"),
        (torch.zeros(1), "expected a list of entries, got a value of type Tensor"),
        ([[torch.zeros(1)]], "expected entries of a tensor and a dictionary"),
        ([["x", {}]], "expected entries of a tensor and a dictionary"),
    ],
)
def test_what_is_no_conditioning_is_refused(value, message):
    with pytest.raises(PatchbayError, match=message):
        add_prompt(ConditioningFile(), "x", value)


def test_a_prompt_needs_a_name():
    with pytest.raises(PatchbayError, match="needs a name"):
        add_prompt(ConditioningFile(), "  ", conditioning())


def metadata_of(path):
    raw = Path(path).read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]


def entry(**changes):
    return {"cond": "c", "tensors": {}, "values": {}, **changes}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "is not a file of saved conditioning"),
        ({"format": "pt"}, "is not a file of saved conditioning"),
        ({"format_version": "2"}, 'format version "2", but this pack reads "1"; update the pack'),
        ({"prompts": "{"}, "is not JSON"),
        ({"prompts": "[" * 100000}, "is not JSON"),
        ({"prompts": "[]"}, "contains no prompts"),
        ({"prompts": '{"a": 1}'}, "contains no prompts"),
        ({"prompts": json.dumps([{"name": "x", "entries": []}])}, "prompt 1 of its metadata"),
        ({"prompts": json.dumps([{"name": 3, "entries": [entry()]}])}, "prompt 1 of its metadata"),
        ({"prompts": json.dumps([{"name": "x", "entries": [entry(cond="d")]}])}, "prompt 1 of its metadata"),
        ({"prompts": json.dumps([{"name": "x", "entries": [entry(cond=[])]}])}, "prompt 1 of its metadata"),
        ({"prompts": json.dumps([{"name": "x", "entries": [entry(tensors=[])]}])}, "prompt 1 of its metadata"),
        ({"prompts": json.dumps([{"name": "x", "entries": [entry(tensors={"p": []})]}])}, "prompt 1 of its"),
        ({"prompts": json.dumps([{"name": "x", "entries": [entry(values=[])]}])}, "prompt 1 of its metadata"),
        (
            {"prompts": json.dumps([{"name": "x", "entries": [entry(values={"a": {"$tensor": "q"}})]}])},
            'lacks the tensor "q"',
        ),
        (
            {"prompts": json.dumps([{"name": "x", "entries": [entry(values={"a": {"$new": 1}})]}])},
            "which this version does not know",
        ),
        (
            {"prompts": json.dumps([{"name": "x", "entries": [entry(values={"a": {"$dict": [[[], 1]]}})]}])},
            "contradicts itself",
        ),
    ],
)
def test_foreign_and_broken_files_are_refused_in_a_sentence(tmp_path, metadata, message):
    path = tmp_path / "f.safetensors"
    if metadata is not None:
        metadata = {"format": "patchbay.conditioning", "format_version": "1", **metadata}
    save_file({"c": torch.zeros(1)}, path, metadata)
    with pytest.raises(HeaderError, match="f.safetensors: ") as caught:
        load_prompt(path)
    assert message in str(caught.value)


def test_a_cut_file_is_refused(tmp_path):
    path = written(tmp_path / "p.safetensors", cat=conditioning(1))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(HeaderError, match="p.safetensors"):
        load_prompt(path)


def test_a_file_of_the_documented_form_is_read(tmp_path):
    path = tmp_path / "p.safetensors"
    prompts = [{"name": "a", "entries": [{"cond": "k", "tensors": {"pooled_output": "v"}, "values": {"guidance": 2}}]}]
    metadata = {"format": "patchbay.conditioning", "format_version": "1", "prompts": json.dumps(prompts)}
    save_file({"k": torch.ones(1, 2, 3), "v": torch.zeros(1, 3)}, path, metadata)
    loaded = load_prompt(path).conditioning
    assert same_conditioning(loaded, [[torch.ones(1, 2, 3), {"pooled_output": torch.zeros(1, 3), "guidance": 2}]])


def test_prompts_are_listed_without_their_tensors(tmp_path):
    path = written(tmp_path / "p.safetensors", cat=conditioning(1, dtype=torch.bfloat16), dog=conditioning(2))
    listed = list_prompts(path)
    assert describe_prompts(listed) == "cat: 1 x 7 x 12 BF16\ndog: 1 x 7 x 12 F32"
    assert summarise(load_prompt(path, "cat")).dtype == "bfloat16"
    assert describe_prompts(listed * 150).endswith("... and 100 more")


@pytest.mark.parametrize("name", ["prompts", "a/b", "a\\b", " spaced ", "x.safetensors", "v1.5 cats", "\u732b"])
def test_names_inside_the_folder(tmp_path, name):
    path = file_in_folder(tmp_path, name)
    assert tmp_path.resolve() in path.parents
    assert path.suffix == ".safetensors"
    assert path.name.count(".safetensors") == 1


@pytest.mark.parametrize(
    "name",
    ["", " ", "../x", "a/../../x", "a/..", "/etc/x", "\\\\host\\x", "C:\\x", "C:x", "a//b", ".hidden", "a/.",
     "nul", "COM1", "a:b", "a\x00b", "a\nb", "x.safetensors/../../y", "~/../x/..", ".safetensors", "a. /b", "a?"],
)  # fmt: skip
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(PatchbayError, match="is not a name inside the conditioning folder"):
        file_in_folder(tmp_path, name)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(PatchbayError, match="is not a name inside"):
        file_in_folder(tmp_path / "inside", "link/x")

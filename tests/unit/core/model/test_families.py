"""What holds for every family: its links name its own layers, its fused layers are known, its mark is its own."""

from __future__ import annotations

import re

import pytest
from pack.nodes.core.model.blocks import BlockId, BlockLayout, Place
from pack.nodes.core.model.facts import collect_facts
from pack.nodes.core.model.families import FAMILIES, family
from pack.nodes.core.model.identify import identify_architecture
from pack.nodes.core.model.slices import fused_slices

WITH_LAYERS = [entry for entry in FAMILIES if entry.layers]
NOT_LINEAR = re.compile(r"norm|scale_shift_table|pos_embed|y_embedding|embedder\.0|\bln_[qk]|positional_encoding")
SOME_MODELS = re.compile(
    r"gate_up|gate_layer|img_mlp\.proj|(?:vector|guidance|time|time_r|ref_time|byt5)_in|single_blocks|vace_blocks|t5_"
    r"|modulation|txt_mod|img_mod|to_local_embed|attn2\.|global_cond|cap_embedder|to_(?:timestep|cond|global)_embed"
    r"|(?:ar|csize)_embedder|token_refiner\.blocks\.#\.adaln|ofs_|conditioner"
)
"""Layers that only some models of a family have, of which the layers of one are listed."""


def test_ids_and_names_are_unique_and_are_found() -> None:
    assert len({entry.id for entry in FAMILIES}) == len({entry.name for entry in FAMILIES}) == len(FAMILIES)
    assert all(family(entry.id) is entry for entry in FAMILIES)
    assert family("no such family") is None


@pytest.mark.parametrize("entry", WITH_LAYERS, ids=lambda entry: entry.id)
def test_kinds_depths_and_insertions_name_containers_of_the_family(entry) -> None:  # type: ignore[no-untyped-def]
    names = tuple(entry.layer_names())
    for kind in {*entry.kinds, *entry.depths, *(step.kind for step in entry.insertions)}:
        assert any(re.match(rf"{re.escape(kind)}\.(?:block)?#\.", name) for name in names), kind
    for step in entry.insertions:
        assert {step.blocks, step.deeper} <= set(entry.depths[step.kind])
        assert not step.inserted or len(step.inserted) == step.deeper - step.blocks


@pytest.mark.parametrize("entry", WITH_LAYERS, ids=lambda entry: entry.id)
def test_links_lead_to_layers_that_the_family_has(entry) -> None:  # type: ignore[no-untyped-def]
    names = set(entry.layer_names())
    numbered = {name.replace("#", "1", 1) for name in names}  # a step of a sequence, written out in a link
    named = {name for link in entry.links for name in link.model if not NOT_LINEAR.search(name)}
    missing = named - names - numbered
    assert not {name for name in missing if not SOME_MODELS.search(name)}


@pytest.mark.parametrize("entry", WITH_LAYERS, ids=lambda entry: entry.id)
def test_a_file_with_all_layers_is_not_taken_for_another_family(entry) -> None:  # type: ignore[no-untyped-def]
    """Names alone, of no known width: the family itself or an open answer that holds it, never another."""
    names = [name.replace("#", "0") for name in entry.layer_names()]
    found = identify_architecture(collect_facts([(name, 64, 64) for name in names], whole=False))
    assert entry.id in found.candidates


FUSED = [
    ("blocks", "attn.qkv_proj", (21504, 5376), {"q": 7168, "k": 7168, "v": 7168}),  # MiniMax-H3: wider than its input
    ("layers", "attention.qkv", (3840, 2304), {"q": 2304, "k": 768, "v": 768}),  # Lumina 2: shared keys
    ("blocks", "attn.proj_qkv.vid", (7680, 2560), {"q": 2560, "k": 2560, "v": 2560}),
    ("blocks", "attn2.kv_proj", (2816, 1024), {"k": 1408, "v": 1408}),
    ("transformer_blocks", "img_mlp.gate_up", (24576, 4096), {"gate": 12288, "up": 12288}),
    ("layers", "proj.ffn_up_gate", (16384, 3072), {"up": 8192, "gate": 8192}),
    ("layers", "self_attn.qkv_proj", (4096, 2048), {"q": 2048, "k": 1024, "v": 1024}),  # YuE2
    ("blocks", "mlp.fc1", (28672, 5376), {"gate": 14336, "up": 14336}),
    ("transformer.layers", "self_attn.to_qkv", (7680, 1536), {}),  # Stable Audio 3: q and k twice
]


@pytest.mark.parametrize(("kind", "layer", "shape", "rows"), FUSED)
def test_fused_layers_are_cut_where_their_parts_meet(
    kind: str, layer: str, shape: tuple[int, int], rows: dict[str, int]
) -> None:
    cuts = fused_slices(Place("key", BlockId(kind, 0), layer), shape)
    assert {cut.names[0]: cut.offset[2] for cut in cuts} == rows
    assert [cut.offset[1] for cut in cuts] == [sum(list(rows.values())[:i]) for i in range(len(cuts))]


def test_metadata_choose_among_families_that_fit_alike() -> None:
    layers = [(f"double_blocks.{i}.img_attn.qkv", 9216, 3072) for i in range(19)]
    open_answer = identify_architecture(collect_facts(layers, whole=False))
    told = identify_architecture(collect_facts(layers, whole=False, said="flux-1-dev/lora"))
    wrong = identify_architecture(collect_facts(layers, whole=False, said="stable-diffusion-xl-v1-base/lora"))
    assert open_answer.certainty == "ambiguous"
    assert {"flux1", "chroma", "longcat_image"} <= set(open_answer.candidates)
    assert (told.id, told.certainty) == ("flux1", "likely")
    assert wrong == open_answer


def test_layers_of_a_block_with_sound_are_audio_video_or_both() -> None:
    """KJNodes and others weaken the sound of a LoRA; a block without layers for sound has neither part."""
    layers = ("attn1.to_q", "audio_attn1.to_q", "audio_to_video_attn.to_q", "ff.net.2", "audio_ff.net.2")
    layout = BlockLayout([f"transformer_blocks.{i}.{layer}.weight" for i in range(2) for layer in layers])
    parts = [place.parts & {"audio", "video"} for place in layout.places()][: len(layers)]
    assert parts == [{"video"}, {"audio"}, {"audio", "video"}, {"video"}, {"audio"}]
    silent = BlockLayout([f"diffusion_model.transformer_blocks.{i}.attn1.to_q.weight" for i in range(2)])
    assert not any(place.parts & {"audio", "video"} for place in silent.places())

"""What a file's block numbers say about the depth of its model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pack.nodes.core.errors import BlockMapError
from pack.nodes.core.files.tensors import Header, TensorInfo
from pack.nodes.core.lora.file import LoraFile, read_lora
from pack.nodes.core.match.depth import (
    MADE_FOR,
    bound_map,
    depth_doubt,
    find_number,
    known_map,
    numbered_blocks,
    refuse_second_map,
    renumber,
)
from pack.nodes.core.model.block_map import inserted_map, parse_block_map
from pack.nodes.core.model.family import Family, Inserted, Link

INSERTED = (2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36)
TO_40 = Inserted("blocks", 28, 40, INSERTED, called=("2.9b",))
ANIMA = Family(
    "anima", "Anima", (), kinds=("blocks",), depths={"blocks": (28, 40, 52)},
    insertions=(TO_40, Inserted("blocks", 40, 52)),
    links=(Link(("transformer_blocks.#.attn1.to_q",), ("blocks.#.self_attn.q_proj",)),),
)  # fmt: skip
NEW = inserted_map(TO_40).of("blocks")


def lora(*names: str, metadata: dict[str, str] | None = None) -> LoraFile:
    keys = [f"{name}.lora_{end}.weight" for name in names for end in ("down", "up")]
    tensors = {key: TensorInfo(key, "F32", (4, 4), 64 * i, 64 * i + 64) for i, key in enumerate(keys)}
    return read_lora(Header("x.safetensors", 0, "safetensors", tensors, metadata or {}))


def on(blocks: range | list[int], spelling: str = "diffusion_model.blocks.{}.self_attn.q_proj") -> LoraFile:
    return lora(*(spelling.format(i) for i in blocks))


def model(depth: int) -> list[str]:
    keys = [f"diffusion_model.blocks.{i}.self_attn.q_proj.weight" for i in range(depth)]
    return [*keys, *(f"diffusion_model.llm_adapter.blocks.{i}.self_attn.q_proj.weight" for i in range(6))]


SPELLINGS = (
    "diffusion_model.blocks.{}.self_attn.q_proj", "lora_unet_blocks_{}_self_attn_q_proj",
    "transformer.transformer_blocks.{}.attn1.to_q", "net.blocks.{}.mlp.layer1", "blocks.{}.mlp.layer1",
    "base_model.model.blocks.{}.mlp.layer1", "lora_unet__blocks_{}_mlp_layer1",
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_base_lora_on_the_deeper_model_is_doubted_in_every_spelling(spelling: str) -> None:
    doubt = depth_doubt(on(range(28), spelling), model(40), ANIMA)
    assert doubt is not None
    assert doubt.id == "depth"
    assert "made for the 28-block model; this one has 40, blocks were inserted: remap" in doubt.sentence
    assert doubt.block_map is not None
    assert doubt.block_map.of("blocks") == NEW
    rename = renumber(doubt.block_map, ANIMA)
    renamed = on([x for x in map(NEW.get, range(28)) if x is not None], spelling)
    assert [rename(x.name) for x in on(range(28), spelling).layers] == [x.name for x in renamed.layers]
    assert depth_doubt(renamed, model(40), ANIMA) is None


@pytest.mark.parametrize(
    ("blocks", "depth"),
    [
        (range(28), 28), (range(14), 28), ([27], 28), (range(40), 40), (range(10, 40), 40), ([0, 1], 40), ([39], 40),
        (sorted(x for x in NEW.values() if x is not None), 40), ([*INSERTED], 40), (range(52), 52),
    ],
)  # fmt: skip
def test_healthy_files_have_no_doubt(blocks: range | list[int], depth: int) -> None:
    assert depth_doubt(on(blocks), model(depth), ANIMA) is None
    assert not known_map(on(blocks), {"blocks": depth}, ANIMA).moves


def test_a_part_of_the_blocks_cannot_be_told_by_names_alone() -> None:
    doubt = depth_doubt(on(range(20)), model(40), ANIMA)
    assert doubt is not None
    assert "names alone cannot tell" in doubt.sentence
    with pytest.raises(BlockMapError, match="nothing in it says"):
        known_map(on(range(20)), {"blocks": 40}, ANIMA)
    told = lora(*(x.name for x in on(range(20)).layers), metadata={"ss_sd_model_name": "Anima-2.9B-BF16.safetensors"})
    assert depth_doubt(told, model(40), ANIMA) is None
    assert not known_map(told, {"blocks": 40}, ANIMA).moves


def test_an_unpublished_step_is_doubted_and_refused() -> None:
    for blocks in (range(28), range(40)):
        doubt = depth_doubt(on(blocks), model(52), ANIMA)
        assert doubt is not None
        assert doubt.block_map is None
        assert "measured" in doubt.sentence
        with pytest.raises(BlockMapError, match="none is published"):
            known_map(on(blocks), {"blocks": 52}, ANIMA)


def test_a_lora_of_the_deeper_model_finds_its_way_back() -> None:
    renumbered = on(sorted(x for x in NEW.values() if x is not None))
    back = known_map(renumbered, {"blocks": 28}, ANIMA)
    rename = renumber(back, ANIMA)
    assert [rename(x.name) for x in renumbered.layers] == [x.name for x in on(range(28)).layers]
    assert rename("diffusion_model.blocks.2.self_attn.q_proj") is None


def test_no_file_is_mapped_twice() -> None:
    there = inserted_map(TO_40)
    with pytest.raises(BlockMapError, match="numbered for 40 blocks already"):
        refuse_second_map(on(sorted(x for x in NEW.values() if x is not None)), there, ANIMA)
    with pytest.raises(BlockMapError, match="second time"):
        refuse_second_map(lora("blocks.0.a", metadata={MADE_FOR: str(there)}), there, ANIMA)
    refuse_second_map(on(range(28)), there, ANIMA)


def test_only_the_block_number_of_the_named_container_changes() -> None:
    rename = renumber(inserted_map(TO_40), ANIMA)
    assert rename("diffusion_model.llm_adapter.blocks.2.self_attn.q_proj.lora_A.weight") == (
        "diffusion_model.llm_adapter.blocks.2.self_attn.q_proj.lora_A.weight"
    )
    assert rename("lora_te_layers_2_mlp_up_proj.alpha") == "lora_te_layers_2_mlp_up_proj.alpha"
    assert rename("lora_unet_blocks_14_mlp_layer2.lora_up.weight") == "lora_unet_blocks_20_mlp_layer2.lora_up.weight"
    assert rename("diffusion_model.blocks.2.t_embedder.1.lora_A.weight") == (
        "diffusion_model.blocks.3.t_embedder.1.lora_A.weight"
    )
    with pytest.raises(BlockMapError, match=r"names blocks\.30, the map names 0-27"):
        rename("blocks.30.mlp.layer1")


def test_a_map_is_bound_to_the_model() -> None:
    flux = {"double_blocks": 2, "single_blocks": 4}
    with pytest.raises(BlockMapError, match="which blocks are meant"):
        bound_map(parse_block_map("0->0"), flux, None)
    with pytest.raises(BlockMapError, match="has no blocks, it has double_blocks, single_blocks"):
        bound_map(parse_block_map("blocks: 0->0"), flux, None)
    with pytest.raises(BlockMapError, match=r"single_blocks\.4 is not in this model"):
        bound_map(parse_block_map("single_blocks: 3->4"), flux, None)
    assert bound_map(parse_block_map("2->3"), {"blocks": 40, "llm_adapter.blocks": 6}, ANIMA) == parse_block_map(
        "blocks: 2->3"
    )


def test_names_of_diffusers_are_numbered_as_the_models_own() -> None:
    flux = Family("flux2", "FLUX.2", (), kinds=("double_blocks", "single_blocks"))
    names = ["transformer.single_transformer_blocks.7.attn.to_out", "transformer.transformer_blocks.1.ff.linear_in"]
    assert numbered_blocks(names, flux) == {"single_blocks": frozenset({7}), "double_blocks": frozenset({1})}


def test_numbers_that_are_no_blocks_are_not_found() -> None:
    for name in ("final_layer.adaLN_modulation", "lora_te1_text_model_encoder_layers_0_mlp_fc1", "img_in", "0.x"):
        assert find_number(name) is None


def test_families_without_insertions_have_no_doubt() -> None:
    assert depth_doubt(on(range(28)), model(40), replace(ANIMA, insertions=())) is None
    assert depth_doubt(on(range(28)), model(40), None) is None

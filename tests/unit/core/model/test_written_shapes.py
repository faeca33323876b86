"""Families that no installed program builds: the model by the shapes that its writer's code gives, and LoRAs for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

import models_table as table  # noqa: E402

Shapes = dict[str, tuple[int, ...]]


def weights(shapes: dict[str, tuple[int, int]], block: str = "", count: int = 1) -> Shapes:
    """Weights by key, ``block`` with its number in front."""
    heads = [block.replace("#", str(number)) for number in range(count)] if block else [""]
    return {f"{head}{name}.weight": shape for head in heads for name, shape in shapes.items()}


def in_a_file(shapes: Shapes) -> Shapes:
    """As ComfyUI's model files name them."""
    return {f"model.diffusion_model.{key}": shape for key, shape in shapes.items()}


def moss_image() -> Shapes:
    square = (3072, 3072)
    block = {f"proj.{name}": square for name in "qkvo"}
    block |= {"proj.ffn_up_gate": (16384, 3072), "proj.ffn_down": (3072, 8192)}
    text = {"qkv": (9216, 3072), "proj": square, "ffn_gate": (8192, 3072), "ffn_up": (8192, 3072)}
    text["ffn_down"] = (3072, 8192)
    other = {"video_embedder": (3072, 128), "text_embedder.proj": (3072, 4096), "time_embedding.0": (3072, 256)}
    other |= {"shared_block_modulation": (18432, 3072), "final_linear_video": (128, 3072)}
    return weights(block, "layers.#.", 42) | weights(text, "text_embedder.blocks.#.", 2) | weights(other)


def yue2(writer: bool = False) -> Shapes:
    """ComfyUI's diffusion model, or the same layers as the writer's checkpoint calls them."""
    block = {"self_attn.qkv_proj": (4096, 2048), "self_attn.o_proj": (2048, 2048)}
    block |= {"mlp.gate_up_proj": (12288, 2048), "mlp.down_proj": (2048, 6144)}
    if writer:
        heights = {"q": 2048, "k": 1024, "v": 1024, "o": 2048}
        block = {f"nar_self_attn.{name}_proj": (rows, 2048) for name, rows in heights.items()}
        block |= {"nar_mlp.gate_proj": (6144, 2048), "nar_mlp.up_proj": (6144, 2048)}
        block["nar_mlp.down_proj"] = (2048, 6144)
    other = {"vae2llm": (2048, 64), "llm2vae": (64, 2048), "time_embedder.mlp.0": (2048, 256)}
    return weights(block, "model.layers.#.", 28) | weights(other)


def prism() -> Shapes:
    def block(width: int, inner: int) -> dict[str, tuple[int, int]]:
        attention = {f"{kind}_attn.{name}": (width, width) for kind in ("self", "cross") for name in "qkvo"}
        return attention | {"ffn.0": (inner, width), "ffn.2": (width, inner)}

    video, audio = block(5120, 13824), block(1536, 8960)
    joined = weights(video, "fusion_blocks.#.video_block.", 30) | weights(audio, "fusion_blocks.#.audio_block.", 30)
    for name, width, other in (("a2v", 5120, 1536), ("v2a", 1536, 5120)):
        inner = {"q": (width, width), "k": (width, other), "v": (width, other), "o": (width, width)}
        joined |= weights(inner, f"fusion_blocks.#.{name}_conditioner.inner.", 30)
    rest = weights(video, "remaining_video_blocks.#.", 10) | weights(video, "video_dit_2.blocks.#.", 40)
    return joined | rest | weights({"video_dit.text_embedding.0": (5120, 4096), "audio_dit.head.head": (128, 1536)})


MODELS = {"moss_image": moss_image, "yue2": yue2, "prism": prism}


@pytest.mark.parametrize("name", MODELS)
def test_the_model_and_its_loras_are_recognised_and_land(name: str) -> None:
    shapes = MODELS[name]()
    row = table.row(name, name, shapes, in_a_file(shapes))
    assert row.good, row
    assert (row.model, row.native, row.lands) == ("yes", "yes", "all"), row


def test_yue2_lands_in_its_writers_names() -> None:
    row = table.row("YuE2", "yue2", yue2(writer=True), in_a_file(yue2()))
    assert (row.model, row.native, row.lands) == ("yes", "yes", "all"), row

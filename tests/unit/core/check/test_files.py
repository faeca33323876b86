"""Checking a LoRA file against a model file: nothing that a file says may make it fail."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from gguf_files import write_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lora_files import flux2_shapes, header_from, lora_shapes
from pack.nodes.core.check.files import check_header, check_lora_file
from pack.nodes.core.check.model_file import model_of_header, read_model_file
from pack.nodes.core.check.report import Checked
from pack.nodes.core.files.header import read_header
from pack.nodes.core.files.tensors import Header, TensorInfo
from pack.nodes.core.lora.adapters import SUFFIXES
from pack.nodes.core.lora.file import read_lora
from pack.nodes.core.report.report import LayerState, to_json
from pack.nodes.core.report.text import report_text
from safetensors.torch import save_file

SHAPES = flux2_shapes(64, 2, 2, 96)
MODEL = model_of_header(header_from(SHAPES))
LAYERS = [key.removesuffix(".weight") for key in SHAPES]
NAMES = st.one_of(
    st.sampled_from([f"diffusion_model.{layer}" for layer in LAYERS]),
    st.sampled_from([f"lora_unet_{layer.replace('.', '_')}" for layer in LAYERS]),
    st.sampled_from(["transformer.transformer_blocks.0.attn.to_q", "lora_te_x", "unet:3", "text_encoder.a", "", "..."]),
    st.text(max_size=12),
)
SIDES = st.lists(st.sampled_from([0, 1, 2, 4, 8, 64, 192, 384, 576]), max_size=4)
DTYPES = st.sampled_from(["F32", "BF16", "F16", "F8_E4M3", "I64", "BOOL", "U8", "F4"])
TENSORS = st.dictionaries(st.tuples(NAMES, st.sampled_from(sorted(SUFFIXES))), st.tuples(SIDES, DTYPES), max_size=12)
METADATA = st.dictionaries(
    st.sampled_from(["ss_network_module", "lora_adapter_metadata", "ss_network_args", "lora_alpha"]),
    st.one_of(
        st.sampled_from(["lycoris.kohya", '{"algo":"dylora"}', '{"transformer.lora_alpha": 4}']), st.text(max_size=9)
    ),
)


def assert_sound(checked: Checked) -> None:
    for layer in checked.report.layers:
        assert layer.reason or layer.state is LayerState.APPLIED
        assert layer.model_key in MODEL.shapes or layer.state is not LayerState.APPLIED
        assert (layer.delta_norm is None) == bool(layer.not_measured)
    assert 0 <= checked.verdict.coverage <= 1
    assert checked.verdict.summary
    assert checked.verdict.advice
    assert report_text(checked.report)
    assert to_json(checked.report)


@given(TENSORS, METADATA)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_header_has_a_verdict(
    tensors: dict[tuple[str, str], tuple[list[int], str]], metadata: dict[str, str]
) -> None:
    infos: dict[str, TensorInfo] = {}
    end = 0
    with tempfile.TemporaryDirectory() as folder:
        for (name, suffix), (sides, dtype) in tensors.items():
            start, end = end, end + 8 * min(math.prod(sides), 1 << 16)
            infos[f"{name}.{suffix}"] = TensorInfo(f"{name}.{suffix}", dtype, tuple(sides), start, end)
        path = Path(folder) / "x.safetensors"
        path.write_bytes(bytes(min(end, 1 << 20)))  # numbers may be missing: the file shrank since its header was read
        header = Header("x.safetensors", end, "safetensors", infos, metadata, path)
        assert_sound(check_header(header, MODEL))
        assert_sound(check_header(header, MODEL, measure=True))


def test_a_whole_difference_with_an_alpha_beside_it(tmp_path: Path) -> None:
    """The first tensor of a layer is not always the one that counts."""
    path = tmp_path / "x.safetensors"
    save_file(
        {"diffusion_model.img_in.alpha": torch.tensor(1.0), "diffusion_model.img_in.diff": torch.ones(64, 128)}, path
    )
    header = read_header(path)
    (layer,) = check_lora_file(read_lora(header), MODEL, measure=True).report.layers
    assert (layer.state, layer.delta_norm) == (LayerState.APPLIED, math.sqrt(64 * 128))


def test_control_loras_of_bfl_land_as_comfyui_renames_them() -> None:
    shapes = {"img_in.lora_A.weight": (8, 196), "img_in.lora_B.weight": (64, 8), "img_in.lora_B.bias": (64,)}
    shapes["single_blocks.0.norm.key_norm.scale"] = (128,)
    model = model_of_header(
        header_from({**SHAPES, "single_blocks.0.norm.key_norm.scale": (128,), "img_in.bias": (64,)})
    )
    layers = check_header(header_from(shapes), model).report.layers
    assert {(layer.lora_key, layer.format, layer.state.value) for layer in layers} == {
        ("diffusion_model.img_in", "lora", "applied"),
        ("diffusion_model.img_in", "diff_b", "applied"),
        ("diffusion_model.single_blocks.0.norm.key_norm", "set", "applied"),
    }


def test_a_gguf_file_is_judged_as_the_model_that_it_holds(tmp_path: Path) -> None:
    model = read_model_file(write_gguf(tmp_path / "klein.gguf", SHAPES))
    assert model.shapes == MODEL.shapes
    for shapes, lands in ((SHAPES, True), (flux2_shapes(32, 2, 2, 96), False)):
        checked, as_plain = (check_header(header_from(lora_shapes(shapes)), each) for each in (model, MODEL))
        assert checked.verdict.fits is lands
        assert checked.verdict == as_plain.verdict

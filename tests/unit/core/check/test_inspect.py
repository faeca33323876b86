"""Whole reports: text, JSON, metadata, quantisation, other containers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
import time
from pathlib import Path

import pytest
import torch
from lora_files import flux2_shapes, header_from, shared, write_lora
from pack.nodes.core.check.inspect import inspect_file, inspect_model
from pack.nodes.core.errors import HeaderError
from pack.nodes.core.files.header import read_header
from pack.nodes.core.files.metadata import read_training
from pack.nodes.core.files.storage import read_quantisation
from pack.nodes.core.report.report import LayerReport, LayerState, Level, Report, to_json
from pack.nodes.core.report.text import clean, report_text
from safetensors.torch import load_file, save_file
from support import some


def klein_nano_lora(path: Path, metadata: dict[str, str] | None = None) -> Path:
    generator = torch.Generator().manual_seed(1)
    layers = {}
    for key, (rows, columns) in flux2_shapes().items():
        if "blocks." in key:
            layers[f"diffusion_model.{key.removesuffix('.weight')}"] = {
                "lora_A.weight": torch.randn(4, columns, generator=generator) / 10,
                "lora_B.weight": torch.randn(rows, 4, generator=generator) / 10,
            }
    return write_lora(path, layers, metadata)


def test_report_on_a_lora(tmp_path: Path) -> None:
    report = inspect_file(klein_nano_lora(tmp_path / "x.safetensors", {"ss_steps": "12", "odd": "kept"}), tensors=True)
    assert report.lora is not None
    assert report.lora.architecture == "FLUX.2 (hidden 128, up to 2 double + 3 single blocks) (certain)"
    assert report.lora.metadata == {"steps": "12", "odd": "kept"}
    assert report.counts == {"in_file": 22}
    assert report.coverage is None
    assert {layer.block for layer in report.layers} == {
        *(f"double_blocks.{i}" for i in range(2)),
        *(f"single_blocks.{i}" for i in range(3)),
    }
    assert all(layer.delta_norm for layer in some(report.layers))
    text = report_text(report)
    assert "A LoRA for FLUX.2" in text
    assert "steps: 12" in text
    assert "diffusion_model.single_blocks.2.linear2: lora, rank 4" in text
    json.dumps(to_json(report), allow_nan=False)


def test_a_dead_layer_asks_for_attention(tmp_path: Path) -> None:
    parts = {"lora_A.weight": torch.ones(4, 8), "lora_B.weight": torch.zeros(8, 4)}
    report = inspect_file(write_lora(tmp_path / "x.safetensors", {"blocks.0.q": parts}), tensors=True)
    assert report.level is Level.WARNING
    assert report.counts == {"dead": 1}


def test_hashes(tmp_path: Path) -> None:
    path = klein_nano_lora(tmp_path / "x.safetensors")
    raw = path.read_bytes()
    data = raw[8 + struct.unpack("<Q", raw[:8])[0] :]
    stated = {"sshs_model_hash": hashlib.sha256(data).hexdigest()}
    path = klein_nano_lora(path, stated)
    report = inspect_file(path, hashes=True)
    assert report.lora is not None
    assert report.lora.metadata["AutoV2"] == hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    assert report.lora.metadata["AutoV3"] == hashlib.sha256(data).hexdigest()[:12]
    assert "sshs_model_hash of the metadata matches the file." in report.notes


def test_report_on_a_model() -> None:
    report = inspect_model(header_from(flux2_shapes(3072, 5, 20, 7680)))
    assert report.model is not None
    assert report.model.architecture == "FLUX.2 Klein 4B"
    assert [(g.kind, g.count) for g in report.model.blocks] == [("double_blocks", 5), ("single_blocks", 20)]
    assert report.model.hidden_size == 3072
    assert report.model.parameter_count == pytest.approx(3.876e9, rel=1e-3)


SNAPSHOT = """\
a LoRA on a model
Warning: 1 of 3 layers does not fit.

Strength: model 0.5
Blocks: all=1

Layers: 3 in all: 2 applied, 1 shape does not fit
  shape does not fit, 1 x: it is 4 x 4
    c

Blocks (norms at the strength used, root-sum-square over the layers):
  block            layers  strength  delta norm  delta / weight  mean of layers
  double_blocks.0       2       0.5         2.5             0.5             0.5
  double_blocks.1  0 of 1         -           -               -               -

Notes:
  a note

Patched layers:
  a.weight[rows 0-3]: strength 0.5, lora, rank 4, alpha 2, scale 0.5 (alpha tensor), delta / weight 0.5
  a.weight[rows 4-7]: strength 0.5, lora, rank 4, delta / weight 0.5
"""


def test_report_text_snapshot() -> None:
    same = {
        "state": LayerState.APPLIED,
        "model_key": "a.weight",
        "block": "double_blocks.0",
        "format": "lora",
        "rank": 4,
    }
    report = Report(
        "apply", "a LoRA on a model", "1 of 3 layers does not fit.", Level.WARNING, strength_model=0.5, blocks="all=1",
        layers=(
            LayerReport(**same, slice=(0, 0, 4), strength=0.5, delta_norm=3.0, weight_norm=3.0, alpha=2.0, scale=0.5,
                        scale_source="alpha tensor"),
            LayerReport(**same, slice=(0, 4, 4), strength=0.5, delta_norm=4.0, weight_norm=4.0),
            LayerReport(LayerState.SHAPE_MISMATCH, "it is 4 x 4", lora_key="c", block="double_blocks.1"),
        ),
        notes=("a note",),
    )  # fmt: skip
    assert report_text(report) == SNAPSHOT


def test_text_from_files_cannot_break_the_report() -> None:
    assert clean("a\x1b[31m\u202e\nb\tc\x00") == "a[31m b c"
    assert len(clean("x" * 10**7)) < 400


def test_metadata_of_kohya() -> None:
    metadata = {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_resolution": "(1024, 1024)",
        "ss_steps": "444",
        "ss_epoch": "6",
        "ss_num_train_images": "2",
        "ss_tag_frequency": json.dumps({"10_pepper": {"1girl": 2, "hat": 1}, "5_carrot": {"hat": 3}}),
        "ss_network_args": json.dumps({"conv_dim": 4}),
        "odd": "x",
    }
    training = read_training(metadata)
    assert (training.base_model, training.resolution, training.steps, training.epochs) == (
        "sdxl_base_v1-0",
        "1024 x 1024",
        444,
        6,
    )
    assert training.tags == (("hat", 4), ("1girl", 2))
    assert training.trigger_words == ("pepper", "carrot", "hat", "1girl")
    assert training.network_args == {"conv_dim": "4"}
    assert training.leftovers == {"odd": "x"}
    assert training.provenance.kind == "base"


@pytest.mark.parametrize(
    ("metadata", "kind", "certainty"),
    [
        ({"ss_base_model_version": "flux_2_klein_base_4b"}, "base", "stated"),
        ({"ss_base_model_version": "flux_2_klein_4b"}, "distilled", "possible"),
        ({"ss_sd_model_name": "flux-2-klein-4b-base.safetensors"}, "base", "stated"),
        ({"ss_sd_model_name": "flux2-klein-9b-base-bf16"}, "base", "stated"),
        ({"modelspec.title": "Klein Nano base, wants 20 steps"}, "base", "possible"),
        ({"modelspec.title": "style, trained for 3000 steps"}, "", ""),
        ({"modelspec.title": "style for 4-step models"}, "distilled", "possible"),
        ({"ss_base_model_version": "flux2_klein_4b", "software": '{"name": "ai-toolkit"}'}, "", ""),
        ({"ss_sd_model_name": "z_image_turbo.safetensors"}, "distilled", "stated"),
        ({"modelspec.title": "my turbo style"}, "distilled", "possible"),
        ({}, "", ""),
    ],
)
def test_provenance(metadata: dict[str, str], kind: str, certainty: str) -> None:
    provenance = read_training(metadata).provenance
    assert (provenance.kind, provenance.certainty) == (kind, certainty)


@pytest.mark.parametrize(
    ("name", "metadata", "note"),
    [
        ("flux-2-klein-4b.safetensors", {}, 'distilled (possible: its file name is "flux-2-klein-4b.safetensors").'),
        ("flux-2-klein-base-4b-fp8.safetensors", {}, 'base (possible: its file name is "flux-2-klein-base-4b-fp8'),
        ("x.safetensors", {"modelspec.title": "FLUX.2 klein base 4B"}, 'base (stated: modelspec.title is "FLUX.2 kl'),
        ("x.safetensors", {}, "not known: neither its name nor its metadata tells"),
    ],
)
def test_base_or_distilled_model(name: str, metadata: dict[str, str], note: str) -> None:
    header = dataclasses.replace(header_from(flux2_shapes(3072, 5, 20, 7680), metadata), name=name)
    notes = [text for text in inspect_model(header).notes if text.startswith("Base or distilled: ")]
    assert len(notes) == 1
    assert notes[0].startswith(f"Base or distilled: {note}")


@pytest.mark.parametrize(
    "value",
    [
        "[" * 50_000,
        "{}",
        "[1,2]",
        '{"a": 1}',
        '{"10_x": {"y": "z", "n": 1e400}}',
        "null",
        "\x00",
        "9" * 100_000,
        '{"1_": null}',
    ],
)
def test_hostile_metadata_is_kept_and_harmless(value: str) -> None:
    names = (
        "ss_tag_frequency",
        "ss_datasets",
        "ss_network_args",
        "training_info",
        "ss_steps",
        "ss_dataset_dirs",
        "lora_adapter_metadata",
    )
    training = read_training(dict.fromkeys(names, value))
    facts = training.facts()
    assert json.loads(json.dumps(facts)) == facts


@pytest.fixture
def huge_metadata(tmp_path: Path) -> Path:
    """A LoRA with 100,000 tags and 5 MB of text in its metadata."""
    tags = json.dumps({"1_x": {f"tag {i}": i for i in range(100_000)}})
    return Path(klein_nano_lora(tmp_path / "x.safetensors", {"ss_tag_frequency": tags, "big": "y" * 5_000_000}))


def test_huge_metadata_makes_no_huge_report(huge_metadata: Path) -> None:
    assert 1000 < len(json.dumps(to_json(inspect_file(huge_metadata)))) < 100_000


@pytest.mark.timing
def test_huge_metadata_stays_quick(huge_metadata: Path) -> None:
    start = time.perf_counter()
    json.dumps(to_json(inspect_file(huge_metadata)))
    assert time.perf_counter() - start < 3


QUANT = {
    "nano_2x3_fp8": "scaled fp8 e4m3 x 22, bf16 x 9",
    "nano_2x3_fp8_unscaled_cast": "fp8 e4m3 x 22, bf16 x 9",
    "nano_2x3_int8": "int8 x 22, bf16 x 9",
    "nano_2x3_mxfp8": "mxfp8 x 22, bf16 x 9",
    "nano_2x3_nvfp4": "nvfp4 x 22, bf16 x 9",
}


@pytest.mark.parametrize("name", QUANT)
def test_quantisation_of_real_files(name: str) -> None:
    found = read_quantisation(read_header(shared(f"quant/{name}.safetensors")))
    assert str(found) == QUANT[name]
    assert found.parameters == 1_877_760
    assert len(found.whole) == 9


@pytest.mark.parametrize("name", ["Q4_0", "Q8_0"])
def test_gguf_files(name: str) -> None:
    path = shared(f"quant/nano_2x3_{name}.gguf")
    header = read_header(path)
    found = read_quantisation(header)
    assert (str(found), found.parameters) == (f"{name} x 22, fp32 x 9", 1_877_760)
    assert header.tensors["single_blocks.0.linear1.weight"].shape == (1152, 128)


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def write_gguf(path: Path) -> bytes:
    fields = gguf_string("general.architecture") + struct.pack("<I", 8) + gguf_string("flux")
    fields += gguf_string("tokens") + struct.pack("<IIQ", 9, 8, 3) + b"".join(map(gguf_string, "abc"))
    tensor = gguf_string("a.weight") + struct.pack("<IQQIQ", 2, 32, 4, 2, 0)
    raw = b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + fields + tensor
    raw += bytes(-len(raw) % 32) + bytes(4 * 18)
    path.write_bytes(raw)
    return raw


def test_gguf_header(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf")
    header = read_header(tmp_path / "x.gguf")
    info = header.tensors["a.weight"]
    assert (info.dtype, info.shape, info.end) == ("Q4_0", (4, 32), 72)
    assert header.metadata == {"general.architecture": "flux", "tokens": "[a, b, c]"}


def test_every_cut_of_a_gguf_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    raw = write_gguf(path)
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(HeaderError, match=r"^x\.gguf: .*\.$"):
            read_header(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "x.pt"
    data = {"string_to_param": {"*": torch.ones(2, 768)}, "name": "x", "step": 5}
    torch.save(data, path, _use_new_zipfile_serialization=not legacy)
    header = read_header(path)
    assert header.container == "pickle"
    assert header.tensors["string_to_param.*"].shape == (2, 768)
    assert header.metadata == {"name": "x", "step": "5"}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("patchbay-was-here"),))  # type: ignore[return-value]


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": Evil()}, path)
    with pytest.raises(HeaderError, match="not a PyTorch file that can be read safely"):
        read_header(path)


def test_a_pickled_lora_is_measured_like_its_safetensors(tmp_path: Path) -> None:
    path = klein_nano_lora(tmp_path / "x.safetensors")
    torch.save(load_file(path), tmp_path / "x.bin")
    first, second = (inspect_file(tmp_path / name, tensors=True) for name in ("x.safetensors", "x.bin"))
    norms = [{layer.lora_key: layer.delta_norm for layer in report.layers} for report in (first, second)]
    assert norms[0] == norms[1]
    assert len(norms[0]) == 22


def test_model_norms_are_finite(tmp_path: Path) -> None:
    save_file(
        {"a.lora_A.weight": torch.full((4, 4), 1e38), "a.lora_B.weight": torch.full((4, 4), 1e38)},
        tmp_path / "x.safetensors",
    )
    (layer,) = inspect_file(tmp_path / "x.safetensors", tensors=True).layers
    assert layer.delta_norm is not None
    assert math.isfinite(layer.delta_norm)

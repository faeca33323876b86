"""A saved LoRA at strength 1 in ComfyUI's own loader does what Apply LoRA did with the strengths beside it."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import SHARED, added, stock
from nano_models import flux2_state_dict, kohya_lora, native_lora, write
from safetensors.torch import load_file
from support import one_of_each, some
from writer_files import TOOL_FILES, kind_of_file, write_tool_file
from writer_reference import Deltas, relative_error

SIZES = {"hidden": 128, "double": 2, "single": 3}
BLOCKS = "double_blocks.0=0.25, double_blocks.1=-1, single_blocks.1=0"
EXACT = 2e-6
ROUNDED = 2.5e-3
"""For files in bfloat16, whose factors are rounded where a conversion writes them anew."""

UNCHANGED = ("_lora", "_rslora", "_patterns", "_loha", "_lokr", "_lokr_whole", "_full")
"""Endings of the kinds that hold any strength and that ComfyUI computes as meant, once names and alpha are right."""


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """The pack's host modules."""
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.core.files import header
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bake import save

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, save=save.save_lora, options=bake_file.make_options,
        Error=errors.PatchbayError, State=report.LayerState, Level=report.Level, header=header.read_header,
        COMFY=save.COMFY_NAMES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bfl() -> dict[str, torch.Tensor]:
    return flux2_state_dict(seed=4, **SIZES)


@pytest.fixture(scope="module")
def model(host: Any, bfl: dict[str, torch.Tensor]) -> Any:
    return host.sd.load_diffusion_model_state_dict(dict(bfl))


@pytest.fixture(scope="module")
def tool_file(
    tmp_path_factory: pytest.TempPathFactory, bfl: dict[str, torch.Tensor]
) -> Callable[[str], tuple[str, Deltas]]:
    """Files of the real tools, each made once."""
    for tool in ("peft", "diffusers", "lycoris"):
        pytest.importorskip(tool)
    known: dict[str, tuple[str, Deltas]] = {}

    def make(name: str) -> tuple[str, Deltas]:
        if name not in known:
            known[name] = write_tool_file(name, tmp_path_factory.mktemp(name), bfl)
        return known[name]

    return make


class Saver:
    """Saves into a folder of the test, and says what the loaders make of the file."""

    def __init__(self, host: Any, model: Any, folder: Path) -> None:
        self._host, self._model, self._folder = host, model, folder

    def __call__(
        self,
        path: str,
        blocks: str = "",
        convert: str = "never",
        rank: int = 0,
        energy: float = 1.0,
        dtype: str = "as in the file",
        strength: float = 1.0,
        **more: Any,
    ) -> Any:
        options = self._host.options(convert, rank, energy, dtype)
        target = self._folder / "saved.safetensors"
        strengths = (strength, more.pop("strength_clip", 1.0))
        return self._host.save(
            path, "folder/source.safetensors", self._model, None, strengths, blocks, options, target, **more
        )

    def meant(self, path: str, blocks: str = "", strength: float = 1.0) -> Deltas:
        return added(self._host.apply(path, "x", self._model, None, strength, 0.0, blocks).model)

    def stock(self, saved: Any) -> Deltas:
        return added(stock(self._model, str(saved.file.path)))

    def ours(self, saved: Any) -> Deltas:
        return self.meant(str(saved.file.path))


@pytest.fixture
def saver(host: Any, model: Any, tmp_path: Path) -> Saver:
    return Saver(host, model, tmp_path)


@pytest.mark.parametrize("name", one_of_each(TOOL_FILES, kind_of_file))
def test_the_stock_loader_does_what_was_meant(saver: Saver, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    saved = saver(path, BLOCKS, "difference where needed", strength=0.7)
    meant = saver.meant(path, BLOCKS, 0.7)
    assert relative_error(saver.stock(saved), meant) < EXACT
    assert relative_error(saver.ours(saved), meant) < EXACT
    assert not any("single_blocks.1." in key for key in some(saver.stock(saved)))
    converted = any(layer.converted for _, layer in some(saved.file.layers))
    assert converted is not name.endswith(UNCHANGED)


@pytest.mark.parametrize("name", one_of_each(TOOL_FILES, kind_of_file))
def test_without_a_conversion_the_format_stays(host: Any, saver: Saver, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    saved = saver(path, "single_blocks.1=0") if "three_terms" not in name and "oft_exact" not in name else None
    if saved is None:
        with pytest.raises(host.Error, match=r"adapter_config\.json"):
            saver(path)
        return
    meant = saver.meant(path, "single_blocks.1=0")
    assert relative_error(saver.ours(saved), meant) < EXACT
    wrong = relative_error(saver.stock(saved), meant) > EXACT
    assert (saved.report.level is host.Level.WARNING) or not wrong
    assert not any(layer.converted for _, layer in some(saved.file.layers))


@pytest.mark.parametrize("name", ["peft_raw_dora", "lycoris_oft", "lycoris_boft", "peft_raw_oft", "lycoris_ia3"])
def test_lora_of_full_rank_is_exact_too(saver: Saver, tool_file: Any, name: str) -> None:
    path, _ = tool_file(name)
    saved = saver(path, BLOCKS, "LoRA where needed", rank=384, strength=0.7)
    assert relative_error(saver.stock(saved), saver.meant(path, BLOCKS, 0.7)) < EXACT


@pytest.mark.parametrize("name", ["lycoris_oft", "peft_raw_dora"])
def test_a_format_without_strength_is_refused_with_the_way_out(
    host: Any, saver: Saver, tool_file: Any, name: str, tmp_path: Path
) -> None:
    with pytest.raises(host.Error, match='cannot hold their strength.*Set convert to "difference where needed"'):
        saver(tool_file(name)[0], strength=0.5)
    with pytest.raises(host.Error, match="Give a rank, or an energy"):
        saver(tool_file(name)[0], convert="LoRA where needed", strength=0.5)
    assert not list(tmp_path.iterdir())


SLICES = "double_blocks.0.q=0, double_blocks.1.v=-0.5, single_blocks.2.attn=0.5, single_blocks.1.mlp=0"


@pytest.mark.parametrize("style", [kohya_lora, native_lora])
@pytest.mark.parametrize("rank", [0, 3])
def test_slices_of_fused_weights(saver: Saver, tmp_path: Path, style: Any, rank: int) -> None:
    path = write(tmp_path / "x.safetensors", style(**SIZES))
    saved = saver(path, SLICES, strength=0.7, rank=rank)
    meant = saver.meant(path, SLICES, 0.7)
    if not rank:
        assert relative_error(saver.stock(saved), meant) < EXACT
        return
    for layer, result in saved.file.layers:
        key = "diffusion_model." + layer.name.removeprefix("diffusion_model.") + ".weight"
        if key in meant:
            found = saver.stock(saved)[key]
            assert result.error == pytest.approx(relative_error({key: found}, {key: meant[key]}), rel=1e-3)


def test_a_resized_file_says_its_error_layer_by_layer(saver: Saver, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", native_lora(**SIZES))
    saved = saver(path, rank=2, dtype="bfloat16")
    meant, found = saver.meant(path), saver.stock(saved)
    for layer, result in saved.file.layers:
        key = f"{layer.name}.weight"
        assert result.error == pytest.approx(relative_error({key: found[key]}, {key: meant[key]}), rel=1e-2)
    assert {tensor.dtype for tensor in load_file(saved.file.path).values() if tensor.dim()} == {torch.bfloat16}
    assert all("rank 4 to 2: error" in layer.reason for layer in some(saved.report.layers))
    assert any("Largest error of a layer" in note for note in saved.report.notes)
    assert saved.file.size_bytes == saved.file.path.stat().st_size


def test_names_that_stock_does_not_know_are_replaced_and_that_is_said(
    host: Any, saver: Saver, model: Any, tmp_path: Path
) -> None:
    state = {key.replace("diffusion_model.", "base_model.model."): t for key, t in native_lora(**SIZES).items()}
    path = write(tmp_path / "x.safetensors", state)
    assert not stock(model, path).patches
    saved = saver(path)
    assert relative_error(saver.stock(saved), saver.meant(path)) < EXACT
    assert set(load_file(saved.file.path)) == set(native_lora(**SIZES))
    assert any("under names that ComfyUI's own loader knows" in note for note in saved.report.notes)


def test_names_of_the_file_are_kept_or_made_comfyuis(host: Any, saver: Saver, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", kohya_lora(**SIZES))
    assert set(load_file(saver(path).file.path)) == set(kohya_lora(**SIZES))
    renamed = saver(path, names=host.COMFY, overwrite=True)
    assert all(
        key.startswith("diffusion_model.double_blocks") or "single" in key for key in some(load_file(renamed.file.path))
    )
    assert relative_error(saver.stock(renamed), saver.meant(path)) < EXACT


def test_a_scale_of_the_metadata_moves_into_alpha(host: Any, saver: Saver, tool_file: Any) -> None:
    path, _ = tool_file("diffusers_pipeline_patterns")
    saved = saver(path, strength=0.5)
    assert "lora_adapter_metadata" not in host.header(saved.file.path).metadata
    assert any("lora_adapter_metadata is removed" in note for note in saved.report.notes)
    assert relative_error(saver.stock(saved), saver.meant(path, "", 0.5)) < EXACT


def test_provenance_is_in_the_file(host: Any, saver: Saver, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", native_lora(**SIZES), {"ss_output_name": "style"})
    held = host.header(saver(path, "double_blocks.0=0.5", strength=2.0).file.path).metadata
    assert held["ss_output_name"] == "style"
    assert held["patchbay.source"] == "source.safetensors"
    assert len(held["patchbay.source_sha256"]) == 64
    assert (held["patchbay.strength_model"], held["patchbay.blocks"]) == ("2.0", "double_blocks.0=0.5")
    assert "FLUX.2" in held["patchbay.model"]


def test_text_encoder_layers_without_a_clip_are_kept(host: Any, saver: Saver, tmp_path: Path) -> None:
    prefix = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    state = {f"{prefix}.lora_down.weight": torch.ones(4, 8), f"{prefix}.lora_up.weight": torch.ones(8, 4)}
    path = write(tmp_path / "x.safetensors", kohya_lora(**SIZES) | state)
    saved = saver(path, "te=0.5", strength_clip=0.5)
    held = load_file(saved.file.path)
    assert float(held[f"{prefix}.alpha"]) == 4 * 0.25
    layer = next(layer for layer in saved.report.layers if layer.lora_key == prefix)
    assert (layer.state, layer.strength) == (host.State.APPLIED, 0.25)
    assert prefix + ".alpha" not in load_file(saver(path, "te=0", overwrite=True).file.path)


@pytest.mark.parametrize(
    "prefix",
    ["lora_te_", "lora_te1_", "text_encoder.", "te2_", "clip_l.transformer.", "base_model.model.", "conditioner."],
)
def test_what_apply_calls_a_text_encoders_is_what_save_keeps(
    host: Any, saver: Saver, tmp_path: Path, model: Any, prefix: str
) -> None:
    name = prefix + "text_model.encoder.layers.0.mlp.fc1".replace(".", "_" if prefix.endswith("_") else ".")
    state = {f"{name}.lora_down.weight": torch.ones(4, 8), f"{name}.lora_up.weight": torch.ones(8, 4)}
    path = write(tmp_path / "x.safetensors", kohya_lora(**SIZES) | state)
    applied = host.apply(path, "x", model, None, 1.0, 1.0, "")
    layer = next(layer for layer in applied.report.layers if layer.lora_key == name)
    assert "it belongs to a text encoder" in layer.reason
    assert any(key.startswith(name) for key in load_file(saver(path, "").file.path))


def test_the_work_of_saving_grows_with_the_layers_and_not_with_their_square(
    host: Any, saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pack.nodes.host.bake import layers, report

    compared: list[int] = []
    inside = layers.lies_inside

    def counted(*args: Any) -> bool:
        compared.append(1)
        return inside(*args)

    for module in (layers, report):
        monkeypatch.setattr(module, "lies_inside", counted)
    path = write(tmp_path / "x.safetensors", native_lora(**SIZES))
    saved = saver(path, "double_blocks.0.q=0.5")
    assert len(saved.report.layers) > 8
    assert len(compared) < 4 * len(saved.report.layers)


def test_a_file_that_cannot_be_replaced_costs_a_number_and_not_the_work(
    host: Any, saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows replaces no file that is mapped into memory: what our own cache maps is let go, the rest is said."""
    import os

    from pack.nodes.host.apply.lora_cache import LORA_CACHE

    path = write(tmp_path / "x.safetensors", native_lora(**SIZES))
    first = saver(path, "").file.path
    before = first.read_bytes()
    held = LORA_CACHE.load(str(first), first.name)
    replace = os.replace

    def mapped(source: Any, target: Any) -> None:
        assert all(file is not held for file in LORA_CACHE._files.values())
        if Path(target) == first:
            raise OSError(22, "The requested operation cannot be performed on a file with a user-mapped section open")
        replace(source, target)

    monkeypatch.setattr(os, "replace", mapped)
    saved = saver(path, "all=0.5", overwrite=True)
    assert first.read_bytes() == before
    assert saved.file.path != first
    assert float(next(t for k, t in load_file(saved.file.path).items() if k.endswith(".alpha")))
    assert any("could not be replaced" in note and saved.file.path.name in note for note in saved.report.notes)
    assert not any("is replaced." in note for note in saved.report.notes)


def test_nothing_left_to_write_is_an_error(host: Any, saver: Saver, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", native_lora(**SIZES))
    with pytest.raises(host.Error, match="no layer is left to write"):
        saver(path, "all=0")


def test_a_number_instead_of_an_overwritten_file(saver: Saver, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", native_lora(**SIZES))
    names = [saver(path).file.path.name for _ in range(3)]
    assert names == ["saved.safetensors", "saved_00001_.safetensors", "saved_00002_.safetensors"]
    saved = saver(path, overwrite=True)
    assert saved.file.path.name == "saved.safetensors"
    assert any("is replaced" in note for note in saved.report.notes)


def test_the_node_writes_into_the_users_loras(pack_nodes: Any, comfy_in_process: Any, model: Any) -> None:
    import folder_paths

    folder = Path(comfy_in_process.base) / "models" / "loras"
    folder.mkdir(exist_ok=True)
    write(folder / "from.safetensors", native_lora(**SIZES))
    node = pack_nodes["PatchbaySaveLora"]
    arguments = (model, "from.safetensors", 0.5, 1.0, "", "sub/new", "never", 0, 1.0, "as in the file")
    name, report, text = node.execute(*arguments, "as in the file", False).args
    assert Path(name) == Path("sub/new.safetensors")
    assert (folder / name).is_file()
    assert name in folder_paths.get_filename_list("loras")
    assert report.kind == "save"
    assert "22 layers written to new.safetensors" in text
    assert node.validate_inputs(file_name="../out", blocks="") is not True
    with pytest.raises(ValueError, match="not replaced by itself"):
        node.execute(*arguments[:5], "from", *arguments[6:], "as in the file", True)


@pytest.mark.skipif(not (SHARED / "loras").is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("convert", ["difference where needed", "LoRA where needed"])
@pytest.mark.parametrize(
    "path",
    one_of_each(sorted(SHARED.glob("loras/*.safetensors")), lambda path: kind_of_file(path.stem)),
    ids=lambda path: path.stem,
)
def test_the_shared_files(host: Any, tmp_path: Path, path: Path, convert: str) -> None:
    model = host.sd.load_diffusion_model(str(SHARED / "nano" / "nano_2x3_bfl_f32.safetensors"))
    saver = Saver(host, model, tmp_path)
    if path.stem == "lycoris_dylora":
        with pytest.raises(host.Error, match="no layer is left to write"):
            saver(str(path))
        return
    saved = saver(str(path), BLOCKS, convert, rank=384, strength=0.7)
    meant = saver.meant(str(path), BLOCKS, 0.7)
    limit = ROUNDED if path.stem.startswith("comfyui_") else EXACT
    assert relative_error(saver.stock(saved), meant) < limit

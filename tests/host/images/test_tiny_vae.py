"""PatchbayLoadTinyVAE against ComfyUI's own Load VAE on the same weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "taef2"
"""The published taef2 weights; the test that needs them is skipped where they are not."""


@pytest.fixture(scope="module")
def node(pack_nodes: dict[str, Any]) -> Any:
    return pack_nodes["PatchbayLoadTinyVAE"]


@pytest.fixture(scope="module")
def flux2(pack_nodes: dict[str, Any]) -> None:
    """Skips where ComfyUI itself does not know the layout."""
    import comfy.taesd.taesd

    if not hasattr(comfy.taesd.taesd, "EncoderFlux2"):
        pytest.skip("this ComfyUI has no tiny FLUX.2 autoencoder")


@pytest.fixture
def folder(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ``vae_approx`` folder of its own."""
    import folder_paths

    _, suffixes = folder_paths.folder_names_and_paths["vae_approx"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "vae_approx", ([str(tmp_path)], suffixes))
    folder_paths.filename_list_cache.pop("vae_approx", None)
    yield tmp_path
    folder_paths.filename_list_cache.pop("vae_approx", None)


def random_weights(part: str) -> dict[str, torch.Tensor]:
    import comfy.taesd.taesd

    torch.manual_seed(3)
    module = getattr(comfy.taesd.taesd, part)()
    return {key: torch.randn_like(value) * 0.03 for key, value in module.state_dict().items()}


def write_pair(folder: Path, name: str) -> None:
    save_file(random_weights("EncoderFlux2"), folder / f"{name}_encoder.safetensors")
    save_file(random_weights("DecoderFlux2"), folder / f"{name}_decoder.safetensors")


def load(node: Any, name: str) -> Any:
    return node.PREPARE_CLASS_CLONE(None).execute(name).args[0]


def stock(name: str) -> Any:
    import nodes as stock_nodes

    return vars(stock_nodes)["VAELoader"]().load_vae(name)[0]


@pytest.mark.usefixtures("flux2")
def test_only_complete_pairs_are_listed(node: Any, folder: Path) -> None:
    write_pair(folder, "mine")
    write_pair(folder, "b")
    save_file(random_weights("EncoderFlux2"), folder / "half_encoder.safetensors")
    save_file({"x": torch.zeros(1)}, folder / "taehv.safetensors")
    listed = node.define_schema().inputs[0].options
    assert listed == sorted(listed)
    assert {"b", "mine"} <= set(listed)
    assert not {"half", "taehv"} & set(listed)


@pytest.mark.usefixtures("flux2")
def test_it_is_the_vae_that_comfyui_loads_under_the_name_taef2(
    node: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pair(folder, "mine")
    for part in ("encoder", "decoder"):
        shutil.copy(folder / f"mine_{part}.safetensors", folder / f"taef2_{part}.safetensors")
    ours = load(node, "mine")
    assert "Missing" not in caplog.text
    theirs = stock("taef2")
    assert type(ours) is type(theirs)
    assert ours.latent_channels == theirs.latent_channels == 128
    latent = torch.randn(2, 128, 3, 4)
    picture = ours.decode(latent.clone())
    assert picture.shape == (2, 48, 64, 3)
    assert torch.equal(picture, theirs.decode(latent.clone()))
    assert torch.equal(ours.encode(picture), theirs.encode(picture))
    assert ours.encode(picture).shape == (2, 128, 3, 4)


@pytest.mark.usefixtures("flux2")
def test_sides_that_are_no_multiple_of_16_are_cropped(node: Any, folder: Path) -> None:
    write_pair(folder, "mine")
    assert load(node, "mine").encode(torch.rand(1, 72, 40, 3)).shape == (1, 128, 4, 2)


@pytest.mark.usefixtures("flux2")
def test_tiled_decoding_has_the_right_size(node: Any, folder: Path) -> None:
    write_pair(folder, "mine")
    picture = load(node, "mine").decode_tiled(torch.randn(1, 128, 20, 20), tile_x=16, tile_y=16, overlap=4)
    assert picture.shape == (1, 320, 320, 3)


@pytest.mark.usefixtures("flux2")
def test_another_family_is_refused(node: Any, folder: Path) -> None:
    import comfy.taesd.taesd as taesd

    save_file(taesd.Encoder(4).state_dict(), folder / "sd_encoder.safetensors")
    save_file(taesd.Decoder(4).state_dict(), folder / "sd_decoder.safetensors")
    with pytest.raises(ValueError, match="sd_encoder.safetensors: a tiny autoencoder of another family"):
        load(node, "sd")


@pytest.mark.usefixtures("flux2")
def test_other_weights_are_refused(node: Any, folder: Path) -> None:
    write_pair(folder, "mine")
    weights = random_weights("DecoderFlux2")
    del weights["1.weight"]
    weights["nonsense"] = torch.zeros(1)
    save_file(weights, folder / "mine_decoder.safetensors")
    with pytest.raises(ValueError, match=r'mine_decoder.safetensors: not the layout .*; 2 tensors .* "1.weight"'):
        load(node, "mine")
    weights = random_weights("EncoderFlux2")
    weights["0.bias"] = torch.zeros(3)
    save_file(weights, folder / "mine_encoder.safetensors")
    with pytest.raises(ValueError, match=r'mine_encoder.safetensors: .*; 1 tensors .* "0.bias"'):
        load(node, "mine")


def test_an_older_comfyui_is_told_apart(node: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.taesd.taesd

    for part in ("encoder", "decoder"):
        save_file({"x": torch.zeros(1)}, folder / f"mine_{part}.safetensors")
    monkeypatch.delattr(comfy.taesd.taesd, "EncoderFlux2", raising=False)
    with pytest.raises(ValueError, match="Update ComfyUI"):
        load(node, "mine")


def test_a_missing_file_is_named(node: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match="no file gone_encoder.safetensors in models/vae_approx"):
        load(node, "gone")


@pytest.mark.usefixtures("flux2")
def test_the_bundled_autoencoder_brings_a_picture_back(node: Any) -> None:
    vae = load(node, "klein-nano")
    picture = torch.ones(1, 128, 128, 3)
    y, x = torch.meshgrid(torch.arange(128) - 64, torch.arange(128) - 64, indexing="ij")
    picture[0, (x.square() + y.square()).sqrt() < 40] = torch.tensor([0.95, 0.75, 0.2])
    latent = vae.encode(picture)
    assert latent.shape == (1, 128, 8, 8)
    mse = (vae.decode(latent) - picture).square().mean()
    assert -10 * torch.log10(mse) > 20


@pytest.mark.usefixtures("flux2")
@pytest.mark.skipif(not REAL.exists(), reason="no taef2 weights here")
def test_the_published_weights_bring_a_picture_back(node: Any, folder: Path) -> None:
    for part in ("encoder", "decoder"):
        state = torch.load(REAL / f"taef2_{part}.pth", weights_only=True)
        save_file(state, folder / f"published_{part}.safetensors")
    vae = load(node, "published")
    ramp = torch.linspace(0.1, 0.9, 64)
    across, down = ramp[None].expand(64, 64), ramp[:, None].expand(64, 64)
    picture = torch.stack([across, down, torch.full((64, 64), 0.5)], -1)[None]
    decoded = vae.decode(vae.encode(picture))
    assert decoded.shape == picture.shape
    assert (decoded - picture).abs().mean() < 0.05

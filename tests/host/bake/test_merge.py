"""A merged LoRA at strength 1 does what its sources do one after the other, in ComfyUI's own loader and in ours."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_cases import added, stock
from nano_models import flux2_state_dict, kohya_lora, native_lora, write
from safetensors import safe_open
from support import some
from writer_files import TOOL_FILES, write_tool_file
from writer_reference import Deltas, relative_error

SIZES = {"hidden": 128, "double": 2, "single": 3}
BLOCKS = "double_blocks.0=0.25, single_blocks.1=0, double_blocks.1.q=-1"
EXACT = 2e-6
ALWAYS = ("peft_raw_oft", "diffusers_model_lora", "lycoris_loha", "lycoris_lokr_whole", "lycoris_lora_dora")
KINDS = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.all) for name in TOOL_FILES]
"""One of each way of merging runs always: refused, rows in another order, factors of products, sums, a weight's own."""


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.core.files import header
    from pack.nodes.host.apply import apply
    from pack.nodes.host.apply.plan import MATCHES
    from pack.nodes.host.bake import merge

    return types.SimpleNamespace(
        sd=comfy.sd, apply=apply.apply_lora, merge=merge, options=bake_file.make_options, keys=MATCHES.model_keys,
        Error=errors.PatchbayError, header=header.read_header,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bfl() -> dict[str, torch.Tensor]:
    return flux2_state_dict(seed=4, **SIZES)


@pytest.fixture(scope="module")
def model(host: Any, bfl: dict[str, torch.Tensor]) -> Any:
    return host.sd.load_diffusion_model_state_dict(dict(bfl))


class Merger:
    """Merges files, and says what they do one after the other and what the merged one does."""

    def __init__(self, host: Any, model: Any, folder: Path) -> None:
        self._host, self._model, self._folder = host, model, folder

    def __call__(self, sources: list[tuple[str, float, str]], rank: int = 0, dtype: str = "as in the file") -> Any:
        merge = self._host.merge
        read = [
            merge.MergeSource(self._host.header(path), strength, strength, blocks) for path, strength, blocks in sources
        ]
        merging = merge.merge_model(self._host.keys(self._model, None), self._model)
        plan = merge.plan_merge(read, merging)
        target = self._folder / "merged.safetensors"
        return merge.write_merged(target, plan, read, self._host.options("never", rank, 1.0, dtype), merging)

    def chained(self, sources: list[tuple[str, float, str]]) -> Deltas:
        model = self._model
        for path, strength, blocks in sources:
            model = self._host.apply(path, Path(path).name, model, None, strength, 0.0, blocks).model
        return added(model)

    def stock(self, merged: Any) -> Deltas:
        return added(stock(self._model, str(merged.path)))


@pytest.fixture
def merger(host: Any, model: Any, tmp_path: Path) -> Merger:
    return Merger(host, model, tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> list[tuple[str, float, str]]:
    """Two LoRAs of different spelling, rank and scale."""
    one = write(tmp_path / "native.safetensors", native_lora(rank=4, seed=1, **SIZES))
    two = write(tmp_path / "kohya.safetensors", kohya_lora(rank=6, alpha=2.0, seed=2, **SIZES))
    return [(one, 0.7, ""), (two, -0.4, BLOCKS)]


def test_two_spellings_become_one_file_of_the_models_own_names(merger: Merger, plain: Any) -> None:
    merged = merger(plain)
    meant = merger.chained(plain)
    assert relative_error(merger.stock(merged), meant) < EXACT
    assert merged.error == 0.0
    with safe_open(merged.path, "pt") as file:
        ranks = {file.get_slice(key).get_shape()[0] for key in file.keys() if "lora_down" in key}  # noqa: SIM118
    assert ranks == {4, 10}  # single_blocks.1 is left to the first file


def test_files_of_one_spelling_keep_it(merger: Merger, plain: Any, tmp_path: Path) -> None:
    other = write(tmp_path / "third.safetensors", kohya_lora(rank=3, alpha=3.0, seed=5, **SIZES))
    sources = [(plain[1][0], 0.5, ""), (other, 1.25, "")]
    merged = merger(sources)
    assert relative_error(merger.stock(merged), merger.chained(sources)) < EXACT
    with safe_open(merged.path, "pt") as file:
        assert all(key.startswith("lora_unet_") for key in some(file.keys()))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_merges_with_a_lora(
    host: Any, merger: Merger, plain: Any, bfl: Any, name: str, tmp_path: Path
) -> None:
    for tool in ("peft", "diffusers", "lycoris"):
        pytest.importorskip(tool)
    path, _ = write_tool_file(name, tmp_path / "tool", bfl)
    sources = [plain[0], (path, 0.6, ""), plain[1]]
    if (name.startswith("peft_raw") and "oft" in name) or name.endswith("bounded"):
        with pytest.raises(host.Error, match=r"adapter_config\.json|its alpha bounds the rotation"):
            merger(sources)
        return
    merged = merger(sources)
    assert relative_error(merger.stock(merged), merger.chained(sources)) < EXACT


def test_a_rank_gives_the_error_that_it_states(merger: Merger, plain: Any) -> None:
    merged = merger(plain, rank=3)
    error = relative_error(merger.stock(merged), merger.chained(plain))
    assert error == pytest.approx(merged.error, rel=1e-3)
    assert 0.05 < merged.error < 0.95

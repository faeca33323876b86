"""A changed strength patches only what changed, and the weights are the very ones of a full load."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, kohya_lora, native_lora, write

pytestmark = pytest.mark.host
SIZE = {"hidden": 128, "double": 2, "single": 3}
ALL = 2 * 8 + 3 * 2
"""Patched weights of the whole model."""


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    import comfy.model_management
    import comfy.sampler_helpers
    import comfy.sd
    import comfy.utils
    from pack.nodes.host import apply, restaging

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, mm=comfy.model_management, apply=apply.apply_lora, restaging=restaging,
    )  # fmt: skip


@pytest.fixture
def base(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZE))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("restaging") / "lora.safetensors", kohya_lora(**SIZE))


def applied(host: Any, path: str, model: Any, blocks: str = "", strength: float = 1.0) -> Any:
    return host.apply(path, "lora", model, None, strength, 0.0, blocks).model


def sample(model: Any) -> torch.Tensor:
    """Two steps through ComfyUI's guider, which loads the model as a workflow does."""
    import comfy.samplers

    generator = torch.Generator().manual_seed(5)
    guider = comfy.samplers.CFGGuider(model)
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {}]]
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=0, disable_pbar=True)


def fully_loaded(host: Any, monkeypatch: pytest.MonkeyPatch, model: Any) -> torch.Tensor:
    """The same run after everything was taken out of memory, with re-staging off."""
    host.mm.unload_all_models()
    monkeypatch.setenv(host.restaging.SWITCH, "off")
    latent = sample(model)
    monkeypatch.delenv(host.restaging.SWITCH)
    host.mm.unload_all_models()
    return latent


def test_one_block_changes_and_the_picture_is_that_of_a_full_load(host, base, path, monkeypatch) -> None:
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    sample(first)
    assert host.restaging.last_restaging(first) is None
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) == host.restaging.Restaging(changed=2, kept=ALL - 2)


@pytest.mark.parametrize("blocks", ["all=0.3", "all=-1", "single_blocks=0", "double_blocks.0.img=0", "double_blocks=2"])
def test_any_change_there_and_back(host, base, path, monkeypatch, blocks: str) -> None:
    first, second = applied(host, path, base), applied(host, path, base, blocks)
    expected = [fully_loaded(host, monkeypatch, model) for model in (first, second)]
    for _ in range(2):
        assert torch.equal(sample(first), expected[0])
        assert torch.equal(sample(second), expected[1])
    assert host.restaging.last_restaging(second) is not None


def test_a_model_without_the_lora_is_known_by_its_clones(host, base, path, monkeypatch) -> None:
    patched = applied(host, path, base, "all=0, single_blocks.0=1")
    plain, expected = fully_loaded(host, monkeypatch, base), fully_loaded(host, monkeypatch, patched)
    assert torch.equal(sample(base), plain)
    assert torch.equal(sample(patched), expected)
    assert host.restaging.last_restaging(patched) == host.restaging.Restaging(changed=2, kept=0)
    assert torch.equal(sample(base), plain)


def test_chains_with_the_stock_loader(host, base, path, tmp_path, monkeypatch) -> None:
    state = native_lora(**SIZE)
    other = write(tmp_path / "other.safetensors", state)

    def chain(blocks: str) -> Any:
        return applied(host, path, applied(host, other, stock), blocks)

    stock = host.sd.load_lora_for_models(base, None, {k: v * 0.5 for k, v in state.items()}, 0.7, 0.0)[0]
    first, second = chain(""), chain("double_blocks.1.txt=0.2")
    expected = fully_loaded(host, monkeypatch, second)
    sample(first)
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second).changed == 4


def test_another_model_in_between_leads_to_a_full_load(host, base, path, monkeypatch) -> None:
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    sample(first)
    stranger = host.sd.load_lora_for_models(base, None, native_lora(**SIZE), 1.0, 0.0)[0]
    sample(stranger)
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) is None


def test_a_failure_on_the_way_leads_to_a_full_load(host, base, path, monkeypatch, caplog) -> None:
    first, second = applied(host, path, base), applied(host, path, base, "all=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    sample(first)
    patch, calls = second.patch_weight_to_device, []

    def fails_once(key: str, **options: Any) -> Any:
        calls.append(key)
        if len(calls) == 5:
            raise RuntimeError("out of memory, say")
        return patch(key, **options)

    monkeypatch.setattr(second, "patch_weight_to_device", fails_once)
    assert torch.equal(sample(second), expected)
    assert "all are loaded anew" in caplog.text
    assert host.restaging.last_restaging(second) is None


def test_hooks_are_left_to_comfyui(host, base, path) -> None:
    import comfy.hooks

    first, second = applied(host, path, base), applied(host, path, base, "all=0.5")
    sample(first)
    second.forced_hooks = comfy.hooks.HookGroup()
    second.hook_patches = {"hook": {}}
    assert host.restaging._known_patches(second) is None


class _Page:
    """In the place of a page of comfy-aimdo, which exists on NVIDIA only."""


def test_signatures_of_unchanged_modules_are_put_back(host, base, path) -> None:
    """The part for dynamic VRAM, on real modules; ComfyUI's side of it needs a GPU (tests/gpu/restage_bench.py)."""
    second = applied(host, path, base, "single_blocks.1=0.5")
    names = [name for name, module in second.model.named_modules() if getattr(module, "weight", None) is not None]
    for name in names:
        module = host.utils.get_attr(second.model, name)
        module._v, module._v_signature = _Page(), name
    given_up = next(name for name in names if "single_blocks.2" in name)
    keep = host.restaging._DynamicKeep(second, ["diffusion_model.single_blocks.1.linear1.weight"])
    for name in names:
        host.utils.get_attr(second.model, name)._v_signature = None
    host.utils.get_attr(second.model, given_up)._v = _Page()
    assert keep.put_back() == host.restaging.Restaging(changed=1, kept=len(names) - 2)
    lost = {name for name in names if host.utils.get_attr(second.model, name)._v_signature is None}
    assert lost == {"diffusion_model.single_blocks.1.linear1", given_up}

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
    from pack.nodes.host.apply import apply
    from pack.nodes.host.restage import keep, restaging
    from pack.nodes.host.restage import self_check as restaging_check

    return types.SimpleNamespace(
        sd=comfy.sd, utils=comfy.utils, mm=comfy.model_management, apply=apply.apply_lora, restaging=restaging,
        restaging_check=restaging_check, keep=keep,
    )  # fmt: skip


@pytest.fixture
def base(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZE))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("restaging") / "lora.safetensors", kohya_lora(**SIZE))


def applied(host: Any, path: str, model: Any, blocks: str = "", strength: float = 1.0) -> Any:
    return host.apply(path, "lora", model, None, strength, 0.0, blocks).model


def sample(model: Any, callback: Any = None) -> torch.Tensor:
    """Two steps through ComfyUI's guider, which loads the model as a workflow does."""
    import comfy.samplers

    generator = torch.Generator().manual_seed(5)
    guider = comfy.samplers.CFGGuider(model)
    conditioning = [[torch.randn(1, 4, 64, generator=generator), {"pooled_output": torch.zeros(1, 8)}]]
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    noise = torch.randn(1, 128, 4, 4, generator=generator)
    sampler = comfy.samplers.sampler_object("euler")
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    return guider.sample(
        noise, torch.zeros_like(noise), sampler, sigmas, callback=callback, seed=0, disable_pbar=True
    )  # fmt: skip


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
    assert host.restaging.last_restaging(second) == host.keep.Restaging(changed=2, kept=ALL - 2)
    assert host.restaging.last_restaging(base) is None


@pytest.mark.parametrize("blocks", ["all=-1", "single_blocks=0", "double_blocks.0.img=0"])
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
    assert host.restaging.last_restaging(patched) == host.keep.Restaging(changed=2, kept=0)
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


def fails(error: BaseException) -> Any:
    def callback(*_: Any) -> None:
        raise error

    return callback


def test_after_a_failed_run_everything_is_loaded_anew(host, base, path, monkeypatch) -> None:
    """ComfyUI marks a page as resident before the weight in it is patched: a failure may leave it as it was."""
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    with pytest.raises(RuntimeError, match="out of memory"):
        sample(first, fails(RuntimeError("out of memory, say")))
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) is None
    sample(first)
    assert host.restaging.last_restaging(first) is not None


def test_an_interrupted_run_is_as_good_as_any(host, base, path, monkeypatch) -> None:
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    with pytest.raises(host.mm.InterruptProcessingException):
        sample(first, fails(host.mm.InterruptProcessingException()))
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) == host.keep.Restaging(changed=2, kept=ALL - 2)


def test_a_measurement_says_what_was_kept(host, base, path) -> None:
    from pack.nodes.host.measure.recorder import attach

    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    sample(first)
    measured, recorder = attach(second, "changed")
    sample(measured)
    sample(measured)
    changed, warm = recorder.runs
    sentence = f"2 weights have other LoRA strengths than in the run before; {ALL - 2} patched weights were kept."
    assert (changed.notes, warm.notes) == ((sentence,), ())


def test_what_cannot_be_known_is_loaded_anew(host, base, path) -> None:
    """Patches changed in place under the same number, another compute type, hooks, weight functions."""
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")

    def kept_after(change: Any) -> Any:
        host.mm.unload_all_models()
        sample(first)
        other = second.clone()
        undo = change(other)
        sample(other)
        if undo is not None:
            undo()
        return host.restaging.last_restaging(other)

    def in_place(_: Any) -> Any:
        key = next(iter(first.patches))
        saved, first.patches[key] = first.patches[key], first.patches[key][:-1]
        sample(first)
        return lambda: first.patches.update({key: saved})

    assert kept_after(lambda _: None) is not None
    assert kept_after(in_place) is None
    assert kept_after(lambda model: model.set_model_compute_dtype(torch.float16)) is None
    assert kept_after(lambda model: model.add_weight_wrapper(next(iter(model.patches)), lambda weight: weight)) is None


def test_hooks_are_left_to_comfyui(host, base, path) -> None:
    import comfy.hooks

    first, second = applied(host, path, base), applied(host, path, base, "all=0.5")
    sample(first)
    record = host.restaging._LOADED[base.model]
    assert host.restaging._known_patches(second, record) == record.patches
    second.forced_hooks = comfy.hooks.HookGroup()
    second.hook_patches = {"hook": {}}
    assert host.restaging._known_patches(second, record) is None


def test_the_self_check_passes_and_finds_a_wrong_weight(host, base, path, monkeypatch, caplog) -> None:
    """By the ordinary loader; under dynamic VRAM it is tests/gpu/restage_bench.py."""
    first, second = applied(host, path, base), applied(host, path, base, "single_blocks.1=0.5")
    expected = fully_loaded(host, monkeypatch, second)
    monkeypatch.setenv(host.restaging.SWITCH, "check")
    monkeypatch.setattr(host.restaging_check, "MODULES", ALL)
    monkeypatch.setattr(host.restaging, "_failed", [])
    sample(first)
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) == host.keep.Restaging(changed=2, kept=ALL - 2)
    sample(first)
    host.utils.get_attr(base.model, "diffusion_model.single_blocks.2.linear2.weight").data.add_(1)
    assert torch.equal(sample(second), expected)
    assert host.restaging.last_restaging(second) is None
    assert f"1 of {ALL - 2} weights" in caplog.text
    assert "differ from newly patched ones" in caplog.text
    sample(first)
    assert host.restaging.last_restaging(first) is None


class _Pages:
    """In the place of comfy-aimdo's device memory, which exists on NVIDIA only: pages that hold nothing."""

    def prioritize(self) -> None:
        """Nothing to do."""

    def __init__(self) -> None:
        self._end = 0

    def alloc(self, size: int) -> Any:
        """Pages, where they begin, and how many bytes they are."""
        self._end += size
        return object(), self._end - size, size

    def free_memory(self, size: float) -> int:
        """ComfyUI 0.33 asks for it when it takes a model down."""
        return 0


def dynamic(base: Any) -> Any:
    """ComfyUI's own patcher for dynamic VRAM, on a device without memory; its loader runs, the transfers do not."""
    import comfy.model_patcher

    if not hasattr(comfy.model_patcher, "ModelPatcherDynamic"):
        pytest.skip("this ComfyUI has no dynamic VRAM")
    device = torch.device("meta")
    patcher = object.__new__(comfy.model_patcher.ModelPatcherDynamic)
    comfy.model_patcher.ModelPatcher.__init__(patcher, base.model, device, torch.device("cpu"))
    patcher.non_dynamic_delegate_model = None
    base.model.dynamic_vbars = {device: _Pages()}
    subsets = ("weights", "patches", "weights-loaded", "patches-loaded")
    base.model.dynamic_pins = {device: {name: (None, [], [-1], [0], [0], {}) for name in subsets}}
    base.model.dynamic_pins[device]["hostbufs_initialized"] = True
    return patcher


def signatures(model: Any) -> dict[str, Any]:
    paged = ((name, module) for name, module in model.model.named_modules() if hasattr(module, "_v"))
    return {name: module._v_signature for name, module in paged}


def test_dynamic_vram_stages_only_what_changed(host, base, path, monkeypatch) -> None:
    """ComfyUI's dynamic loader and ours together; with real pages it is tests/gpu/restage_bench.py."""
    import comfy.patcher_extension

    plain = dynamic(base)
    first, second = applied(host, path, plain), applied(host, path, plain, "single_blocks.1=0.5")

    def run(model: Any, failing: bool = False) -> dict[str, Any]:
        """Load as the sampler does; what is left to stage, and then all of it staged."""
        left: dict[str, Any] = {}

        def load(patcher: Any) -> None:
            patcher.partially_load(patcher.load_device)

        def outer() -> None:
            prepare = model.get_wrappers("prepare_sampling", host.restaging.KEY)
            comfy.patcher_extension.WrapperExecutor.new_executor(load, prepare).execute(model)
            left.update(signatures(model))
            for name in left:
                host.utils.get_attr(model.model, name)._v_signature = f"{name} of {model.patches_uuid}"
            if failing:
                raise RuntimeError("out of memory, say")

        wrappers = model.get_wrappers("outer_sample", host.restaging.KEY)
        guider = types.SimpleNamespace(model_patcher=model)
        comfy.patcher_extension.WrapperExecutor.new_class_executor(lambda *_: outer(), guider, wrappers).execute()
        return left

    plain.partially_load(plain.load_device)
    assert len(signatures(plain)) > ALL
    assert set(run(first).values()) == {None}
    staged = run(second)
    changed = {"diffusion_model.single_blocks.1.linear1", "diffusion_model.single_blocks.1.linear2"}
    assert {name for name, value in staged.items() if value is None} == changed
    assert host.restaging.last_restaging(second) == host.keep.Restaging(2, len(staged) - 2)
    assert None not in run(second).values()
    plain.partially_load(plain.load_device)
    assert set(signatures(plain).values()) == {None}
    assert set(run(first).values()) == {None}
    with pytest.raises(RuntimeError):
        run(second, failing=True)
    assert set(run(first).values()) == {None}
    monkeypatch.setenv(host.restaging.SWITCH, "off")
    assert set(run(second).values()) == {None}


def test_a_page_that_was_given_up_is_not_kept(host, base, path) -> None:
    second = applied(host, path, base, "single_blocks.1=0.5")
    names = [name for name, module in second.model.named_modules() if getattr(module, "weight", None) is not None]
    for name in names:
        module = host.utils.get_attr(second.model, name)
        module._v, module._v_signature = object(), name
    given_up = next(name for name in names if "single_blocks.2" in name)
    keep = host.keep.DynamicKeep(second, ["diffusion_model.single_blocks.1.linear1.weight"])
    for name in names:
        host.utils.get_attr(second.model, name)._v_signature = None
    host.utils.get_attr(second.model, given_up)._v = object()
    assert keep.put_back() == host.keep.Restaging(changed=1, kept=len(names) - 2)
    lost = {name for name in names if host.utils.get_attr(second.model, name)._v_signature is None}
    assert lost == {"diffusion_model.single_blocks.1.linear1", given_up}


def test_room_is_made_for_the_largest_weight_and_the_picture_stays(host, base, path, monkeypatch) -> None:
    monkeypatch.setenv("LORA_PATCHBAY_RESTAGE", "off")
    expected = sample(applied(host, path, base)), sample(applied(host, path, base, "", 0.5))
    taken: list[int] = []
    make_room = host.keep.make_room

    def counted(model: Any, keys: Any) -> int:
        sizes = [host.utils.get_attr(model.model, key).numel() for key in keys]
        assert sizes == sorted(sizes, reverse=True)
        monkeypatch.setattr(model, "offload_device", torch.device("cpu", 0))  # another device by name, as on a GPU
        taken.append(make_room(model, keys))
        assert 0 < taken[-1] <= 4 * sum(sizes[1:])
        return taken[-1]

    monkeypatch.setattr(host.keep, "make_room", counted)
    monkeypatch.setenv("LORA_PATCHBAY_RESTAGE", "on")
    sample(base)
    assert torch.equal(sample(applied(host, path, base)), expected[0])
    assert torch.equal(sample(applied(host, path, base, "", 0.5)), expected[1])
    assert len(taken) == 2

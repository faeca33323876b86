"""Files whose tensors are missing, of another shape or not numbers: each layer has its state, and no node stops."""

from __future__ import annotations

import contextlib
import random
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nano_models import flux2_state_dict, write

pytestmark = pytest.mark.host
SIZES = {"hidden": 128, "double": 1, "single": 1}
LAYER = "diffusion_model.double_blocks.0.img_attn.proj"
OTHER = "diffusion_model.double_blocks.0.txt_attn.proj"
R = 4
Shapes = dict[str, tuple[int, ...]]
FORMATS: dict[str, Shapes] = {
    "lora": {"lora_A.weight": (R, 128), "lora_B.weight": (128, R), "alpha": ()},
    "dora": {"lora_A.weight": (R, 128), "lora_B.weight": (128, R), "dora_scale": (128, 1)},
    "loha": {"hada_w1_a": (128, R), "hada_w1_b": (R, 128), "hada_w2_a": (128, R), "hada_w2_b": (R, 128), "alpha": ()},
    "lokr": {"lokr_w1": (8, 8), "lokr_w2_a": (16, R), "lokr_w2_b": (R, 16), "alpha": ()},
    "glora": {"a1.weight": (128, R), "a2.weight": (R, 128), "b1.weight": (128, R), "b2.weight": (R, 128)},
    "oft": {"oft_blocks": (4, 32, 32), "alpha": ()},
    "boft": {"oft_blocks": (2, 4, 32, 32), "alpha": ()},
    "oft_2": {"oft_R.weight": (4, 496)},
    "diff": {"diff": (128, 128), "diff_b": (128,)},
}  # fmt: skip
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def host(comfy_in_process: Any) -> types.SimpleNamespace:
    """ComfyUI's loaders and the pack's host modules."""
    import comfy.lora
    import comfy.sd
    from pack.nodes.core import errors
    from pack.nodes.core.bake import file as bake_file
    from pack.nodes.core.report import report
    from pack.nodes.host.apply import apply
    from pack.nodes.host.bake import save
    from pack.nodes.host.inspect import check
    from pack.nodes.host.inspect import patches as inspect_patches
    from pack.nodes.host.norms import patches as norms

    return types.SimpleNamespace(
        sd=comfy.sd, weight=comfy.lora.calculate_weight, apply=apply.apply_lora, check=check.check_lora,
        show=inspect_patches.inspect_patches, save=save.save_lora, options=bake_file.make_options,
        Refused=errors.PatchbayError, State=report.LayerState, Level=report.Level, NOT_FINITE=norms.NOT_FINITE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(host: Any) -> Any:
    return host.sd.load_diffusion_model_state_dict(flux2_state_dict(**SIZES))


def layer(kind: str, name: str = LAYER) -> State:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{name}.{end}": torch.randn(shape, generator=generator) * 0.1 if shape else torch.tensor(2.0)
        for end, shape in FORMATS[kind].items()
    }


def everything(host: Any, model: Any, path: str, folder: Path, convert: str = "never", rank: int = 0) -> Any:
    """Every node over the file; what they may raise is a sentence of our own. The report of Apply LoRA."""
    made = host.apply(path, "x", model, None, 0.5, 0.0, "")
    for key, found in made.model.patches.items():
        host.weight(found, model.model_state_dict(key)[key].clone(), key)
    host.show(made.model)
    host.check(path, "x", model, None)
    for method, as_stock in (("bypass", False), ("merge", True)):
        host.apply(path, "x", model, None, 1.0, 0.0, "", method=method, as_stock=as_stock)
    options = host.options(convert, rank, 1.0, "as in the file")
    with contextlib.suppress(host.Refused):
        host.save(path, "x", model, None, (0.5, 1.0), "", options, folder / "saved.safetensors", overwrite=True)
    return made.report


CASES: dict[str, tuple[str, Callable[[State], object], str, str]] = {
    "half of a LoHa": ("loha", lambda s: s.pop(f"{LAYER}.hada_w2_a"), "not_understood", "hada_w2_b alone"),
    "half of a LoKr": ("lokr", lambda s: s.pop(f"{LAYER}.lokr_w2_b"), "not_understood", "lokr_w2_a"),
    "half of a GLoRA": ("glora", lambda s: s.pop(f"{LAYER}.a2.weight"), "not_understood", "a1"),
    "ranks of a LoHa": ("loha", lambda s: s.update({f"{LAYER}.hada_w2_b": torch.ones(3, 128)}), "not_understood", ""),
    "a vector in a LoKr": ("lokr", lambda s: s.update({f"{LAYER}.lokr_w2_b": torch.ones(64)}), "not_understood", ""),
    "no rank": ("lora", lambda s: s.update({f"{LAYER}.lora_A.weight": torch.ones(0, 128)}), "", ""),
    "several alphas": ("lora", lambda s: s.update({f"{LAYER}.alpha": torch.ones(3)}), "not_understood", "alpha"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_broken_layer_is_named_and_the_others_are_applied(host: Any, model: Any, tmp_path: Path, name: str) -> None:
    kind, harm, state, reason = CASES[name]
    tensors = layer(kind)
    harm(tensors)
    report = everything(host, model, write(tmp_path / "x.safetensors", {**tensors, **layer("lora", OTHER)}), tmp_path)
    states = {entry.lora_key: entry for entry in report.layers}
    assert states[OTHER].state is host.State.APPLIED
    assert states[LAYER].state is not host.State.APPLIED
    assert state in ("", states[LAYER].state.value), states[LAYER]
    assert states[LAYER].reason
    assert reason in states[LAYER].reason
    assert report.level is host.Level.WARNING


def test_numbers_that_are_none_are_a_warning(host: Any, model: Any, tmp_path: Path) -> None:
    tensors = layer("lora")
    tensors[f"{LAYER}.lora_A.weight"][1, 1] = torch.nan
    path = write(tmp_path / "x.safetensors", {**tensors, **layer("lora", OTHER)})
    report = everything(host, model, path, tmp_path, "LoRA for all", 2)
    broken = next(entry for entry in report.layers if entry.lora_key == LAYER)
    assert (broken.delta_norm, broken.not_measured) == (None, host.NOT_FINITE)
    assert report.level is host.Level.WARNING
    assert any(note.startswith("1 layers are broken") for note in report.notes)


def test_a_bias_beside_factors_is_saved_as_one(host: Any, model: Any, tmp_path: Path) -> None:
    """``img_in`` of a model with biases would have both; here the bias has no place, and its layer says so."""
    path = write(tmp_path / "x.safetensors", {**layer("lora"), f"{LAYER}.diff_b": torch.ones(128)})
    report = everything(host, model, path, tmp_path)
    assert sorted(entry.state.value for entry in report.layers) == ["applied", "no_such_layer"]


def harmed(tensor: torch.Tensor, choose: random.Random) -> torch.Tensor:
    """The tensor with one thing wrong."""
    ways: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda t: t.reshape(-1), lambda t: t[..., None, None], lambda t: t[:0] if t.dim() else t, torch.zeros_like,
        lambda t: t.to(choose.choice([torch.int8, torch.bool, torch.float64, torch.float8_e4m3fn])),
        lambda t: torch.full_like(t, torch.nan), lambda t: t.t() if t.dim() == 2 else t, lambda t: torch.tensor(3.0),
        lambda t: torch.cat([t, t]) if t.dim() else t, lambda t: t * 1e30,
    ]  # fmt: skip
    return choose.choice(ways)(tensor).contiguous()


@pytest.mark.parametrize("kind", FORMATS)
def test_whatever_is_wrong_with_a_file(host: Any, model: Any, tmp_path: Path, kind: str) -> None:
    choose = random.Random(kind)
    for number in range(7):
        state = {**layer(kind), **layer(choose.choice([*FORMATS]), OTHER)}
        for key in choose.sample(sorted(state), 2):
            state[key] = harmed(state[key], choose)
        if choose.random() < 0.4:
            state.pop(choose.choice(sorted(state)))
        if choose.random() < 0.2:
            state[f"{OTHER}.set_weight"] = torch.ones(128, 128)
        path = write(tmp_path / f"{number}.safetensors", state)
        convert = choose.choice(["never", "difference where needed", "LoRA where needed", "LoRA for all"])
        report = everything(host, model, path, tmp_path, convert, choose.choice([0, 2]))
        silent = [x for x in report.layers if x.state is not host.State.APPLIED and not x.reason]
        assert not silent

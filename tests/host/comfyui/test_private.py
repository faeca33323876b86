"""The door to ComfyUI's insides: true of a real model, and a plain fallback where another version has nothing there."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from measure_support import make_model, sample, with_lora

pytestmark = pytest.mark.host
PATCHER, MODULE = "patcher", "module"
FALLBACKS: dict[str, tuple[str, Any]] = {
    "list_of_patches": (PATCHER, None),
    "list_in_weights": (MODULE, None),
    "has_backup": (PATCHER, False),
    "is_wholly_loaded": (PATCHER, False),
    "is_partly_loaded": (PATCHER, False),
    "is_dynamic": (PATCHER, False),
    "has_hooks": (PATCHER, False),
    "has_wrapped_weights": (PATCHER, False),
    "object_patches": (PATCHER, {}),
    "injections": (PATCHER, {}),
    "wrappers": (PATCHER, {}),
    "callbacks": (PATCHER, {}),
    "source_of": (PATCHER, None),
    "is_wrapped_by_compile": (MODULE, False),
    "quantised_layout": (MODULE, ""),
    "casts_weights": (MODULE, False),
    "has_lazy_patches": (MODULE, False),
    "page_of": (MODULE, None),
    "page_signature": (MODULE, None),
    "resident_share": (MODULE, None),
    "is_executing": (MODULE, False),
    "keyframe_level": (MODULE, -1.0),
}


@pytest.fixture(scope="module")
def door(comfy_in_process: Any) -> Any:
    from pack.nodes.host.comfyui import private

    return private


@pytest.mark.parametrize("name", FALLBACKS)
def test_what_another_version_lacks_costs_no_run(door: Any, name: str) -> None:
    kind, expected = FALLBACKS[name]
    bare = types.SimpleNamespace()
    if kind == PATCHER:
        bare = types.SimpleNamespace(model=bare, load_device=torch.device("cpu"))
    assert getattr(door, name)(bare) == expected


def test_the_rest_of_a_bare_patcher(door: Any) -> None:
    bare = types.SimpleNamespace(model=types.SimpleNamespace(), load_device=torch.device("cpu"))
    assert door.kept_weight(bare, "x") is None
    assert not door.has_kept_weights(bare, ["x"])
    assert not door.keeps_buffer(bare, "x")
    assert list(door.parents(bare)) == []
    assert door.surroundings(bare) == (torch.device("cpu"), None, False, {})
    door.put_back(bare, "x")
    door.say_not_injected(bare)
    assert vars(bare).keys() == {"model", "load_device"}
    assert not door.keep_page(bare, None, "signature")
    weight = torch.ones(2)
    assert door.stored_numbers(weight) is weight


def test_a_real_model_is_known(door: Any) -> None:
    model = make_model()
    patched = with_lora(model)
    before = door.list_of_patches(patched)
    assert door.list_in_weights(patched.model) != before
    sample(patched, 1)
    assert door.list_in_weights(patched.model) == before
    assert door.lies_loaded(patched)
    assert door.is_wholly_loaded(patched)
    assert door.has_backup(patched)
    assert door.has_kept_weights(patched, list(patched.patches))
    assert [loaded for loaded, _ in door.loaded_entries()][:1] == [patched]
    key = next(iter(patched.patches))
    kept = door.kept_weight(patched, key).clone()
    now = patched.model_state_dict(key)[key].clone()
    assert not torch.equal(kept, now)
    door.put_back(patched, key)
    assert torch.equal(patched.model_state_dict(key)[key], kept)
    assert model in list(door.parents(patched)) or patched.parent is None
    assert door.cast_buffer_bytes() is not None
    assert door.pinned_bytes() is not None

"""The one door to ComfyUI's insides: every attribute that is no documented interface, read and in a few places written.

Each function looks whether the thing is there and has a plain fallback, so that another version of ComfyUI costs a
figure or a shortcut, never a run. What a docstring says of versions was looked up in the sources of 0.16.3, 0.20.1 and
0.30.0. A test forbids these names everywhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import torch

# --- which patches lie in the weights -----------------------------------------------------------------


def list_of_patches(patcher: Any) -> Any:
    """The number of a patcher's list of patches (``patches_uuid``), another one after every change.

    All versions. Fallback: ``None``, with which no two lists are taken for the same.
    """
    return getattr(patcher, "patches_uuid", None)


def list_in_weights(model: Any) -> Any:
    """The number of the list that a loaded model's weights were patched with (``current_weight_patches_uuid``).

    All versions. Fallback: ``None``, as before the first load: nothing is known, and everything is loaded anew.
    """
    return getattr(model, "current_weight_patches_uuid", None)


def say_list_in_weights(model: Any, number: Any) -> None:
    """Tell ComfyUI which list of patches the weights have, after patching them ourselves; a new object for none."""
    model.current_weight_patches_uuid = number


def lies_loaded(patcher: Any) -> bool:
    """Whether the model lies on the device with just this patcher's patches.

    All versions. Fallback: as if it did, which only leaves "after a switch" out of a measurement.
    """
    own = list_of_patches(patcher)
    return getattr(patcher.model, "current_weight_patches_uuid", own) == own and patcher.loaded_size() > 0


def parents(patcher: Any) -> Iterator[Any]:
    """The patchers that this one was cloned from, the nearest first (``parent``; all versions). Fallback: none."""
    parent = getattr(patcher, "parent", None)
    while parent is not None:
        yield parent
        parent = getattr(parent, "parent", None)


def has_backup(patcher: Any) -> bool:
    """Whether any patched weight of the loaded model has its unpatched value kept (``backup``; all versions).

    Fallback: none, so that norms of a loaded model are those of its patched weights.
    """
    return bool(getattr(patcher, "backup", None))


def kept_weight(patcher: Any, key: str) -> Any:
    """The unpatched value that ComfyUI keeps of a patched weight; ``None`` where it keeps none (see has_backup)."""
    kept = (getattr(patcher, "backup", None) or {}).get(key)
    return None if kept is None else kept.weight


def has_kept_weights(patcher: Any, keys: Sequence[str]) -> bool:
    """Whether ComfyUI keeps the unpatched value of each of these weights."""
    backup = getattr(patcher, "backup", None) or {}
    return all(key in backup for key in keys)


def keeps_buffer(patcher: Any, key: str) -> bool:
    """Whether the dynamic loader keeps the unpatched value of a buffer and puts it back (``backup_buffers``).

    As of 0.16.3, with dynamic VRAM. Fallback: no, and the buffer is patched in place.
    """
    return key in getattr(patcher, "backup_buffers", {})


def put_back(patcher: Any, key: str) -> None:
    """Give a weight the unpatched value that ComfyUI keeps, the way it does itself; nothing where it keeps none."""
    kept = (getattr(patcher, "backup", None) or {}).get(key)
    if kept is None:
        return
    if getattr(kept, "inplace_update", False):
        comfy.utils.copy_to_param(patcher.model, key, kept.weight)
    else:
        comfy.utils.set_attr_param(patcher.model, key, kept.weight.to(patcher.load_device))


def lay_aside(patcher: Any, key: str) -> int:
    """Take a weight, as it is kept or else as it is, off the device until it is patched; the bytes that gives."""
    if getattr(patcher, "weight_inplace_update", False):
        return 0
    weight, kept = comfy.utils.get_attr(patcher.model, key), kept_weight(patcher, key)
    comfy.utils.set_attr_param(patcher.model, key, (weight if kept is None else kept).to(patcher.offload_device))
    return weight.numel() * weight.element_size()


def forget_kept_weight(patcher: Any, key: str) -> None:
    """Drop the kept value of a weight that is not patched any more."""
    patcher.backup.pop(key, None)


def is_wholly_loaded(patcher: Any) -> bool:
    """Whether all weights lie on the device, patched by the ordinary loader.

    ``model_lowvram``, ``model_loaded_weight_memory``: all versions. Fallback: no, and ComfyUI loads as ever.
    """
    model = patcher.model
    return (
        getattr(model, "model_lowvram", None) is False
        and getattr(model, "model_loaded_weight_memory", 0) > 0
        and getattr(model, "device", None) == patcher.load_device
    )


def is_partly_loaded(patcher: Any) -> bool:
    """Whether some weights are brought to the device layer by layer (all versions). Fallback: no."""
    return bool(getattr(patcher.model, "model_lowvram", False))


def is_dynamic(patcher: Any) -> bool:
    """Whether ComfyUI's dynamic VRAM holds the weights (0.16.3 and later). Fallback: no."""
    return bool(getattr(patcher, "is_dynamic", lambda: False)())


# --- what else changes a model ------------------------------------------------------------------------


def has_hooks(patcher: Any) -> bool:
    """Whether ComfyUI's weight hooks or several devices have a hand in this model's weights.

    Hooks: all versions; several devices: 0.30.0. Fallback: what is missing counts as absent.
    """
    hooks = ("hook_patches", "current_hooks", "forced_hooks", "hook_backup")
    several = getattr(patcher, "is_multigpu_base_clone", False)
    several = several or getattr(patcher, "additional_models", {}).get("multigpu")
    return bool(several) or any(getattr(patcher, name, None) for name in hooks)


def surroundings(patcher: Any) -> Any:
    """What else decides what becomes of a patched weight: device, forced casts, compute type, wrapped weights.

    All versions. Fallback: what is missing is the same for everybody.
    """
    wrappers = {key: tuple(value) for key, value in (getattr(patcher, "weight_wrapper_patches", None) or {}).items()}
    compute = object_patches(patcher).get("manual_cast_dtype")
    return patcher.load_device, compute, getattr(patcher, "force_cast_weights", False), wrappers


def has_wrapped_weights(patcher: Any) -> bool:
    """Whether another pack computes weights by functions of its own (``weight_wrapper_patches``; all versions)."""
    return bool(getattr(patcher, "weight_wrapper_patches", None))


def object_patches(patcher: Any) -> Mapping[str, Any]:
    """Parts of the model that are replaced while it is loaded (all versions). Fallback: none."""
    return getattr(patcher, "object_patches", None) or {}


def injections(patcher: Any) -> Mapping[str, Sequence[Any]]:
    """What hooks itself into the model while it is loaded, by key (all versions). Fallback: none."""
    return getattr(patcher, "injections", None) or {}


def say_not_injected(patcher: Any) -> None:
    """A clone says that it is injected where its original is. It is not: what its original put in stays that one's.

    ``is_injected``: all versions. Fallback: nothing to say.
    """
    if hasattr(patcher, "is_injected"):
        patcher.is_injected = False


def wrappers(patcher: Any, kind: str | None = None) -> Mapping[str, Any]:
    """Wrappers by key: of one kind, or of each kind by its name (all versions). Fallback: none."""
    every = getattr(patcher, "wrappers", None) or {}
    return every if kind is None else every.get(kind, {})


def callbacks(patcher: Any) -> Mapping[str, Any]:
    """Callbacks by kind and key (all versions). Fallback: none."""
    return getattr(patcher, "callbacks", None) or {}


def is_wrapped_by_compile(model: Any) -> bool:
    """Whether ``torch.compile`` has wrapped the module itself (``_orig_mod`` of torch)."""
    return hasattr(model, "_orig_mod")


def source_of(patcher: Any) -> Any:
    """The first argument of the loader that made this model, its file for ComfyUI's own loaders.

    ``cached_patcher_init``: 0.16.3 and later. Fallback: ``None``, and a measurement does not name the file.
    """
    origin = getattr(patcher, "cached_patcher_init", None)
    return origin[1][0] if origin and len(origin) > 1 and origin[1] else None


# --- layers -------------------------------------------------------------------------------------------


def stored_numbers(weight: Any) -> Any:
    """The stored numbers of a quantised weight of ComfyUI (``_qdata``, comfy-kitchen); another weight itself."""
    return weight if type(weight) in (torch.Tensor, torch.nn.Parameter) else getattr(weight, "_qdata", weight)


def quantised_layout(weight: Any) -> str:
    """Name of the layout of a quantised weight of ComfyUI (``_layout_cls``, comfy-kitchen); empty for others.

    Fallback: empty, and the weight counts as one that is not quantised.
    """
    layout = getattr(weight, "_layout_cls", None)
    return "" if layout is None else str(getattr(layout, "__name__", layout))


def quantised_parts(weight: Any) -> tuple[str, Any]:
    """Layout and parameters (scales, options) of a quantised weight (``_params``, comfy-kitchen; see above)."""
    return quantised_layout(weight), weight._params


def casts_weights(module: Any) -> bool:
    """Whether a layer is ComfyUI's own, which brings its weight to where the input is (all versions)."""
    return hasattr(module, "comfy_cast_weights")


def has_lazy_patches(module: Any) -> bool:
    """Whether a layer's weight is patched whenever it is used (``weight_function``; all versions). Fallback: no."""
    return bool(getattr(module, "weight_function", ()))


def lazy_tables(model: torch.nn.Module) -> list[dict[str, Any]]:
    """The tables of patches that the layers of a loaded model look their patches up in whenever they are used.

    They belong to the patcher that was loaded, of which the one that is sampled may be a clone with the same patches.
    ``LowVramPatch.patches``: all versions. Fallback: none, and such calls are not counted.
    """
    found: dict[int, dict[str, Any]] = {}
    for module in model.modules():
        for name in ("weight_function", "bias_function"):
            for function in getattr(module, name, ()):
                table = getattr(function, "patches", None)
                if isinstance(table, dict):
                    found[id(table)] = table
    return list(found.values())


def patched_at_use(patcher: Any, modules: Mapping[str, torch.nn.Module]) -> Iterator[tuple[dict[str, Any], str]]:
    """(table, key) of the weights that their next use patches (``weight_function``, ``weight_lowvram_function``).

    None where the ordinary loader has put the whole model on the device.
    """
    if not is_dynamic(patcher) and not is_partly_loaded(patcher):
        return
    for target in patcher.patches:
        path, _, name = target.rpartition(".")
        own = vars(modules[path]) if path in modules else {}
        functions = own.get(f"{name}_function", ())
        staged = own.get(f"{name}_lowvram_function") if own.get("_v_signature") is None else None
        for function in functions if staged is None else (*functions, staged):
            table, key = getattr(function, "patches", None), getattr(function, "key", None)
            copied = getattr(function, "prepared_patches", None)  # before anything could be put into the table
            if copied is None and isinstance(table, dict) and isinstance(key, str) and key in table:
                yield table, key


# --- pages of dynamic VRAM ----------------------------------------------------------------------------

PAGE_BYTES = 32 << 20
"""Page of ComfyUI's dynamic loader (``VBAR_PAGE_SIZE`` in comfy_aimdo)."""


def page_of(module: Any) -> Any:
    """Where a module's weights lie in dynamic VRAM (``_v``, 0.16.3 and later); ``None`` where they do not."""
    return getattr(module, "_v", None)


def page_signature(module: Any) -> Any:
    """By what ComfyUI tells whether a page still holds the patched weight (``_v_signature``, 0.16.3 and later).

    ``None``: not resident, staged at its next use. Fallback: ``None``, and everything is staged anew.
    """
    return getattr(module, "_v_signature", None)


def keep_page(module: Any, page: Any, signature: Any) -> bool:
    """Give a module the signature back that a load took from it, unless its page was given up; whether it was given."""
    if page_of(module) is not page or getattr(module, "_v_signature", signature) is not None:
        return False
    module._v_signature = signature
    return True


def paged_weight(page: Any, signature: Any, module: Any) -> torch.Tensor | None:
    """A copy of the weight in a page that is resident and unchanged since ``signature``; ``None`` if it is not."""
    import comfy_aimdo.model_vbar as vbar

    weight = getattr(module, "_v_weight", None)
    now = vbar.vbar_fault(page)
    try:
        if weight is None or now is None or not vbar.vbar_signature_compare(now, signature):
            return None
        return stored_numbers(weight).detach().clone()
    finally:
        vbar.vbar_unpin(page)


def resident_share(module: Any) -> float | None:
    """Share of a module's pages that lie on the device; ``None`` outside dynamic VRAM and where it is not told.

    ``get_residency``: comfy_aimdo as of 0.18. Fallback: ``None``.
    """
    page = page_of(module)
    if page is None:
        return None
    vbar, address, size = page
    if not hasattr(vbar, "get_residency") or not size:
        return None
    pages = list(vbar.get_residency())
    first = (address - vbar.base_addr) // PAGE_BYTES
    last = (address - vbar.base_addr + size - 1) // PAGE_BYTES
    mine = pages[first : last + 1]
    return sum(page & 1 for page in mine) / len(mine) if mine else None


def page_bytes(device: torch.device) -> int | None:
    """Weight pages of dynamic VRAM on ``device``, of all models; ``None`` where dynamic VRAM is off.

    Only on the thread that executes: it walks a list that this thread changes.
    """
    if device.type != "cuda":
        return None
    control = sys.modules.get("comfy_aimdo.control")
    pages = sys.modules.get("comfy_aimdo.model_vbar")
    known = getattr(control, "lib", None) is not None and getattr(control, "devctxs", None)
    if not known or not hasattr(pages, "vbars_analyze"):
        return None
    index: Any = device.index  # None for plain "cuda", which torch's stubs leave out
    return int(pages.vbars_analyze(torch.cuda.current_device() if index is None else index))  # type: ignore[union-attr]


# --- memory and models of the whole process -----------------------------------------------------------


def loaded_entries() -> list[tuple[Any, Any]]:
    """(patcher, device) of the models that ComfyUI holds loaded, the most recently used first.

    ``current_loaded_models``: all versions. Fallback: none.
    """
    entries = list(getattr(comfy.model_management, "current_loaded_models", ()))
    pairs = ((entry.model, entry.device) for entry in entries)
    return [(patcher, device) for patcher, device in pairs if patcher is not None]


def is_executing(server: Any) -> bool:
    """Whether the server works on a prompt right now (``prompt_queue.currently_running``; all versions), else no."""
    return bool(getattr(getattr(server, "prompt_queue", None), "currently_running", None))


def pinned_bytes() -> int | None:
    """Main memory that is pinned for transfers, of all models (``TOTAL_PINNED_MEMORY``; all versions)."""
    total = getattr(comfy.model_management, "TOTAL_PINNED_MEMORY", None)
    return None if total is None else int(total)


def stream_buffer_bytes() -> int | None:
    """Cast buffers of dynamic VRAM, which lie outside torch; ``None`` where there are none (before 0.21)."""
    buffers = getattr(comfy.model_management, "STREAM_AIMDO_CAST_BUFFERS", None)
    return None if buffers is None else sum(int(buffer.size()) for buffer in list(buffers.values()))


def cast_buffer_bytes() -> int | None:
    """All cast buffers, those of torch included (``STREAM_CAST_BUFFERS``; all versions)."""
    outside = stream_buffer_bytes()
    inside = getattr(comfy.model_management, "STREAM_CAST_BUFFERS", None)
    found = None if inside is None else sum(int(buffer.nbytes) for buffer in list(inside.values()))
    return None if outside is None and found is None else (outside or 0) + (found or 0)


# --- keyframes of hooks -------------------------------------------------------------------------------


def keyframe_level(group: Any) -> float:
    """The noise level that a group of keyframes was last asked at (``_curr_t``; all versions); -1 before the first."""
    return float(getattr(group, "_curr_t", -1.0))


def set_keyframe(group: Any, level: float, keyframe: Any = None) -> None:
    """Have a group of keyframes (of ours) stand at a noise level, and at a keyframe where one is given."""
    group._curr_t = level
    if keyframe is not None:
        group._current_keyframe = keyframe

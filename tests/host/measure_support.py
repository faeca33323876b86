"""A tiny real model, conditioning for it, and one sampling call: what the tests of measuring share."""

from __future__ import annotations

import time
from typing import Any

import torch
from nano_models import flux2_state_dict, native_lora

SIZES = {"hidden": 128, "double": 1, "single": 2, "context": 64}


def make_model(**sizes: int) -> Any:
    """A FLUX.2 model with random weights, as ComfyUI loads it."""
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(**(SIZES | sizes)))


def with_lora(model: Any, strength: float = 1.0, seed: int = 1) -> Any:
    """The model with a LoRA on every linear of every block, by ComfyUI's own loader."""
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, native_lora(seed=seed, **SIZES), strength, 0.0)[0]


def patched_layers() -> int:
    """Linears that :func:`with_lora` patches."""
    from nano_models import lora_layers

    return len(lora_layers(**SIZES))


def conditioning(seed: int = 0) -> list[list[Any]]:
    """A prompt of 8 tokens."""
    return [[torch.randn(1, 8, SIZES["context"], generator=torch.Generator().manual_seed(seed)), {}]]


def latent(side: int = 4) -> dict[str, torch.Tensor]:
    """An empty FLUX.2 latent."""
    return {"samples": torch.zeros(1, 128, side, side)}


def sample(model: Any, steps: int = 4, sampler: str = "euler", cfg: float = 1.0, callback: Any = None) -> torch.Tensor:
    """One sampling by ComfyUI's own function."""
    import comfy.sample

    empty = latent()["samples"]
    noise = comfy.sample.prepare_noise(empty, 7)
    return comfy.sample.sample(
        model, noise, steps, cfg, sampler, "simple", conditioning(), conditioning(1), empty,
        callback=callback, disable_pbar=True, seed=7,
    )  # fmt: skip


class VirtualTime:
    """Stands in for the module ``time`` where the pack measures: it goes on only when something sleeps or looks at it.

    So what a model takes is known exactly, on a machine that is as busy as it likes.
    """

    LOOK_NS = 1000
    """What looking at the clock takes: no two looks see the same time."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        self.now_ns += self.LOOK_NS
        return self.now_ns

    def perf_counter(self) -> float:
        return self.perf_counter_ns() / 1e9

    monotonic = perf_counter

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def slow_step(
    model: Any,
    seconds: float,
    fail_at: int | None = None,
    error: BaseException | None = None,
    taken: list[float] | None = None,
    clock: Any = time,
) -> Any:
    """A clone whose every evaluation waits ``seconds``, or raises ``error`` in evaluation ``fail_at``.

    ``taken`` gets the time of each call of the model in ms, the wait included.
    """
    clone = model.clone()
    calls = [0]

    def wrapper(apply: Any, arguments: dict[str, Any]) -> torch.Tensor:
        calls[0] += 1
        if fail_at is not None and calls[0] == fail_at and error is not None:
            raise error
        begun = clock.perf_counter()
        clock.sleep(seconds)
        result = apply(arguments["input"], arguments["timestep"], **arguments["c"])
        if taken is not None:
            taken.append((clock.perf_counter() - begun) * 1000)
        return result

    clone.set_model_unet_function_wrapper(wrapper)
    return clone


def attached_things(model: Any) -> list[str]:
    """Everything of ours, or anybody's, that hangs on a model or runs beside it."""
    import threading

    from comfy.weight_adapter import WeightAdapterBase

    found = [f"thread {thread.name}" for thread in threading.enumerate() if "patchbay" in thread.name]
    for name, module in model.model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            found.append(f"hooks on {name}")
        if getattr(vars(module).get("forward"), "__self__", module) is not module:
            found.append(f"forward of {name}")
    for key, entries in model.patches.items():
        for entry in entries:
            if isinstance(entry[1], WeightAdapterBase) and type(entry[1]).__module__.startswith("pack."):
                found.append(f"adapter of {key}")
    return found

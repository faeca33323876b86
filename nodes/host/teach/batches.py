"""Evaluates a model on batches of noisy latents, each with its own prompt and noise level, inside one load of it.

A sampler that is handed to ComfyUI's own guider does the work: so the model is loaded, patched, hooked and cleaned up
as for any run, and its prompts are encoded by its own ``extra_conds``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...core.errors import PatchbayError
from ..transfer.probes import Conditioning

Result = TypeVar("Result")

_NUMBERS_AT_ONCE = 1 << 21
"""Numbers of the latents that are evaluated together: 4 of 1024 x 1024 pixels of FLUX.2."""


class Evaluator:
    """A loaded model, as :func:`inside` hands it on."""

    def __init__(self, wrapped: Any, extra_args: dict[str, Any]) -> None:
        guider = wrapped.inner_model
        self.model = guider.inner_model
        """ComfyUI's ``BaseModel``."""
        self._options = dict((extra_args.get("model_options") or {}).get("transformer_options") or {})
        self._prompts = [_plain(entry.get("model_conds", {})) for entry in guider.conds["positive"]]
        self._kinds = [_kind(entry) for entry in self._prompts]

    def velocity(self, x: Tensor, sigma: Tensor, prompts: Sequence[int]) -> Tensor:
        """The derivative ``(x - denoised) / sigma`` of every latent.

        Args:
            x: [batch, ...] on the model's device.
            sigma: [batch].
            prompts: Number of the prompt of each latent.

        Returns:
            Like ``x``, differentiable where gradients are on.
        """
        kinds = [self._kinds[prompt] for prompt in prompts]
        if len(set(kinds)) == 1:
            return self._run(x, sigma, prompts)
        found: dict[int, Tensor] = {}
        for kind in dict.fromkeys(kinds):  # prompts of another length cannot be in one batch
            rows = [row for row, own in enumerate(kinds) if own == kind]
            part = self._run(x[rows], sigma[rows], [prompts[row] for row in rows])
            found.update(zip(rows, part, strict=True))
        return torch.stack([found[row] for row in range(len(prompts))])

    def _run(self, x: Tensor, sigma: Tensor, prompts: Sequence[int]) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        conditions = comfy.samplers.cond_cat(
            [{k: c.process_cond(batch_size=1, area=None) for k, c in self._prompts[p].items()} for p in prompts]
        )
        options = {**self._options, "cond_or_uncond": [0] * len(prompts), "sigmas": sigma}
        denoised = self.model.apply_model(x, sigma, transformer_options=options, **conditions)
        return (x - denoised) / sigma.reshape(-1, *(1,) * (x.dim() - 1))

    @torch.no_grad()
    def velocities(self, x: Tensor, sigma: Tensor, prompts: Sequence[int]) -> Tensor:
        """The same for as many as there are, in batches that fit, without gradients."""
        size = batch_size(x)
        parts = [self.velocity(x[i : i + size], sigma[i : i + size], prompts[i : i + size])
                 for i in range(0, len(x), size)]  # fmt: skip
        return torch.cat(parts)


def batch_size(x: Tensor) -> int:
    """How many latents like those of ``x`` are evaluated at once."""
    return max(1, min(512, _NUMBERS_AT_ONCE // x[0].numel()))


def _plain(conditions: dict[str, Any]) -> dict[str, Any]:
    """Copies that autograd may save: what was made in inference mode it may not."""
    for condition in conditions.values():
        if isinstance(condition.cond, Tensor) and condition.cond.is_inference():
            condition.cond = condition.cond.clone()
    return conditions


def _kind(conditions: dict[str, Any]) -> tuple[Any, ...]:
    shapes = ((name, getattr(value.cond, "shape", None)) for name, value in sorted(conditions.items()))
    return tuple((name, None if shape is None else tuple(shape)) for name, shape in shapes)


def inside(model: Any, prompts: Conditioning, latent: Tensor, work: Callable[[Evaluator], Result]) -> Result:
    """Load ``model`` and do ``work`` with it.

    Args:
        latent: [1, ...]; only its shape counts.

    Raises:
        PatchbayError: the model does not take these prompts.
    """
    found: list[Result] = []

    def sampler(wrapped: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **_: Any) -> Tensor:
        found.append(work(Evaluator(wrapped, extra_args)))
        return x

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds({"positive": prompts})
    guider.set_cfg(1.0)
    zeros, levels = torch.zeros_like(latent), torch.tensor([1.0, 0.0])
    guider.sample(zeros, zeros, comfy.samplers.KSAMPLER(sampler), levels, disable_pbar=True, seed=0)
    return found[0]


def check_prompts(model: Any, which: str, prompts: Conditioning, latent: Tensor) -> None:
    """Refuse prompts that a model does not take.

    Raises:
        PatchbayError: they were made by another text encoder than the model's.
    """

    def try_one(evaluator: Evaluator) -> None:
        device = evaluator.model.device if evaluator.model.device is not None else latent.device
        one = torch.ones(1, device=device)
        evaluator.velocities(latent.to(device), one, [0])

    try:
        inside(model, prompts[:1], latent, try_one)
    except RuntimeError as error:
        width = prompts[0][0].shape[-1] if isinstance(prompts[0][0], Tensor) else "?"
        raise PatchbayError(
            f"conditioning: {which} ({type(model.model).__name__}) does not take these prompts (width {width}): "
            f"{error}. If the two models have different text encoders, encode the same prompts for each and connect "
            "those of the reference to reference_conditioning and reference_negative."
        ) from error

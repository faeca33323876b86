"""Time and memory of each block of the model, by forward hooks that exist only during a measured run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...core.measure.runs import BlockFigure, Figure
from ...core.measure.stats import median
from ...core.model.blocks import BlockLayout
from .clocks import Clock

_MEMORY_EVALUATION = 1
"""0-based evaluation whose memory is taken block by block: the first one that is steady."""


Attempt = Callable[[Callable[[], None]], None]


class BlockTimer:
    """Hooks on the blocks of one model. :meth:`detach` must be called, whatever happened."""

    def __init__(self, model: Any, clock: Clock, device: torch.device, attempt: Attempt) -> None:
        """``attempt`` runs what may fail: an error of a device in a hook would end the user's sampling."""
        self._attempt = attempt
        self._clock = clock
        self._device = device
        self._handles: list[Any] = []
        self._marks: dict[str, list[tuple[int, Any, Any]]] = {}
        self._open: dict[str, tuple[Any, int | None]] = {}
        self._peaks: dict[str, int] = {}
        self.evaluation = 0
        """0-based; the run keeps it up to date."""
        self.highest = (0, 0)
        """Peaks (allocated, reserved) seen before torch's counters were set back for a block."""
        self._names: list[str] = []
        for name, module in find_blocks(model):
            self._names.append(name)
            self._handles.append(module.register_forward_pre_hook(self._before(name)))
            self._handles.append(module.register_forward_hook(self._after(name)))

    def detach(self) -> None:
        """Take every hook off again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def skipped(self, evaluations: int) -> str:
        """What there is to say of blocks that the model did not call in each of so many evaluations; else empty.

        A CUDA graph calls them while it is captured and never again; a fused forward pass never.
        """
        called = {name: len({evaluation for evaluation, _, _ in marks}) for name, marks in self._marks.items()}
        late = [name for name in self._names if called.get(name, 0) < evaluations]
        if not late:
            return ""
        return (
            f"{len(late)} of {len(self._names)} blocks were not called in every evaluation (for example {late[0]}): "
            "CUDA graphs, fused layers or a cache are on, and times of single blocks say nothing about them."
        )

    def figures(self) -> tuple[BlockFigure, ...]:
        """One figure a block, in the order in which they ran; only after the clock was synchronised."""
        found = []
        for name, marks in self._marks.items():
            by_evaluation: dict[int, float] = {}
            for evaluation, before, after in marks:
                if evaluation > 0:
                    time = self._clock.between(before, after)
                    by_evaluation[evaluation] = by_evaluation.get(evaluation, 0.0) + time
            steady = median(by_evaluation.values())
            reason = "a run with one evaluation has no steady one"
            peak = self._peaks.get(name)
            no_peak = reason if self._device.type == "cuda" else "only torch's CUDA allocator tells a peak"
            found.append(
                BlockFigure(
                    name,
                    Figure(steady) if steady is not None else Figure.missing(reason),
                    Figure(peak) if peak is not None else Figure.missing(no_peak),
                )
            )
        return tuple(found)

    def _before(self, name: str) -> Any:
        def begin() -> None:
            live = None
            if self.evaluation == _MEMORY_EVALUATION and self._device.type == "cuda":
                self._keep_peaks()
                torch.cuda.reset_peak_memory_stats(self._device)
                live = torch.cuda.memory_allocated(self._device)
            self._open[name] = (self._clock.mark(), live)

        def hook(_module: Any, _args: Any) -> None:
            self._attempt(begin)

        return hook

    def _after(self, name: str) -> Any:
        def end() -> None:
            before, live = self._open.pop(name)
            self._marks.setdefault(name, []).append((self.evaluation, before, self._clock.mark()))
            if live is not None:
                peak = torch.cuda.max_memory_allocated(self._device) - live
                self._peaks[name] = max(self._peaks.get(name, 0), peak)

        def hook(_module: Any, _args: Any, _output: Any) -> None:
            self._attempt(end)

        return hook

    def _keep_peaks(self) -> None:
        allocated = torch.cuda.max_memory_allocated(self._device)
        reserved = torch.cuda.max_memory_reserved(self._device)
        self.highest = (max(self.highest[0], allocated), max(self.highest[1], reserved))


def find_blocks(model: Any) -> list[tuple[str, torch.nn.Module]]:
    """The blocks of the diffusion model (``double_blocks.0``), as every report of the pack calls them."""
    diffusion = getattr(model, "diffusion_model", model)
    layout = BlockLayout(name for name, _ in diffusion.named_parameters())
    return [(str(block), diffusion.get_submodule(str(block))) for block in layout.blocks]

"""Says what a measuring run will cost, before it starts and while it runs."""

from __future__ import annotations

import logging
import time

import comfy.utils

from ..comfyui.events import prompt_server


class Costs:
    """Progress bar, and words on the node: how many evaluations, how long they take."""

    def __init__(self, evaluations: int, node_id: str | None = None) -> None:
        """``node_id`` is the node that shows the words; without one they only go to the log."""
        self._total, self._done, self._node_id = evaluations, 0, node_id
        self._started = time.perf_counter()
        self._said = 0.0
        self._bar = comfy.utils.ProgressBar(max(1, evaluations)) if node_id is not None else None
        logging.info("LoRA Patchbay: %d model evaluations to come", evaluations)
        self._say(f"{evaluations} model evaluations to come")

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._started

    @property
    def done(self) -> int:
        """Evaluations so far."""
        return self._done

    def add(self, evaluations: int) -> None:
        """The run turned out longer (or, negative, shorter)."""
        self._total += evaluations

    def step(self, note: str = "") -> None:
        """One evaluation is done; ``note`` says more about it than its number."""
        self._done += 1
        if self._bar is not None:
            self._bar.update_absolute(self._done, max(self._total, self._done))
        now = time.perf_counter()
        if self._done in (1, 3) or now - self._said > 1:
            self._said = now
            left = (now - self._started) / self._done * max(0, self._total - self._done)
            what = note or f"evaluation {self._done} of {self._total}"
            self._say(f"{what}, about {left:.0f} s left")

    def say(self, text: str) -> None:
        """Words on the node and in the log, until the next step."""
        logging.info("LoRA Patchbay: %s", text)
        self._said = time.perf_counter()
        self._say(text)

    def finish(self) -> None:
        """The last words."""
        self._say(f"{self._done} model evaluations in {self.seconds:.1f} s")

    def _say(self, text: str) -> None:
        server = prompt_server() if self._node_id is not None else None
        if server is not None and hasattr(server, "send_progress_text"):
            server.send_progress_text(text, self._node_id)

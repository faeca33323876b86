"""The pictures of a sweep and the distances between them.

A *scene* is one prompt with one noise; a *setting* is a set of units that are left out. In every scene distances are
shares of what the whole LoRA changes there, ``|picture - full| / |plain - full|`` (root mean square): 0 is the picture
of the whole LoRA, 1 is as far from it as the picture without the LoRA. So scenes in which a LoRA does much and scenes
in which it does little count the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import PatchbayError
from ..transfer.least_squares import Interval, interval

Dropped = frozenset[int]
Pictures = tuple[Tensor, ...]
"""One a scene: [height, width, 3] in 0..1, or a latent where there is no VAE. All of one scene have one shape."""


class TimeSpent(Exception):
    """The next setting does not fit into the time; what is known so far stands."""


@dataclass
class Bench:
    """Asks for settings once each, and measures them."""

    count: int
    """Number of units."""
    run: Callable[[Dropped], Pictures]
    """Makes the pictures of a setting; raises :class:`TimeSpent`."""
    floors: tuple[float, ...] = ()
    """The distance between two runs of the whole LoRA, by scene, in the same shares."""
    ahead: Callable[[Sequence[Dropped]], None] | None = None
    """Is told of settings that are about to be asked for, so that whoever makes several at a time can begin."""
    _known: dict[Dropped, Pictures] = field(default_factory=dict[Dropped, Pictures])

    @property
    def everything(self) -> Dropped:
        """The setting without the LoRA, as far as units hold it."""
        return frozenset(range(self.count))

    @property
    def settings(self) -> int:
        """Settings that were run beside the whole LoRA and the plain model."""
        return len(self._known.keys() - {frozenset(), self.everything})

    @property
    def floor(self) -> float:
        """The largest distance between two runs of one setting."""
        return max(self.floors, default=0.0)

    def pictures(self, dropped: Dropped) -> Pictures:
        """The pictures of a setting, run once."""
        if dropped not in self._known:
            self._known[dropped] = self.run(dropped)
        return self._known[dropped]

    def prepare(self, settings: Iterable[Dropped]) -> None:
        """Say which settings are about to be asked for, whatever comes of each."""
        missing = [setting for setting in dict.fromkeys(settings) if setting not in self._known]
        if self.ahead is not None and missing:
            self.ahead(missing)

    def is_known(self, dropped: Dropped) -> bool:
        """Whether the setting was run."""
        return dropped in self._known

    def spans(self) -> tuple[float, ...]:
        """The root mean square of what the LoRA changes, by scene.

        Raises:
            PatchbayError: it changes nothing.
        """
        pairs = zip(self.pictures(self.everything), self.pictures(frozenset()), strict=True)
        spans = tuple(rms(plain - full) for plain, full in pairs)
        if min(spans, default=0.0) <= 1e-9:
            raise PatchbayError(
                "The LoRA changes nothing here: with and without it the result is the same, so there is nothing to "
                "share out among blocks. Check LoRA (Patchbay) says whether it fits this model."
            )
        return spans

    def measure_floor(self, again: Pictures) -> None:
        """Take the floor from a second run of the whole LoRA."""
        pairs = zip(again, self.pictures(frozenset()), self.spans(), strict=False)
        self.floors = tuple(rms(a - b) / span for a, b, span in pairs)

    def missed_by_scene(self, dropped: Dropped) -> tuple[float, ...]:
        """How far each scene is from the picture of the whole LoRA."""
        found = zip(self.pictures(dropped), self.pictures(frozenset()), self.spans(), strict=True)
        return tuple(rms(picture - full) / span for picture, full, span in found)

    def missed(self, dropped: Dropped) -> Interval:
        """The share of the LoRA's effect that is missed, with its interval over the scenes."""
        return interval(self.missed_by_scene(dropped))

    def change(self, dropped: Dropped) -> Interval:
        """How far the setting is from the plain picture, as a share of the whole LoRA's."""
        found = zip(self.pictures(dropped), self.pictures(self.everything), self.spans(), strict=True)
        return interval([rms(picture - plain) / span for picture, plain, span in found])

    def toward(self, dropped: Dropped) -> Interval:
        """How far the setting goes from plain towards the whole LoRA: 0 nothing, 1 all of it (a projection)."""
        found: list[float] = []
        plain, full = self.pictures(self.everything), self.pictures(frozenset())
        for picture, a, b, span in zip(self.pictures(dropped), plain, full, self.spans(), strict=True):
            product = ((picture - a).double() * (b - a).double()).mean()
            found.append(float(product) / span**2)
        return interval(found)

    def changes(self, dropped: Dropped, since: Dropped = frozenset()) -> Pictures:
        """What leaving ``dropped`` out changes in each scene, from the setting ``since`` on, as shares of the span."""
        found = zip(self.pictures(dropped), self.pictures(since), self.spans(), strict=True)
        return tuple((picture - before) / span for picture, before, span in found)


def rms(values: Tensor) -> float:
    """Root mean square."""
    return math.sqrt(float(values.double().square().mean()))


def gram(changes: Sequence[Pictures]) -> Tensor:
    """[scenes, n, n] of mean products of changes: ``|sum of some|^2`` is a sum over a part of it."""
    scenes = len(changes[0]) if changes else 0
    result = torch.zeros(scenes, len(changes), len(changes), dtype=torch.float64)
    for scene in range(scenes):
        rows = torch.stack([each[scene].flatten() for each in changes]).double()
        result[scene] = rows @ rows.T / rows.shape[1]
    return result


def predicted(products: Tensor, chosen: Sequence[int]) -> float:
    """The distance if the changes of ``chosen`` simply add up: mean over the scenes of :func:`gram`."""
    if not chosen:
        return 0.0
    part = products[:, list(chosen)][:, :, list(chosen)]
    return float(part.sum(dim=(1, 2)).clamp_min(0.0).sqrt().mean())

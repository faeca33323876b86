"""What diffusers calls the layers of a model, and which rows of a weight each of its modules has.

The links of a family say what others call its layers; several programs may. Which of them diffusers' class has is told
by what the other names are, for the families where that differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import PatchbayError
from ..match.diffusers_names import UNETS
from ..match.other_layout import unet_names
from ..match.stack import fill_heights, read_stack
from ..model.families import family
from ..model.family import HALVES, HALVES_OF_TWO, STRAIGHT, Link

_NOT_FLUX1 = re.compile(r"linear_in|linear_out|qkv_mlp_proj|^single_.*\battn\.to_out$|linear1_qkv|time_guidance")
_NOT_HUNYUAN = re.compile(rf"^(?:double|single)_blocks|individual_token_refiner|{_NOT_FLUX1.pattern}")
_ANOTHERS: Mapping[str, re.Pattern[str]] = {
    "flux2": re.compile(r"\.net\.|proj_mlp|^single_.*\bproj_out$|time_text_embed|norm1|\.norm\.linear$|linear1_qkv"),
    "flux1": _NOT_FLUX1,
    "chroma": _NOT_FLUX1,
    "hunyuan_video": _NOT_HUNYUAN,
    "hunyuan_video15": _NOT_HUNYUAN,
    "lumina2": re.compile(r"\.attention\.|^all_"),
}
"""Names of a family's links that stand for another of its relatives, or for another program."""
_WHEN = ("", "!gate_first", "!diffsynth")


@dataclass(frozen=True)
class Module:
    """One module of diffusers' class and the rows of the model's weight that it is."""

    name: str
    rows: int
    runs: tuple[tuple[int, int, int], ...]
    """``(row of the module, row of the weight, how many)``."""


class DiffusersNames:
    """The modules of diffusers' class for one model."""

    def __init__(self, architecture: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Keep what is known of an architecture.

        Args:
            shapes: Of the model's weights, without prefix.

        Raises:
            PatchbayError: the architecture is not known, so that its names are not either.
        """
        known = family(architecture)
        if known is None:
            raise PatchbayError("which names diffusers has for this model is not known: its architecture is not.")
        self._links = known.links
        self._skipped = _ANOTHERS.get(architecture)
        own = unet_names(shapes) if architecture in UNETS else {}
        self._unet = {name: other for other, name in own.items()}
        self.prefix = "unet." if architecture in UNETS else "transformer."

    def modules(self, name: str, shape: tuple[int, ...]) -> tuple[Module, ...]:
        """The modules that are the weight ``name``, in the order of their rows.

        Raises:
            PatchbayError: its rows do not divide as the module's do.
        """
        whole = (Module(self._unet.get(name, name), shape[0], ((0, 0, shape[0]),)),)
        for link, numbers in self._found(name):
            try:
                return _modules(link, numbers, shape)
            except ValueError as error:
                raise PatchbayError(f"{name}: {error}.") from error
        return whole

    def _found(self, name: str) -> Iterator[tuple[Link, tuple[str, ...]]]:
        for link in self._links:
            if len(link.model) != 1 or link.when not in _WHEN or link.order not in (STRAIGHT, HALVES, HALVES_OF_TWO):
                continue
            if self._skipped is not None and any(self._skipped.search(other) for other in link.file):
                continue
            match = re.fullmatch(r"(\d+)".join(map(re.escape, link.model[0].split("#"))), name)
            if match is not None:
                yield link, match.groups()


def _modules(link: Link, numbers: tuple[str, ...], shape: tuple[int, ...]) -> tuple[Module, ...]:
    total, columns = shape[0], shape[1] if len(shape) > 1 else None
    order = link.order
    if order == HALVES_OF_TWO:
        order = HALVES if columns is not None and total == 2 * columns else STRAIGHT
    unknown: list[int | None] = [None] * len(link.file)
    heights = fill_heights(link.file, unknown, total, columns)
    found: list[Module] = []
    for part, (name, rows) in enumerate(zip(link.file, heights, strict=True)):
        runs: list[tuple[int, int, int]] = []
        for piece in read_stack(order, part, heights, (total,)):
            there = piece.start
            for first, count in piece.ranges or ((0, piece.rows),):
                runs.append((first, there, count))
                there += count
        left = iter(numbers)
        found.append(Module(re.sub("#", lambda _, left=left: next(left), name), rows, tuple(runs)))
    return tuple(found)

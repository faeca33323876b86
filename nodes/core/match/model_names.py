"""Which weights of a model a layer of a file means, and which of its rows: the one place that decides it.

What the model's family calls its layers decides. ComfyUI's own key map, where it runs, is a second opinion: it finds
what ours does not know, and where the two disagree ours is taken and the difference said.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

from ..lora.adapters.base import Ranges
from ..lora.file import LoraFile, LoraLayer
from ..model.blocks import MODEL_PREFIX
from ..model.families import family
from ..report.report import LayerState
from .diffusers_names import own_key_map
from .name_table import NameTable, Target, bias_of, target_key
from .readings import bare_name, candidate_names

_REMEMBERED, _LONGEST = 16_384, 200
"""How many layers, and with names of which length at most, are remembered."""
OTHER_MLP = "it is the MLP of another model's single blocks: this model's is of another size"
"""Why a layer of FLUX.1 has no place in a FLUX.2."""

OrderOf = Callable[[Any, int], Ranges | None]
"""The order of rows that a function of a key map makes of so many rows; ``None`` if it does anything else."""


class Spot(NamedTuple):
    """A weight, or a slice of it, and the rows of the file's module that it takes."""

    target: Target
    ranges: Ranges | None = None
    """In the weight's order; ``None``: all, as they are."""


class Found(NamedTuple):
    """Where a layer of a file goes."""

    spots: tuple[Spot, ...] = ()
    problem: str = ""
    """Why there is no place; empty also where no layer of the model has the name."""
    state: LayerState = LayerState.NO_SUCH_LAYER
    known: bool = False
    """Whether ComfyUI's key map has this very name."""
    only_second: bool = False
    """Whether ours does not know the name at all."""
    difference: str = ""
    """Where ComfyUI's key map would put it instead."""


class FileNames:
    """The rows of a file's layers by name, for stacks of which one module alone does not tell the others' rows."""

    def __init__(self, file: LoraFile, layers: tuple[LoraLayer, ...], prefixes: tuple[str, ...] = ()) -> None:
        self.file = file
        self._layers = layers
        self._prefixes = prefixes
        self._rows: dict[str, int | None] | None = None
        self.asked: dict[str, int | None] = {}
        """The rows that were asked for since this was last emptied."""

    def rows(self, name: str) -> int | None:
        """Rows of the layer of this name without prefix, joined with underscores."""
        if self._rows is None:
            from .links import joined

            self._rows = {joined(bare_name(x.name, self._prefixes)): x.out_features for x in self._layers}
        self.asked[name] = found = self._rows.get(name)
        return found


class ModelNames:
    """The layers of one model by every name that is known for them."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        architecture: str,
        text_encoder_keys: Container[str] = frozenset(),
        second: Mapping[str, Target] | None = None,
        order_of: OrderOf | None = None,
    ) -> None:
        """Keep the names of a model.

        Args:
            shapes: Shape of every weight by its full key, a text encoder's too where there is one.
            architecture: Id of the model's family; empty for one that is not known.
            text_encoder_keys: Those of ``shapes`` that belong to a text encoder.
            second: ComfyUI's key map for this model.
            order_of: Reads the functions in ``second``.
        """
        own = {
            key.removeprefix(MODEL_PREFIX): shape
            for key, shape in shapes.items()
            if key.startswith(MODEL_PREFIX) and key not in text_encoder_keys
        }
        known = family(architecture)
        self.prefixes = known.prefixes if known is not None else ()
        self.text_encoder_keys = text_encoder_keys
        self._shapes = shapes
        self._table = NameTable(own_key_map(own, architecture, MODEL_PREFIX), shapes, prefixes=self.prefixes)
        self._architecture = architecture
        self._second = None if second is None else NameTable(second, shapes, text_encoder_keys)
        self._order_of = order_of
        self._conditional = any(link.when for link in known.links) if known is not None else False
        self._found: dict[tuple[str, str, int | None], tuple[dict[str, int | None], Found]] = {}

    @property
    def looks_beyond_layers(self) -> bool:
        """Whether where a layer goes may depend on more than the layers of its file."""
        return self._conditional

    def find(self, layer: LoraLayer, names: FileNames) -> Found:
        """Where ``layer`` goes. ``names`` are those of its file."""
        if self._conditional:
            return self._find(layer, names)
        # A collection repeats the same names: the answer is the same where the rows that it took into account are.
        key = (layer.name, layer.parameter, layer.out_features)
        remembered = self._found.get(key)
        if remembered is not None and all(names.rows(name) == rows for name, rows in remembered[0].items()):
            return remembered[1]
        names.asked = {}
        found = self._find(layer, names)
        if len(self._found) < _REMEMBERED and len(layer.name) < _LONGEST:
            self._found[key] = names.asked, found
        return found

    def _find(self, layer: LoraLayer, names: FileNames) -> Found:
        found = self._find_weight(layer, names)
        if layer.parameter != "bias" or not found.spots:
            return found
        spots = tuple(spot._replace(target=bias_of(spot.target)) for spot in found.spots)
        if any(target_key(spot.target) not in self._shapes for spot in spots):
            return found._replace(spots=(), problem="the model's layer has no bias")
        return found._replace(spots=spots)

    def _find_weight(self, layer: LoraLayer, names: FileNames) -> Found:
        ours = self._ours(layer, names)
        exact = self._second.exact(layer.name) if self._second is not None else None
        if ours is not None and ours.spots:
            if exact is None:
                return ours
            from .second_opinion import compared

            return compared(ours, exact, self._shapes, self._order_of)
        if self._second is None:
            return ours or Found()
        target, known, problem = self._second.find_weight(layer.name)
        if ours is not None and (not known or ours.state is LayerState.SHAPE_MISMATCH or ours.problem == OTHER_MLP):
            return ours  # of a name that stands for several layers, ComfyUI's table may know which
        if target is None:
            return Found(problem=problem, known=known)
        return Found((Spot(target),), known=known, only_second=target_key(target) not in self.text_encoder_keys)

    def _ours(self, layer: LoraLayer, names: FileNames) -> Found | None:
        """What our own tables say; ``None`` where they do not know the name."""
        special = self._linked(layer, names, conditional=True) if self._conditional else None
        if special is not None:
            return special
        target, _, problem = self._table.find_weight(layer.name)
        if target is not None:
            return Found((Spot(target),))
        linked = self._linked(layer, names, conditional=False)
        return linked or (Found(problem=problem) if problem else None)

    def _linked(self, layer: LoraLayer, names: FileNames, conditional: bool) -> Found | None:
        from .linked_places import find_linked  # a file with the model's own names follows no links

        candidates = candidate_names(layer.name, self.prefixes)
        return find_linked(self._shapes, self._architecture, layer, candidates, names, conditional)

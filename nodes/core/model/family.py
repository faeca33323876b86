"""A family of models: how to tell it, what its layers are called, and what people should know about it.

One family is one file in ``families/``. Everything that depends on the architecture is read from here; a new model is a
new file there and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .facts import Facts

Rule = Callable[[Facts], str]
"""Returns the sentence of evidence, or an empty text where the rule does not hold."""

STRAIGHT, HALVES, HALVES_OF_TWO = "", "halves", "halves of two"
"""Orders of the rows in a stack: alike on both sides; the two halves exchanged, always or only where the
weight has twice as many rows as columns. ``heads:128``: the file has the rows of
q, k and v in turns of one head of that size (``h0: q k v, h1: q k v, ...``)."""


@dataclass(frozen=True)
class Link:
    """Rows that a file and the model call by different names.

    The modules in ``file``, stacked row by row in this order, are the layers in ``model``, stacked likewise. One name
    to one is a plain renaming; three to one are q, k and v of a fused weight; one to three is a fused adapter on a
    model that keeps them apart. How many rows each has is read from the shapes, never from here; a file's stack that
    ends early is the first rows. ``#`` is a block number; the n-th ``#`` of one side is the n-th of the other.
    """

    file: tuple[str, ...]
    """Layer names without prefix and without ``.weight``."""
    model: tuple[str, ...]
    """The model's own layer names, as ComfyUI has them once it is loaded."""
    order: str = STRAIGHT
    when: str = ""
    """Name of a condition on the file (see ``match/conditions.py``); empty: always."""


def renamed(file: str, model: str, names: Mapping[str, str], order: str = STRAIGHT) -> tuple[Link, ...]:
    """Plain renamings below two prefixes: other names (``|`` between several) to the model's own."""
    pairs = [(other, own) for others, own in names.items() for other in others.split("|")]
    return tuple(Link((f"{file}{other}",), (f"{model}{own}",), order) for other, own in pairs)


def stacked(file: str, names: tuple[str, ...], model: str) -> Link:
    """Layers below ``file`` that are one layer of the model, in the order of its rows."""
    return Link(tuple(f"{file}{name}" for name in names), (model,))


@dataclass(frozen=True)
class Inserted:
    """A deeper model that was made from a shallower one by inserting blocks."""

    kind: str
    """The container: ``blocks``."""
    blocks: int
    deeper: int
    inserted: tuple[int, ...] = ()
    """Numbers that the new blocks have in the deeper model; empty where nobody has published them."""
    source: str = ""
    called: tuple[str, ...] = ()
    """Words in a model's name that only the deeper one has, for metadata: ``2.9b``."""


@dataclass(frozen=True)
class Sampling:
    """Steps and CFG of the model that is not distilled: its makers' own, or the defaults of diffusers 0.42.1's
    pipeline for it."""

    steps: int
    cfg: float = 0.0
    guidance: float = 0.0
    """Where the model takes guidance as a number instead of a CFG."""


@dataclass(frozen=True)
class Family:
    """What is known of one architecture."""

    id: str
    """Stable name."""
    name: str
    """For people."""
    marks: tuple[Rule, ...]
    """Any of them is enough, and only this family has it."""
    hints: tuple[Rule, ...] = ()
    """Fit it, and perhaps others."""
    against: tuple[Rule, ...] = ()
    """Any of them excludes it."""
    hidden: tuple[tuple[str, int], ...] = ()
    """Where the hidden size stands: pattern and axis (0 rows, 1 columns)."""
    variant: Callable[[Facts, int | None], str] | None = None
    """Full name from facts and hidden size."""
    kinds: tuple[str, ...] = ()
    """Containers of blocks in the order in which the model runs them."""
    depths: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Published numbers of blocks by container."""
    insertions: tuple[Inserted, ...] = ()
    links: tuple[Link, ...] = ()
    """What diffusers and the trainers call its layers."""
    prefixes: tuple[str, ...] = ()
    """What some tools put before the layer names of this family, beyond the usual."""
    layers: str = ""
    """Its layers with a matrix, by its own names: a line for containers with the same (``blocks.#: attn.q attn.k``)
    and one that begins with a colon for what lies in no block."""
    sizes: tuple[int, ...] = ()
    """Hidden sizes of the published models."""
    said: str = ""
    """Pattern of what trainers write of the model into a file's metadata, in lower case: ``^flux-1``."""
    advice: Mapping[str, Sampling | str] = field(default_factory=dict[str, "Sampling | str"])
    """How to draw with it, by the beginning of the variant's name (empty: any)."""

    def layer_lines(self) -> Iterator[tuple[list[str], list[str]]]:
        """The lines of :attr:`layers`: containers (an empty name for none), and the layers that each of them has."""
        for line in self.layers.replace("\n ", " ").strip("\n").split("\n") if self.layers else ():
            heads, _, names = line.partition(":")
            yield heads.split() or [""], names.split()

    def layer_names(self) -> Iterator[str]:
        """Every name of :attr:`layers`, with ``#`` for block numbers."""
        for heads, names in self.layer_lines():
            for head in heads:
                yield from (f"{head}.{name}" if head else name for name in names)

    def hidden_size(self, facts: Facts) -> int | None:
        """The hidden size, or ``None`` where no layer tells."""
        for pattern, axis in self.hidden:
            size = facts.rows(pattern) if axis == 0 else facts.columns(pattern)
            if size:
                return size
        return None

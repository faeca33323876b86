"""The command ``lora-patchbay compare``: what LoRAs have in common, and what rank they need."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import PatchbayError
from ..check import read_model
from ..exits import EXIT_OK, EXIT_WARNING, UsageError, require
from ..output import say, write_json, write_rows
from ..places import place, say_traffic
from ..reports import add_forms
from ..sources import HELP, METAVAR
from .read import fetch_sources

if TYPE_CHECKING:
    from ...compare.compare import Comparison

_SHOWN = 12


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "compare",
        help="say what LoRAs have in common",
        description="Compare what LoRAs change, through their factors: whether they are the same up to a factor, the "
        "cosine by block, what one has and another lacks. Of the epochs of one training: the course of norm and "
        "direction. With one file and --ranks: what rank its layers need.",
    )
    parser.add_argument("files", nargs="+", metavar=METAVAR, help=HELP)
    parser.add_argument("--model", type=place, help="needed where the files name layers differently")
    parser.add_argument("--ranks", action="store_true", help="also the rank for 95, 98 and 99 %% of each layer")
    add_forms(parser, "one JSON object", "comma-separated values, one line a layer")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command. Exit code 1 where a layer could not be compared."""
    require("compare", "torch", "safetensors", "numpy")
    if len(options.files) < 2 and not options.ranks:
        raise UsageError("compare needs two files or more; of one file, --ranks tells what rank its layers need.")
    from ...bake.merge_plan import model_of_file
    from ...check.model_weights import ModelWeights
    from ...compare.compare import compare_files

    with ExitStack() as opened:
        sources = fetch_sources(options.files, opened, err)
        model = None
        if options.model is not None:
            weights = opened.enter_context(ModelWeights(options.model))
            model = model_of_file(read_model(options.model), weights.read)
        found = compare_files(sources, model, options.ranks)
        if options.model is not None:
            say_traffic(options.model, err)
    if all(layer.not_compared for layer in found.layers):
        raise PatchbayError(f"nothing can be compared: {found.layers[0].not_compared}")
    if options.form == "json":
        write_json(out, _json(found))
    elif options.form == "csv":
        write_rows(out, _columns(found), _rows(found))
    else:
        for line in _text(found, options.ranks):
            say(out, _printable(line))
    lost = found.left_out or any(layer.not_compared for layer in found.layers)
    return EXIT_WARNING if lost else EXIT_OK


def _text(found: Comparison, ranks: bool) -> Iterator[str]:
    from ...compare.compare import SAME, cosine, factor_between

    gram, last = found.gram, len(found.names) - 1
    yield from _course(found)
    for number in range(last):
        between = factor_between(gram, number, last)
        if between is None:
            yield f"{found.names[number]} or {found.names[last]} changes nothing."
            continue
        factor, residual = between
        pair = f"{found.names[last]} and {found.names[number]}"
        if residual <= SAME:
            yield f"{pair}: the same, times {factor:.6g} (residual {residual:.1e})."
        else:
            yield f"{pair}: cosine {cosine(gram, number, last):.4f}; {residual:.2%} of the first is not in the second."
    if last:
        yield from _by_block(found)
        for number, name in enumerate(found.names):
            only = found.only_in(number)
            if only:
                more = ", ..." if len(only) > _SHOWN else ""
                yield f"only in {name}: {len(only)} layers ({', '.join(only[:_SHOWN])}{more})"
    if ranks:
        yield from _ranks(found)
    yield from (f"not compared: {x.name}: {x.not_compared}" for x in found.layers if x.not_compared)
    yield from (f"left out: {line}" for line in found.left_out)


_BAR, _NAME, _LINE = 20, 40, 300
"""Characters of a drawn bar, of a name beside one, and of a line."""


def _printable(line: str) -> str:
    """A line for a terminal, whatever the files are called; columns stay where they are."""
    return "".join(char if char.isprintable() else "?" for char in line[:_LINE])


def _course(found: Comparison) -> Iterator[str]:
    """Each file's norm; of more than two, such as epochs, drawn beside the cosine to the last."""
    from ...compare.compare import cosine

    last = len(found.names) - 1
    norms = [math.sqrt(max(found.gram[number][number], 0)) for number in range(last + 1)]
    most, width = max(norms), min(max(map(len, found.names)), _NAME)
    for number, (name, norm) in enumerate(zip(found.names, norms, strict=True)):
        letter = chr(65 + number % 26)
        if last < 2:
            yield f"{letter}  {name}: norm {norm:.4g}"
            continue
        short = name if len(name) <= width else f"...{name[3 - width:]}"
        alike = cosine(found.gram, number, last)
        drawn = ("#" * round(_BAR * part) for part in (norm / most if most else 0, max(alike or 0, 0)))
        first, second = (bar.ljust(_BAR) for bar in drawn)
        told = "-" if alike is None else f"{alike:.4f}"
        columns = (letter, short.ljust(width), f"norm {norm:9.4g} {first}", f"cosine to the last {told:>7} {second}")
        yield "  ".join(columns).rstrip()


def _by_block(found: Comparison) -> Iterator[str]:
    """Cosine to the last file and share of each file's squared norm, by block."""
    from ...compare.compare import cosine

    total, last = found.gram, len(found.names) - 1
    heads = [f"cos({chr(65 + number % 26)}, {chr(65 + last % 26)})" for number in range(last)]
    shares = [f"share of {chr(65 + number % 26)}" for number in range(last + 1)]
    yield "  ".join(["block".ljust(20), *(head.rjust(10) for head in (*heads, *shares))])
    for block, gram in found.blocks().items():
        cosines = [cosine(gram, number, last) for number in range(last)]
        parts = [gram[i][i] / total[i][i] if total[i][i] > 0 else 0.0 for i in range(last + 1)]
        cells = [*("-" if x is None else f"{x:.4f}" for x in cosines), *(f"{part:.1%}" for part in parts)]
        yield "  ".join([block.ljust(20), *(cell.rjust(10) for cell in cells)])


def _ranks(found: Comparison) -> Iterator[str]:
    for number, name in enumerate(found.names):
        advice = [(layer, layer.ranks[number]) for layer in found.layers if layer.ranks]
        known = [(layer, x) for layer, x in advice if x is not None]
        yield f"{name}: rank, for 95 %, 98 %, 99 % of the squared norm, above the noise of bfloat16"
        for layer, x in known:
            remark = "  dead" if x.is_dead else "  more rank than it uses" if x.is_over_ranked else ""
            cells = [str(x.rank or "-"), *(str(rank) for rank in x.for_energy), str(x.above_noise)]
            yield "  ".join([layer.name.ljust(48), *(cell.rjust(5) for cell in cells)]) + remark
        needed = [max((x.for_energy[i] for _, x in known), default=0) for i in range(3)]
        yield f"{name}: largest rank needed for 95, 98, 99 %: {', '.join(map(str, needed))}"


def _columns(found: Comparison) -> list[str]:
    numbers = range(1, len(found.names) + 1)
    cosines = (f"cosine_{i}_last" for i in numbers[:-1])
    ranks = (f"{name}_{i}" for i in numbers for name in ("rank_95", "rank_98", "rank_99", "above_noise"))
    return ["layer", "block", *(f"norm_{i}" for i in numbers), *cosines, *ranks]


def _rows(found: Comparison) -> Iterator[list[object]]:
    from ...compare.compare import cosine

    last = len(found.names) - 1
    for layer in found.layers:
        norms = [math.sqrt(max(layer.gram[i][i], 0)) for i in range(last + 1)]
        cosines = [cosine(layer.gram, i, last) for i in range(last)]
        ranks: list[object] = []
        for i in range(last + 1):
            advice = layer.ranks[i] if layer.ranks else None
            ranks += [*advice.for_energy, advice.above_noise] if advice is not None else [""] * 4
        yield [layer.name, layer.block, *norms, *("" if x is None else x for x in cosines), *ranks]


def _json(found: Comparison) -> dict[str, object]:
    columns = _columns(found)
    return {
        "files": list(found.names), "inner_products": [list(row) for row in found.gram],
        "layers": [dict(zip(columns, row, strict=True)) for row in _rows(found)], "left_out": list(found.left_out),
    }  # fmt: skip

"""The command ``lora-patchbay verify``: whether a checkpoint holds LoRAs, and at which strengths."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import PatchbayError
from ...report.text import clean
from ..check import read_model
from ..exits import EXIT_DOUBT, EXIT_OK, EXIT_UNFIT, EXIT_WARNING, describe, gravest, require
from ..output import say, write_json, write_rows
from ..reports import add_forms
from ..sources import HELP, METAVAR
from .read import read_sources

if TYPE_CHECKING:
    from ...compare.verify import Verification, VerifiedLayer

CODES = {"verified": EXIT_OK, "partly": EXIT_WARNING, "not": EXIT_UNFIT, "cannot tell": EXIT_DOUBT}
_SHOWN = 12


def add_command(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "verify",
        help="say whether a checkpoint holds LoRAs, and at which strengths",
        description="Look for LoRAs in the difference of a checkpoint and its base, by least squares on each weight; "
        "with several LoRAs, their strengths at once. Where the merge can be done again, its bytes are compared. "
        "Exit codes: 0 verified, 1 partly, 3 not, 4 cannot tell; the gravest of all LoRAs.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the model that may hold them")
    parser.add_argument("files", nargs="+", metavar=METAVAR, help=HELP)
    parser.add_argument("--base", type=Path, required=True, help="the model that it was made from")
    add_forms(parser, "one JSON object", "comma-separated values, one line a layer")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """The command."""
    require("verify", "torch", "safetensors", "numpy")
    from ...bake.merge_plan import model_of_file
    from ...check.model_weights import ModelWeights
    from ...compare.verify import verify_checkpoint

    sources = read_sources(options.files)
    try:
        with ModelWeights(options.checkpoint) as checkpoint, ModelWeights(options.base) as base:
            model = model_of_file(read_model(options.base), base.read)
            found = verify_checkpoint(checkpoint, base, sources, model)
    except OSError as error:
        raise PatchbayError(describe(error, options.checkpoint)) from error
    if options.form == "json":
        write_json(out, _json(found))
    elif options.form == "csv":
        write_rows(out, _columns(found), _rows(found))
    else:
        for line in _text(found):
            say(out, clean(line, 300))
    return gravest([CODES[verdict.value] for verdict in found.verdicts])


def _text(found: Verification) -> Iterator[str]:
    for number, name in enumerate(found.names):
        verdict, reason = found.verdicts[number].value, found.reasons[number]
        strength = f", strength {found.strengths[number]:.4g}" if found.strengths and verdict != "cannot tell" else ""
        yield f"{name}: {verdict}{strength}: {reason}."
    changed = [layer for layer in found.layers if layer.difference > 0]
    if changed:
        total = sum(layer.difference**2 for layer in changed)
        rest = sum(layer.rest**2 for layer in changed)
        floor = sum(layer.rounding**2 for layer in changed)
        yield (
            f"{len(changed)} of {len(found.layers)} compared layers differ from the base; "
            f"{(rest / total) ** 0.5:.2%} of the difference is left, {(floor / total) ** 0.5:.2%} would be rounding."
        )
    exact = Counter(layer.replay.way for layer in found.layers if layer.replay is not None and layer.replay.exact)
    for way, count in exact.most_common():
        yield f"{count} of {len(found.layers)} layers are the same byte for byte when merged again: {way}."
    odd = [layer for layer in found.layers if layer.difference > 0 and not layer.explained]
    yield from (f"{layer.name}: strength {_strengths(layer)}, {_share(layer)} left" for layer in odd[:_SHOWN])
    if len(odd) > _SHOWN:
        yield f"and {len(odd) - _SHOWN} more layers; --csv lists all."
    if found.elsewhere:
        more = ", ..." if len(found.elsewhere) > _SHOWN else ""
        yield f"changed, but by none of these LoRAs: {', '.join(found.elsewhere[:_SHOWN])}{more}"
    yield from (f"not compared: {line}" for line in found.not_compared[:_SHOWN])
    if len(found.not_compared) > _SHOWN:
        yield f"not compared: {len(found.not_compared) - _SHOWN} more"


def _strengths(layer: VerifiedLayer) -> str:
    return ", ".join("-" if x is None else f"{x:.4g}" for x in layer.strengths)


def _share(layer: VerifiedLayer) -> str:
    return f"{layer.rest / layer.difference:.2%}" if layer.difference else "nothing"


def _columns(found: Verification) -> list[str]:
    numbers = range(1, len(found.names) + 1)
    return ["layer", *(f"{what}_{i}" for i in numbers for what in ("strength", "error")),
            "difference", "rest", "rounding", "replay", "bytes_same"]  # fmt: skip


def _rows(found: Verification) -> Iterator[list[object]]:
    for layer in found.layers:
        pairs = zip(layer.strengths, layer.errors, strict=True)
        figures = ["" if x is None else x for pair in pairs for x in pair]
        way, share = (layer.replay.way, layer.replay.share) if layer.replay is not None else ("", "")
        yield [layer.name, *figures, layer.difference, layer.rest, layer.rounding, way, share]


def _json(found: Verification) -> dict[str, object]:
    columns = _columns(found)
    files = [
        {"name": name, "verdict": found.verdicts[i].value, "reason": found.reasons[i],
         "strength": found.strengths[i] if found.strengths else None,
         "error": found.errors[i] if found.errors else None}
        for i, name in enumerate(found.names)
    ]  # fmt: skip
    return {
        "files": files, "layers": [dict(zip(columns, row, strict=True)) for row in _rows(found)],
        "elsewhere": list(found.elsewhere), "not_compared": list(found.not_compared),
    }  # fmt: skip

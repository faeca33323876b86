"""What the commands write: lines, tables, comma-separated values, progress."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ..check.scan import SCAN_COLUMNS, ScanRow
from ..report.report import LayerReport, Report
from ..report.text import clean, size

_STEP = 16
"""Files between two updates of the progress."""
_WIDEST = 60
_ROWS = 4_096
"""Rows that are held at once: of a table, to find how wide its columns are; of a Parquet file."""

LAYER_COLUMNS = (
    "file", "state", "reason", "lora_key", "model_key", "slice", "block", "layer", "format", "rank", "alpha", "scale",
    "scale_source", "delta_norm", "not_measured",
)  # fmt: skip


def say(stream: TextIO, text: str, end: str = "\n") -> None:
    """One line."""
    stream.write(text + end)


def writable(stream: TextIO | None) -> TextIO:
    """A standard stream that takes any text: a Windows console cannot show every name, and a closed stream is None."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


class Messages(io.TextIOBase):
    """The error stream. Where it is closed or full, messages are dropped: the exit code still tells."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = writable(stream)

    def write(self, text: str) -> int:
        """Write ``text``, or nothing."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be."""
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether somebody watches."""
        return self._stream.isatty()


def write_json(out: TextIO, data: Any) -> None:
    """An indented JSON document."""
    json.dump(data, out, ensure_ascii=True, indent=1)
    say(out, "")


def write_rows(out: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Comma-separated values with a line of names."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)


def write_scan(out: TextIO, rows: Iterable[ScanRow], form: str) -> None:
    """Lines of a scan as ``json`` (one object a line), ``csv`` or a table; the first two as they come."""
    if form == "json":
        for row in rows:
            say(out, json.dumps(row._asdict(), ensure_ascii=True))
    elif form == "csv":
        write_rows(out, SCAN_COLUMNS, rows)
    else:
        remaining = iter(rows)
        _scan_table(list(islice(remaining, _ROWS)), out)
        while more := list(islice(remaining, _ROWS)):
            _scan_table(more, out)


def write_parquet(path: Path, rows: Iterable[ScanRow]) -> None:
    """Lines of a scan as a Parquet file, which appears when it is whole. Needs pyarrow."""
    import pyarrow
    import pyarrow.parquet

    types = {name: pyarrow.int64() if name == "size_bytes" else pyarrow.string() for name in SCAN_COLUMNS}
    schema = pyarrow.schema(list(types.items()))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with pyarrow.parquet.ParquetWriter(part, schema) as writer:
            remaining = iter(rows)
            while batch := list(islice(remaining, _ROWS)):
                writer.write_table(pyarrow.Table.from_pylist([_as_text(row) for row in batch], schema))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _as_text(row: ScanRow) -> dict[str, object]:
    """A file's name may be any bytes."""
    values = row._replace(file=row.file.encode(errors="backslashreplace").decode())
    return values._asdict()


def layer_rows(reports: Iterable[Report]) -> Iterator[tuple[object, ...]]:
    """One row of ``LAYER_COLUMNS`` for each layer."""
    for report in reports:
        name = report.lora.name if report.lora else ""
        for layer in report.layers:
            yield (name, *_layer_row(layer))


def _layer_row(layer: LayerReport) -> tuple[object, ...]:
    part = "" if layer.slice is None else ":".join(map(str, layer.slice))
    figures = ("" if value is None else value for value in (layer.rank, layer.alpha, layer.scale))
    norm = "" if layer.delta_norm is None else f"{layer.delta_norm:.6g}"
    return (
        layer.state.value, clean(layer.reason), clean(layer.lora_key, 500), clean(layer.model_key, 500), part,
        layer.block, layer.layer, layer.format, *figures, clean(layer.scale_source), norm, clean(layer.not_measured),
    )  # fmt: skip


def with_progress(rows: Iterable[ScanRow], total: int, err: TextIO) -> Iterator[ScanRow]:
    """The same rows; how many have come so far is shown on ``err``."""
    for number, row in enumerate(rows, 1):
        if number % _STEP == 0 or number == total:
            say(err, f"\r{number} of {total} files", end="")
            err.flush()
        yield row
    say(err, "")


def _cell(value: object) -> object:
    """A spreadsheet would run a cell that begins like a formula."""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _scan_table(rows: Sequence[ScanRow], out: TextIO) -> None:
    if not rows:
        say(out, "no model files here.")
        return
    judged, doubted, warned = (any(getattr(row, name) for row in rows) for name in ("verdict", "doubts", "warning"))
    alike = any(row.same_as for row in rows)
    names = (*(("verdict", "layers") if judged else ()), *(("doubts",) if doubted else ()))
    names = (*names, *(("same as",) if alike else ()))
    cells = [("file", "kind", "architecture", "formats", "rank", "size", *names, *(("warning",) if warned else ()))]
    for row in rows:
        what = row.architecture if not row.error else row.error
        more = (*((row.verdict, row.landing) if judged else ()), *((row.doubts,) if doubted else ()))
        more = (*more, *((row.same_as,) if alike else ()), *((row.warning,) if warned else ()))
        cells.append((row.file, row.kind or "unreadable", what, row.formats, row.ranks, size(row.size_bytes), *more))
    widths = [min(max(len(line[i]) for line in cells), _WIDEST) for i in range(len(cells[0]))]
    for line in cells:
        shown = (clean(cell).ljust(width) for cell, width in zip(line, widths, strict=True))
        say(out, "  ".join(shown).rstrip())

"""Saved measurements: one JSON object a line, listed and compared later. Nothing leaves the machine."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PatchbayError
from ..report.text import clean
from .runs import MEASUREMENT_SCHEMA, MEASUREMENT_VERSION
from .why import amount, duration

FILE_NAME = "measurements.jsonl"
_LONGEST_LINE = 8_000_000
_PIECE = 1 << 16
_ID = re.compile(rb'(?:^|\n)\{"id":"([0-9]{1,18})"')
_ID_BYTES = 64


def append_result(path: Path, measurement: Mapping[str, Any], when: str) -> str:
    """Add a measurement and return the id under which it is listed.

    One line is written at once, so that a second ComfyUI that writes at the same time cuts nothing in two, and only the
    end of the file is read. A line that was cut off earlier is closed first; one that finds no room is taken back.

    Args:
        when: Local time, ISO 8601.

    Raises:
        OSError: the file cannot be written, or not in full; it holds what it held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{_last_number(path) + 1:04}"
    line = json.dumps({"id": name, "time": when, **measurement}, ensure_ascii=True, separators=(",", ":")) + "\n"
    begin = "" if _ends_with_newline(path) else "\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        _write_whole(handle, (begin + line).encode("ascii"))
    finally:
        os.close(handle)
    return name


def _write_whole(handle: int, data: bytes) -> None:
    """Write all of ``data`` or nothing. A full disk takes a part of it first and says so at the next write only."""
    written = os.write(handle, data)
    if written == len(data):
        return
    end = os.lseek(handle, 0, os.SEEK_CUR)
    if os.fstat(handle).st_size == end:  # else another program wrote behind it: the next line closes this one
        os.ftruncate(handle, end - written)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _last_number(path: Path) -> int:
    """Number of the newest entry; 0 where there is none. Reads backwards, as far as that entry's beginning."""
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        position, tail = file.seek(0, os.SEEK_END), b""
        while position > 0:
            step = min(_PIECE, position)
            position -= step
            file.seek(position)
            tail = file.read(step) + tail[:_ID_BYTES]  # an id that lies on the border of two pieces
            found = [int(match[1]) for match in _ID.finditer(tail) if match.start() or position == 0]
            if found:
                return found[-1]
    return 0


def _ends_with_newline(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


class Saved(NamedTuple):
    """What a file of measurements holds."""

    entries: list[dict[str, Any]]
    """All entries of this version, oldest first."""
    unreadable: int
    """Lines that are none: damaged, foreign or of another version."""


def read_results(path: Path) -> list[dict[str, Any]]:
    """All entries of this version, oldest first; lines that cannot be read are left out.

    Raises:
        PatchbayError: there is no such file.
    """
    return read_saved(path).entries


def read_saved(path: Path) -> Saved:
    """The same, with the number of lines that cannot be read.

    Raises:
        PatchbayError: there is no such file.
    """
    if not path.is_file():
        raise PatchbayError(
            f"{path.name}: no saved measurements here; they are written by Measure Report and Benchmark (Patchbay) "
            "into the folder user/default/lora-patchbay of ComfyUI."
        )
    entries: list[dict[str, Any]] = []
    unreadable = 0
    with open(path, encoding="utf-8", errors="replace") as file:
        # A model file by mistake has lines of any length: no more than one measurement's worth is read at a time.
        while line := file.readline(_LONGEST_LINE):
            entry = _parse(line)
            if entry is not None:
                entries.append(entry)
            elif line.strip():
                unreadable += 1
    return Saved(entries, unreadable)


def _parse(line: str) -> dict[str, Any] | None:
    if len(line) >= _LONGEST_LINE or not line.strip():
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("schema") != MEASUREMENT_SCHEMA:
        return None
    known = entry.get("version") == MEASUREMENT_VERSION and isinstance(entry.get("conditions"), list)
    return entry if known and isinstance(entry.get("id"), str) else None


def list_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """One line a condition: id, time, label, steady evaluation, peak, model and device."""
    rows = [("id", "time", "condition", "steps", "steady", "whole run", "process peak", "model", "device")]
    for entry in entries:
        context = _mapping(entry.get("context"))
        for condition in entry["conditions"]:
            rows.append(
                (
                    entry["id"],
                    str(entry.get("time", ""))[:16],
                    clean(str(condition.get("label", "")), 28),
                    str(condition.get("steps", "")),
                    _duration(_mapping(condition.get("steady_ms")).get("median")),
                    _duration(_figure(condition.get("total_s")), 1000),
                    _amount(_figure(_mapping(condition.get("memory")).get("process_low"))),
                    clean(str(_model_of(context, condition).get("model", "")), 32),
                    clean(str(context.get("device", "")), 28),
                )
            )
    if len(rows) == 1:
        return "no measurement is saved in this file yet.\n"
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def compare_text(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """Two saved measurements, condition by condition of the same name, and what differs in their circumstances."""
    lines = [f"{two['id']} against {one['id']}:"]
    by_label = {condition.get("label"): condition for condition in one["conditions"]}
    shared = [condition for condition in two["conditions"] if condition.get("label") in by_label]
    for condition in shared:
        before = by_label[condition.get("label")]
        lines.append(clean(str(condition.get("label")), 60))
        for words, read, show in _COMPARED:
            a, b = read(before), read(condition)
            if a is not None and b is not None:
                change = f" ({(b / a - 1) * 100:+.1f} %)" if a else ""
                lines.append(f"  {words}: {show(a)} -> {show(b)}{change}")
    if not shared:
        lines.append("no condition has the same name in both.")
    differing = _differing(_mapping(one.get("context")), _mapping(two.get("context")))
    if differing:
        lines += ["Not the same in both:", *(f"- {line}" for line in differing)]
    lines.append("Two runs at different times have no interval: measure both in one benchmark for a verdict.")
    return "\n".join(lines) + "\n"


def _seconds(value: float) -> str:
    return duration(value * 1000)


def _memory(name: str) -> Any:
    return lambda condition: _figure(_mapping(condition.get("memory")).get(name))


_COMPARED: tuple[tuple[str, Any, Any], ...] = (
    ("steady evaluation", lambda c: _mapping(c.get("steady_ms")).get("median"), duration),
    ("first evaluation after a switch", lambda c: _figure(c.get("first_ms")), duration),
    ("loading, after a switch", lambda c: _figure(c.get("prepare_s")), _seconds),
    ("whole warm run", lambda c: _figure(c.get("total_s")), _seconds),
    ("weights copied per evaluation", lambda c: _figure(c.get("streamed_bytes")), amount),
    ("weights on the device", _memory("weights_resident"), amount),
    ("torch peak, allocated", _memory("torch_allocated_peak"), amount),
    ("process peak, at least", _memory("process_low"), amount),
    ("process peak, at most", _memory("process_high"), amount),
    ("device in use, all programs", _memory("device_used_peak"), amount),
)


def _differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    names = [name for name in (*one, *two) if one.get(name) != two.get(name)]
    return [
        f"{name}: {clean(str(one.get(name, 'not known')), 80)} -> {clean(str(two.get(name, 'not known')), 80)}"
        for name in dict.fromkeys(names)
    ]


def _model_of(context: Mapping[str, Any], condition: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(context.get("conditions")).get(str(condition.get("label"))))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _figure(value: Any) -> float | None:
    number = _mapping(value).get("value")
    return float(number) if isinstance(number, (int, float)) else None


def _duration(value: Any, factor: float = 1.0) -> str:
    return duration(value * factor) if isinstance(value, (int, float)) else "-"


def _amount(value: float | None) -> str:
    return "-" if value is None else amount(value)


def find_result(entries: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry with an id, with or without its leading zeros; ``last`` is the newest.

    Raises:
        PatchbayError: there is none.
    """
    if name == "last" and entries:
        return entries[-1]
    for entry in entries:
        if entry["id"] == name or entry["id"].lstrip("0") == name.lstrip("0"):
            return entry
    if not entries:
        raise PatchbayError(f"{name}: no measurement is saved yet; Measure Report and Benchmark (Patchbay) save them.")
    known = ", ".join(entry["id"] for entry in entries[-8:])
    raise PatchbayError(f'{name}: no measurement has this id. The newest are {known}; "last" is the newest of all.')

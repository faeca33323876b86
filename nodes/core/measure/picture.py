"""A measurement as a picture: each evaluation as a bar, memory as bars, drawn with Pillow's own font."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image, ImageDraw

from ..images.lettering import fit_text
from ..images.lettering import plain_font as _font
from ..images.panels import from_pillow
from .runs import Comparison, ConditionSummary, Measurement, RunRecord
from .text import ratio_text
from .why import amount, duration

WIDTH = 1000
_MARGIN, _LABEL, _VALUES = 24, 190, 250
_STRIP, _BAR = 58, 20
_CUT = 3.0
"""Bars longer than this many steady evaluations are cut, with their time written above."""

COLOURS: dict[str, str] = {
    "ground": "#202124",
    "ink": "#e8e8e8",
    "soft": "#a4a8ad",
    "line": "#45484d",
    "loading": "#cc79a7",
    "first": "#e69f00",
    "steady": "#56b4e9",
    "weights": "#009e73",
    "activations": "#56b4e9",
    "cast_buffers": "#cc79a7",
    "rest": "#6b7076",
}
"""Okabe and Ito's colours, which stay apart in every kind of colour blindness."""

SEGMENT_WORDS = {
    "weights": "weights",
    "activations": "activations",
    "cast_buffers": "cast buffers",
    "rest": "everything else",
}


def measurement_picture(report: Measurement) -> torch.Tensor:
    """[height, width, 3] in 0..1, float32."""
    rows = len(report.conditions)
    summary = _wrap(report.summary, _font(15), WIDTH - 2 * _MARGIN)[:4]
    memory = any(condition.segments for condition in report.conditions)
    height = 2 * _MARGIN + 34 + 22 * len(summary) + 40 + rows * (_STRIP + 18) + 26
    height += (52 + rows * (_BAR + 22) + 26) if memory else 0
    image = Image.new("RGB", (WIDTH, max(height, 120)), COLOURS["ground"])
    draw = ImageDraw.Draw(image)
    y = _MARGIN
    draw.text((_MARGIN, y), fit_text(report.title, _font(20), WIDTH - 2 * _MARGIN), COLOURS["ink"], font=_font(20))
    y += 34
    for line in summary:
        draw.text((_MARGIN, y), line, COLOURS["soft"], font=_font(15))
        y += 22
    if rows:
        y = _strips(draw, report, y + 12)
    if memory:
        _memory_bars(draw, report, y + 14)
    return from_pillow(image)


def _strips(draw: ImageDraw.ImageDraw, report: Measurement, y: int) -> int:
    """One row of bars a condition: a run after a switch, then a warm one. Returns the y below."""
    _heading(draw, "Each model evaluation, all conditions on one scale", y)
    y += 28
    steady = [c.steady_ms.median for c in report.conditions if c.steady_ms is not None]
    shown = {condition.label: shown_runs(report, condition.label) for condition in report.conditions}
    bars = {label: [bar for run in runs for bar in run_bars(run)] for label, runs in shown.items()}
    longest = max((ms for own in bars.values() for _, ms in own), default=1.0)
    top = min(longest, _CUT * max(steady)) if steady else longest
    left, right = _MARGIN + _LABEL, WIDTH - _MARGIN - _VALUES
    step = min(22.0, (right - left) / max([1, *(len(own) + 2 * len(shown[label]) for label, own in bars.items())]))
    for condition in report.conditions:
        x = float(left)
        for run in shown[condition.label]:
            for kind, ms in run_bars(run):
                tall = max(1, round(min(ms, top) / top * (_STRIP - 14)))
                draw.rectangle((x, y + _STRIP - tall, x + max(1.0, step - 2), y + _STRIP), COLOURS[kind])
                if ms > top:
                    draw.line((x, y + 24, x + max(1.0, step - 2), y + 18), COLOURS["ground"], 2)
                    draw.text((x, y - 4 - 13 * (kind == "loading")), duration(ms), COLOURS[kind], font=_font(12))
                x += step
            x += 2 * step
        draw.line((left, y + _STRIP + 1, right, y + _STRIP + 1), COLOURS["line"])
        _label(draw, condition, y + _STRIP - 34)
        _pace(draw, condition, _comparison(report, condition.label), right + 14, y + _STRIP - 44)
        y += _STRIP + 18
    names = [("loading", "loading"), ("first", "first evaluation after a switch"), ("steady", "evaluation")]
    _legend(draw, names, y)
    return y + 26


def shown_runs(report: Measurement, label: str) -> list[RunRecord]:
    """The last run after a switch and the last warm run of a condition."""
    done = [run for run in report.runs if run.condition == label and run.outcome == "success"]
    cold = [run for run in done if run.after_switch][-1:]
    return cold + [run for run in done if not run.after_switch][-1:]


def run_bars(run: RunRecord) -> list[tuple[str, float]]:
    """The bars of one run: ``loading``, ``first`` and ``steady``, in ms."""
    evaluations = [
        ("first" if number == 0 and run.after_switch else "steady", ms) for number, ms in enumerate(run.evaluations_ms)
    ]
    return [("loading", run.prepare_s * 1000), *evaluations] if run.after_switch else evaluations


def _label(draw: ImageDraw.ImageDraw, condition: ConditionSummary, y: int) -> None:
    draw.text((_MARGIN, y), fit_text(condition.label, _font(15), _LABEL - 12), COLOURS["ink"], font=_font(15))
    small = f"{condition.steps} steps, {condition.facts.mode}"
    draw.text((_MARGIN, y + 19), fit_text(small, _font(12), _LABEL - 12), COLOURS["soft"], font=_font(12))


def _pace(
    draw: ImageDraw.ImageDraw, condition: ConditionSummary, comparison: Comparison | None, x: int, y: int
) -> None:
    pace = "one evaluation only" if condition.steady_ms is None else f"{duration(condition.steady_ms.median)} steady"
    total = condition.total_s.value
    lines = [(pace, "ink", 15), (f"{duration(total * 1000)} a run" if total is not None else "", "soft", 12)]
    if comparison is not None and comparison.steady.value is not None:
        lines.append((f"{ratio_text(comparison.steady)} a step", "soft", 12))
    for text, colour, size in lines:
        draw.text((x, y), fit_text(text, _font(size), _VALUES - 14), COLOURS[colour], font=_font(size))
        y += size + 4


def _memory_bars(draw: ImageDraw.ImageDraw, report: Measurement, y: int) -> None:
    where = "main memory" if all(c.facts.mode == "CPU" for c in report.conditions) else "device memory"
    _heading(draw, f"Peak {where} of the process", y)
    y += 36
    left, right = _MARGIN + _LABEL, WIDTH - _MARGIN - _VALUES
    whole = max(_extent(condition) for condition in report.conditions) or 1.0
    for condition in report.conditions:
        _bar(draw, condition, left, right, whole, y)
        y += _BAR + 22
    names = dict.fromkeys(segment.name for condition in report.conditions for segment in condition.segments)
    _legend(draw, [(name, SEGMENT_WORDS[name]) for name in names], y)


def _bar(draw: ImageDraw.ImageDraw, condition: ConditionSummary, left: int, right: int, whole: float, y: int) -> None:
    x = float(left)
    for segment in condition.segments:
        wide = segment.size_bytes / whole * (right - left)
        if wide >= 0.5:
            draw.rectangle((x, y, x + wide, y + _BAR), COLOURS[segment.name])
        x += wide
    draw.text((_MARGIN, y + 1), fit_text(condition.label, _font(15), _LABEL - 12), COLOURS["ink"], font=_font(15))
    low, high = condition.memory.process_low.value, condition.memory.process_high.value
    text = "not known" if low is None else amount(low)
    if low is not None and high is not None and high > low * 1.005:
        text = f"{amount(low)} to {amount(high)}"
        end = left + high / whole * (right - left)
        draw.line((x, y + _BAR / 2, end, y + _BAR / 2), COLOURS["soft"])
        draw.line((end, y + 4, end, y + _BAR - 4), COLOURS["soft"])
    draw.text((right + 14, y + 1), fit_text(text, _font(15), _VALUES - 14), COLOURS["ink"], font=_font(15))


def _extent(condition: ConditionSummary) -> float:
    known = [condition.memory.process_low.value, condition.memory.process_high.value]
    return max((value for value in known if value is not None), default=0.0)


def _comparison(report: Measurement, label: str) -> Comparison | None:
    return next((comparison for comparison in report.comparisons if comparison.b == label), None)


def _heading(draw: ImageDraw.ImageDraw, text: str, y: int) -> None:
    draw.text((_MARGIN, y), text, COLOURS["ink"], font=_font(15))
    draw.line((_MARGIN, y + 22, WIDTH - _MARGIN, y + 22), COLOURS["line"])


def _legend(draw: ImageDraw.ImageDraw, entries: list[tuple[str, str]], y: int) -> None:
    x = float(_MARGIN + _LABEL)
    for colour, words in entries:
        draw.rectangle((x, y + 3, x + 10, y + 13), COLOURS[colour])
        draw.text((x + 16, y), words, COLOURS["soft"], font=_font(12))
        x += 16 + _font(12).getlength(words) + 22


def _wrap(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fit_text(word, font, width))
    return lines

"""A measurement as text: what each condition took, the comparison, and the sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..report.text import clean
from .runs import Comparison, ConditionSummary, Figure, Measurement, MemoryFigures, Ratio
from .verdict import percent
from .why import amount, duration

MEMORY_WORDS = {
    "weights_total": "weights, all",
    "weights_resident": "weights on the device",
    "torch_allocated_peak": "torch peak, allocated",
    "torch_reserved_peak": "torch peak, reserved",
    "cast_buffers": "cast buffers",
    "process_low": "process peak, at least",
    "process_high": "process peak, at most",
    "device_used_peak": "device in use, all programs",
    "pinned_ram": "pinned main memory",
    "ram_low": "main memory peak, at least",
    "ram_high": "main memory peak, at most",
}
_LABEL_LENGTH = 28
TOO_WIDE = 2.0
"""An interval that reaches this many times the ratio says nothing."""
SAME = 0.0005
"""Ratios of memory closer to 1 than this are listed together."""


def measurement_text(report: Measurement) -> str:
    """The whole measurement for people."""
    sections = [
        [clean(report.title), clean(report.summary, 1000)],
        _table(_time_rows(report.conditions)) if report.conditions else [],
        _table(_memory_rows(report.conditions)) if report.conditions else [],
        _missing(report.conditions),
        *[_comparison(item) for item in report.comparisons],
        _block_table(report.conditions),
        ["Why:", *(f"- {clean(item.condition, _LABEL_LENGTH)}: {item.text}" for item in report.sentences)]
        if report.sentences
        else [],
        [f"- {clean(note, 1000)}" for note in report.notes],
        _context(report),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _context(report: Measurement) -> list[str]:
    own = report.context.get("conditions")
    lines = [f"{name}: {clean(str(value))}" for name, value in report.context.items() if name != "conditions"]
    for label, facts in (own if isinstance(own, dict) else {}).items():
        words = ", ".join(f"{name} {clean(str(value), 80)}" for name, value in facts.items())
        lines.append(f"{clean(label, _LABEL_LENGTH)}: {words}")
    return lines


Rows = list[tuple[str, ...]]


def _time_rows(conditions: Sequence[ConditionSummary]) -> Rows:
    def row(name: str, read: Callable[[ConditionSummary], str]) -> tuple[str, ...]:
        return (name, *(read(condition) for condition in conditions))

    def milliseconds(figure: Figure) -> str:
        return "-" if figure.value is None else duration(figure.value)

    def seconds(figure: Figure) -> str:
        return "-" if figure.value is None else duration(figure.value * 1000)

    return [
        row("time", lambda c: clean(c.label, _LABEL_LENGTH)),
        row("steps / evaluations", lambda c: f"{c.steps} / {c.evaluations}"),
        row("steady evaluation", lambda c: "-" if c.steady_ms is None else duration(c.steady_ms.median)),
        row(
            "  quartiles, n",
            lambda c: (
                "-"
                if c.steady_ms is None
                else f"{duration(c.steady_ms.q1)} .. {duration(c.steady_ms.q3)}, {c.steady_ms.n}"
            ),
        ),
        row("steps per second", lambda c: "-" if not c.iterations_per_s.value else f"{c.iterations_per_s.value:.3g}"),
        row("first evaluation, after a switch", lambda c: milliseconds(c.first_ms)),
        row("  of that LoRA arithmetic", lambda c: f"{duration(c.lora.first_ms)}, {c.lora.first_calls} calls"),
        row("loading, after a switch", lambda c: seconds(c.prepare_s)),
        row("  of that LoRA arithmetic", lambda c: f"{duration(c.lora.prepare_ms)}, {c.lora.prepare_calls} calls"),
        row("whole run, warm", lambda c: seconds(c.total_s)),
        row("cost of switching to it", lambda c: seconds(c.switch_s)),
        row("weights copied per evaluation", lambda c: _size(c.streamed_bytes)),
        row("runs", lambda c: str(c.runs)),
        row("timed by", lambda c: c.clock),
        row("loaded", lambda c: c.facts.mode),
    ]


def _memory_rows(conditions: Sequence[ConditionSummary]) -> Rows:
    rows: Rows = [("memory", *(clean(condition.label, _LABEL_LENGTH) for condition in conditions))]
    on_cpu = all(condition.facts.mode == "CPU" for condition in conditions)
    for name, words in MEMORY_WORDS.items():
        figures: list[Figure] = [getattr(condition.memory, name) for condition in conditions]
        if on_cpu and name.startswith("process"):
            continue  # main memory, which has rows of its own
        if any(figure.value is not None for figure in figures):
            rows.append((words, *map(_size, figures)))
    return rows


def _size(figure: Figure) -> str:
    return "-" if figure.value is None else amount(figure.value)


def _missing(conditions: Sequence[ConditionSummary]) -> list[str]:
    """What could not be read, and why; once for all conditions."""
    reasons: dict[str, list[str]] = {}
    for condition in conditions:
        for name, words in MEMORY_WORDS.items():
            figure: Figure = getattr(condition.memory, name)
            if figure.value is None and words not in reasons.setdefault(figure.reason, []):
                reasons[figure.reason].append(words)
    known = {reason: names for reason, names in reasons.items() if names}
    return ["Not read:", *(f"- {', '.join(names)}: {reason}" for reason, names in known.items())] if known else []


def _comparison(item: Comparison) -> list[str]:
    lines = [f"{clean(item.b, 60)} against {clean(item.a, 60)}:", f"- {item.speed_verdict}"]
    lines.append(f"- steady evaluation {ratio_text(item.steady)}, whole warm run {ratio_text(item.total)}")
    if item.speed_floor is not None:
        lines.append(f"- A/A floor: the steady paces of two runs of one model differ by {item.speed_floor:.2%}")
    known = [
        (MEMORY_WORDS[name], ratio)
        for name, ratio in item.memory.items()
        if ratio.value is not None
        and not (name.startswith("process") and ratio == item.memory.get(name.replace("process", "ram")))
    ]
    same = [words for words, ratio in known if abs((ratio.value or 1.0) - 1.0) < SAME]
    lines += [f"- {words} {ratio_text(ratio)}" for words, ratio in known if words not in same]
    if same:
        lines.append(f"- the same to within {SAME:.2%}: {', '.join(same)}")
    for difference in (item.latents, item.images):
        if difference is not None:
            lines.append(f"- {difference.text}")
            if difference.ssim is not None:
                psnr = "" if difference.psnr is None else f"PSNR {difference.psnr:.2f} dB, "
                lines.append(f"  {psnr}SSIM {difference.ssim:.4f}")
    return lines


def ratio_text(ratio: Ratio) -> str:
    """``+12.3 % (+11.0 % to +13.6 %)``."""
    if ratio.value is None:
        return f"not known ({ratio.reason})"
    if ratio.low is None or ratio.high is None:
        return percent(ratio.value)
    if ratio.high > TOO_WIDE * ratio.value:
        return f"{percent(ratio.value)} (too few runs for an interval)"
    return f"{percent(ratio.value)} ({percent(ratio.low)} to {percent(ratio.high)})"


def _block_table(conditions: Sequence[ConditionSummary]) -> list[str]:
    with_blocks = [condition for condition in conditions if condition.blocks]
    if not with_blocks:
        return []
    rows: Rows = [("block", *(clean(condition.label, _LABEL_LENGTH) for condition in with_blocks))]
    names = dict.fromkeys(block.block for condition in with_blocks for block in condition.blocks)
    for name in names:
        cells = []
        for condition in with_blocks:
            block = next((block for block in condition.blocks if block.block == name), None)
            time = "-" if block is None or block.ms.value is None else duration(block.ms.value)
            peak = "" if block is None or block.peak_bytes.value is None else f", {amount(block.peak_bytes.value)}"
            cells.append(time + peak)
        rows.append((name, *cells))
    return _table(rows)


def _table(rows: Rows) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def missing_figures(memory: MemoryFigures) -> dict[str, str]:
    """Figures that were not read, with the reason."""
    return {name: getattr(memory, name).reason for name in MEMORY_WORDS if getattr(memory, name).value is None}

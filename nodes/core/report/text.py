"""A report as text for people: what every node shows, and what the command line prints."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from .block_figures import COUNTED, BlockFigure, block_figures
from .report import LayerReport, LayerState, Level, LoraSummary, ModelSummary, Report
from .workbench_text import compared_lines, compared_rows, found_block_rows, found_rows, rank_rows

STATE_WORDS = {
    LayerState.APPLIED: "applied",
    LayerState.SKIPPED: "skipped (strength 0)",
    LayerState.NO_SUCH_LAYER: "no such layer in the model",
    LayerState.SHAPE_MISMATCH: "shape does not fit",
    LayerState.WRONG_ARCHITECTURE: "made for another architecture",
    LayerState.NOT_UNDERSTOOD: "not understood",
    LayerState.DEAD: "dead (all zero)",
    LayerState.IN_FILE: "in the file",
}
_LIST_TITLES = {"inspect": "Layers of the file:", "check": "Layers that land:"}
_NAMES_A_REASON = 6
_VALUE_LENGTH = 300
_METADATA_FIELDS = 60


def report_text(report: Report) -> str:
    """The whole report as readable text.

    Title and summary, the model, the LoRA, strengths, layers by state with their reasons grouped, a table of the
    blocks, and every patched layer by name. Text from files is cleaned of control characters and cut to length.
    """
    sections = [
        _head(report),
        _doubts(report),
        _model(report.model) if report.model else [],
        _lora(report.lora) if report.lora else [],
        _strengths(report),
        _states(report),
        _two_loaders(report),
        _blocks(report),
        _titled("LoRAs that were looked for:", found_rows(report.found)),
        _titled("Their strength in each block:", found_block_rows(report.found)),
        _titled("Beside the second file:", compared_rows(report.compared)),
        [clean(line, 1000) for line in compared_lines(report.compared)],
        _titled("Rank, and what keeps 95, 98 and 99 % of the squared norm:", rank_rows(report.ranks)),
        _model_blocks(report),
        _notes(report),
        _layer_list(report),
        _metadata(report.lora) if report.lora else [],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def clean(text: str, length: int = _VALUE_LENGTH) -> str:
    """``text`` on one line, without control characters and at most ``length`` characters long."""
    if len(text) <= length and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    # Cut first: metadata of a hostile file may be huge.
    cut = text[: length + 1]
    words = "".join(" " if c.isspace() else c for c in cut if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join(words.split())
    return line if len(text) <= length else line[:length].rstrip() + "..."


def number(value: float) -> str:
    """Four significant digits, without trailing zeros."""
    return f"{value:.4g}"


def size(size_bytes: int) -> str:
    """``18.2 MB``; units of 1000, as file managers and hubs count."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def count_text(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _head(report: Report) -> list[str]:
    mark = {Level.OK: "", Level.WARNING: "Warning: ", Level.ERROR: "Error: "}[report.level]
    summary = clean(report.summary, 1000)
    advice = clean(report.advice, 1000)
    return [clean(report.title), *([mark + summary] if summary else []), *([advice] if advice else [])]


def _doubts(report: Report) -> list[str]:
    return [f"Doubt ({doubt.id}): {clean(doubt.sentence, 1000)}." for doubt in report.doubts]


def _model(model: ModelSummary) -> list[str]:
    facts = [clean(model.architecture) or "not identified"]
    if model.model_class:
        facts.append(f"class {clean(model.model_class)}")
    if model.weight_count:
        facts.append(count_text(model.weight_count, "tensor"))
    if model.parameter_count:
        facts.append(f"{_parameters(model.parameter_count)} parameters")
    if model.dtype:
        facts.append(clean(model.dtype))
    if model.hidden_size:
        facts.append(f"hidden size {model.hidden_size}")
    lines = [f"Model: {', '.join(facts)}"]
    if model.blocks:
        groups = (f"{group.kind}.{group.first}-{group.first + group.count - 1}" for group in model.blocks)
        lines.append(f"  blocks: {', '.join(clean(group) for group in groups)}")
    lines.extend(f"  because {clean(sentence)}" for sentence in model.evidence)
    return lines


def _parameters(count: int) -> str:
    for unit, step in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return str(count)


def _lora(lora: LoraSummary) -> list[str]:
    size_text = f", {size(lora.size_bytes)}" if lora.size_bytes else ""
    lines = [f"LoRA: {clean(lora.name)}{size_text}"]
    formats = ", ".join(f"{clean(name)} x {count}" for name, count in lora.formats.items())
    facts = {
        "made for": lora.architecture,
        "formats": formats,
        "rank": _ranks(lora.ranks),
        "key style": lora.key_style,
        "written by": lora.writer,
        "base model": lora.base_model,
        "trigger words": ", ".join(lora.trigger_words[:20]),
    }
    lines.extend(f"  {name}: {clean(value)}" for name, value in facts.items() if value)
    return lines


def _ranks(ranks: Sequence[int]) -> str:
    if len(ranks) <= 8:
        return ", ".join(str(rank) for rank in ranks)
    return f"{min(ranks)} to {max(ranks)}, {len(ranks)} different"


def _strengths(report: Report) -> list[str]:
    parts = [
        f"{name} {number(value)}"
        for name, value in (("model", report.strength_model), ("CLIP", report.strength_clip))
        if value is not None
    ]
    lines = [f"Strength: {', '.join(parts)}"] if parts else []
    if report.blocks.strip():
        lines.append(f"Blocks: {clean(report.blocks, 1000)}")
    return lines


def _states(report: Report) -> list[str]:
    if not report.layers:
        return []
    groups: dict[LayerState, list[LayerReport]] = defaultdict(list)
    for layer in report.layers:
        groups[layer.state].append(layer)
    counts = ", ".join(f"{len(groups[s])} {STATE_WORDS[s]}" for s in LayerState if s in groups)
    coverage = "" if report.coverage is None else f"; {report.coverage:.1%} of the file's strength lands"
    lines = [f"Layers: {len(report.layers)} in all: {counts}{coverage}"]
    for state in LayerState:
        lines.extend(_reasons(state, groups.get(state, [])))
    return lines


def _reasons(state: LayerState, layers: list[LayerReport]) -> list[str]:
    """One line a reason, with the names it concerns."""
    by_reason: dict[str, list[LayerReport]] = defaultdict(list)
    for layer in layers:
        if layer.reason:
            by_reason[layer.reason].append(layer)
    lines: list[str] = []
    for reason, members in by_reason.items():
        lines.append(f"  {STATE_WORDS[state]}, {len(members)} x: {clean(reason, 600)}")
        lines.append(f"    {_names(members)}")
    return lines


def _names(layers: Sequence[LayerReport]) -> str:
    names = [clean(_name(layer), 120) for layer in layers[:_NAMES_A_REASON]]
    more = len(layers) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _name(layer: LayerReport) -> str:
    return layer.lora_key or layer.model_key or f"{layer.block}.{layer.layer}"


def _two_loaders(report: Report) -> list[str]:
    """How many layers end how with Apply LoRA and with ComfyUI's own loader, side by side."""
    groups: dict[tuple[LayerState, LayerState], list[LayerReport]] = defaultdict(list)
    for layer in report.layers:
        if layer.stock is not None:
            groups[layer.state, layer.stock].append(layer)
    if not groups:
        return []
    rows = [("Apply LoRA (Patchbay)", "ComfyUI's own loader", "layers")]
    reasons: list[str] = []
    for (ours, stock), members in groups.items():
        rows.append((STATE_WORDS[ours], STATE_WORDS[stock], str(len(members))))
        for reason in dict.fromkeys(x.stock_reason for x in members if x.stock_reason and x.stock_reason != x.reason):
            reasons.append(f"  ComfyUI's own loader, {STATE_WORDS[stock]}: {clean(reason, 600)}")
    return ["With each loader:", *_table(rows), *dict.fromkeys(reasons)]


def _model_blocks(report: Report) -> list[str]:
    """The model block by block; columns for a second model only where there is one."""
    blocks = report.model_blocks
    if not blocks:
        return []
    figures = {
        "distance": [block.distance for block in blocks],
        "direction shift": [block.direction_shift for block in blocks],
        "cosine": [block.cosine for block in blocks],
    }
    shown = {name: values for name, values in figures.items() if any(value is not None for value in values)}
    rows: list[tuple[str, ...]] = [("block", "weights", "parameters", "patched", "stored as", *shown)]
    for index, block in enumerate(blocks):
        values = (values[index] for values in shown.values())
        stored = ", ".join(f"{clean(name, 60)} x {count}" for name, count in block.dtypes.items())
        rows.append(
            (clean(block.block, 60), str(block.weights), _parameters(block.parameters), str(block.patched), stored,
             *("-" if value is None else number(value) for value in values))
        )  # fmt: skip
    missing = dict.fromkeys(block.not_compared for block in blocks if block.not_compared)
    return ["Blocks of the model:", *_table(rows), *(f"  not compared: {clean(reason)}" for reason in missing)]


def _blocks(report: Report) -> list[str]:
    figures = [figure for figure in block_figures(report.layers) if figure.block]
    if not figures:
        return []
    relative = any(figure.norm_ratio is not None for figure in figures)
    header = (
        "block",
        "layers",
        "strength",
        "delta norm",
        *(("delta / weight", "mean of layers") if relative else ()),
    )
    rows = [header, *(_block_row(figure, relative) for figure in figures)]
    missing = sum(figure.not_measured for figure in figures)
    note = [f"  {count_text(missing, 'layer')} not measured; a block with one has no figure."] if missing else []
    return ["Blocks (norms at the strength used, root-sum-square over the layers):", *_table(rows), *note]


def _block_row(figure: BlockFigure, relative: bool) -> tuple[str, ...]:
    low_high = figure.strengths[:: max(1, len(figure.strengths) - 1)]
    strength = " to ".join(number(value) for value in low_high) or "-"
    layers = str(figure.applied) if figure.applied == figure.layers else f"{figure.applied} of {figure.layers}"
    norms = (figure.delta_norm, figure.norm_ratio, figure.mean_ratio)[: 3 if relative else 1]
    return (clean(figure.block, 60), layers, strength, *("-" if x is None else number(x) for x in norms))


def _titled(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    return [title, *_table([[clean(cell, 80) for cell in row] for row in rows])] if rows else []


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _notes(report: Report) -> list[str]:
    return ["Notes:", *(f"  {clean(note, 1000)}" for note in report.notes)] if report.notes else []


def _layer_list(report: Report) -> list[str]:
    applied = [layer for layer in report.layers if layer.state in COUNTED]
    if not applied:
        return []
    title = _LIST_TITLES.get(report.kind, "Patched layers:")
    return [title, *(f"  {_layer_line(layer)}" for layer in applied)]


def _layer_line(layer: LayerReport) -> str:
    key = clean(layer.model_key or layer.lora_key, 200)
    if layer.slice:
        dim, start, length = layer.slice
        key += f"[{'rows' if dim == 0 else f'dim {dim}'} {start}-{start + length - 1}]"
    used = layer.state is not LayerState.IN_FILE
    facts = [f"strength {number(layer.strength)}" if used else "", clean(layer.format)]
    if layer.rank is not None:
        needs = f" (95, 98, 99 % need {', '.join(map(str, layer.needs))})" if layer.needs else ""
        facts.append(f"rank {layer.rank}{needs}")
    if layer.alpha is not None:
        facts.append(f"alpha {number(layer.alpha)}")
    if layer.scale is not None:
        source = f" ({clean(layer.scale_source)})" if layer.scale_source else ""
        facts.append(f"scale {number(layer.scale)}{source}")
    if layer.norm_ratio is not None:
        facts.append(f"delta / weight {number(layer.norm_ratio)}")
    elif layer.delta_norm is not None:
        facts.append(f"delta norm {number(layer.delta_norm)}")
    elif layer.not_measured:
        facts.append(f"not measured: {clean(layer.not_measured)}")
    if layer.stored:
        facts.append(f"stored as {clean(layer.stored)}")
    # What comes from a file or a message is cleaned; numbers need not be.
    facts.extend(clean(word) for word in (layer.owner and f"from {layer.owner}", layer.reason) if word)
    return f"{key}: {', '.join(fact for fact in facts if fact)}"


def _metadata(lora: LoraSummary) -> list[str]:
    if not lora.metadata:
        return []
    items: Iterable[tuple[str, str]] = list(lora.metadata.items())[:_METADATA_FIELDS]
    more = len(lora.metadata) - _METADATA_FIELDS
    lines = ["Metadata of the file:", *(f"  {clean(key, 80)}: {clean(value, 160)}" for key, value in items)]
    return [*lines, f"  and {count_text(more, 'more field')}"] if more > 0 else lines

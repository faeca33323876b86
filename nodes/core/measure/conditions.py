"""The text that names the conditions of a benchmark: one line for each connected model.

``name``, optionally followed by ``|`` and settings of its own: ``distilled + LoRA | steps=4 cfg=1 against=3``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PatchbayError

_SETTING = re.compile(r"^(\w+)\s*=\s*([^\s,]+)$")
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class ConditionLine:
    """One parsed line."""

    label: str
    steps: int | None = None
    cfg: float | None = None
    against: int = 1
    """1-based line of the condition that this one is compared with."""


def parse_conditions(text: str) -> tuple[ConditionLine, ...]:
    """All lines that are not empty; ``#`` begins a comment.

    Raises:
        PatchbayError: a setting is not ``steps=N`` or ``cfg=X``, or a number is out of range.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#")[0].strip()
        if content:
            lines.append(_parse_line(content, number))
    return tuple(lines)


def _parse_line(content: str, number: int) -> ConditionLine:
    label, _, settings = content.partition("|")
    steps: int | None = None
    cfg: float | None = None
    against = 1
    for item in re.split(r"[\s,]+", re.sub(r"\s*=\s*", "=", settings.strip())):
        match = _SETTING.match(item) if item else None
        if not item:
            continue
        name, value = match.groups() if match else ("", "")
        if name == "steps" and value.isdigit() and 1 <= int(value) <= _MOST_STEPS:
            steps = int(value)
        elif name == "cfg" and _is_number(value):
            cfg = float(value)
        elif name == "against" and value.isdigit() and int(value) >= 1:
            against = int(value)
        else:
            raise PatchbayError(
                f'conditions, line {number}: "{item}" is not understood; after the bar write steps=N (1 to '
                f"{_MOST_STEPS}), cfg=X or against=LINE, for example: distilled | steps=4 cfg=1."
            )
    if not label.strip():
        raise PatchbayError(f"conditions, line {number}: expected a name before the bar, got nothing.")
    return ConditionLine(label.strip(), steps, cfg, against)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) is not None and float(text) <= 100


def label_conditions(text: str, letters: Sequence[str]) -> tuple[ConditionLine, ...]:
    """One line for each connected model; those that the text does not name are called after their input.

    Raises:
        PatchbayError: the text does not parse, names more conditions than there are models, one name twice, or
            compares with a line that does not exist.
    """
    lines = parse_conditions(text)
    if len(lines) > len(letters):
        raise PatchbayError(
            f"conditions: {len(lines)} lines for {len(letters)} connected models; write one line for each, in the "
            "order model_a, model_b, and so on."
        )
    labels = [line.label for line in lines]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise PatchbayError(f'conditions: "{twice}" stands twice; every condition needs a name of its own.')
    far = next((line for line in lines if line.against > len(letters)), None)
    if far is not None:
        raise PatchbayError(
            f'conditions: "{far.label}" is compared with line {far.against}, but only {len(letters)} models are '
            "connected."
        )
    return (*lines, *(ConditionLine(f"model {letter}") for letter in letters[len(lines) :]))

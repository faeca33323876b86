"""Presets of block strengths: those that are shipped, and the user's own in one JSON file.

A shipped preset says what it does, not what it promises: which part of the model it leaves at the LoRA's strength and
which it takes away. Figures beside it are measurements (``tests/bench/preset_bench.py``) and count for the model and
the LoRA they name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, cast

from ..errors import PatchbayError
from .preset_figures import FIGURES
from .text import parse_block_strengths

SCHEMA = "patchbay.user_presets"
VERSION = 1
USER_PREFIX = "user/"
"""Before the name of a user preset in a menu, so that a name is never taken for a shipped one."""

MAX_NAME, MAX_TEXT, MAX_DESCRIPTION, MAX_PRESETS, MAX_BYTES = 80, 20_000, 2_000, 500, 16_000_000
STRUCTURE = "the structure of the model, not from experience with LoRAs"
UNMEASURED = "what it leaves of a LoRA is not measured: the LoRAs that come with the pack have no such layers"


class PresetError(PatchbayError):
    """A preset cannot be saved, read or deleted as asked."""


class PresetExistsError(PresetError):
    """The name is taken, and overwriting was not asked for."""


@dataclass(frozen=True)
class Preset:
    """One entry of the menu; ``to_json`` is what ``js/types/presets.d.ts`` describes."""

    name: str
    blocks: str
    source: str = "shipped"
    label: Mapping[str, str] = field(default_factory=dict[str, str])
    description: Mapping[str, str] = field(default_factory=dict[str, str])
    origin: str = ""
    measured: tuple[Mapping[str, Any], ...] = ()

    @property
    def provenance(self) -> tuple[str, ...]:
        """Where it comes from and what was measured, in sentences; empty for a user's own."""
        if not self.origin:
            return ()
        return (f'The preset "{self.name}" comes from {self.origin}.', *(_sentence(figure) for figure in self.measured))

    @property
    def value(self) -> str:
        """What the node's menu calls it."""
        return self.name if self.source == "shipped" else f"{USER_PREFIX}{self.name}"

    def to_json(self) -> dict[str, Any]:
        """The preset as JSON-ready data."""
        return {**asdict(self), "value": self.value, "measured": [dict(figure) for figure in self.measured]}


def _shipped(name: str, blocks: str, description: str) -> Preset:
    measured = tuple(FIGURES.get(name, ()))
    origin = STRUCTURE if measured else f"{STRUCTURE}; {UNMEASURED}"
    return Preset(name, blocks, "shipped", {"en": name}, {"en": description}, origin, measured)


def _sentence(figure: Mapping[str, Any]) -> str:
    return (
        f"On {figure['model']} with the LoRA {figure['lora']}, {figure['energy']:.0%} of the change (squared norm) and "
        f"{figure['effect']:.0%} of its effect on the picture are left ({figure['what']})."
    )


_CUT = " On FLUX models it cuts fused weights, which works for plain LoRA files only."
SHIPPED: tuple[Preset, ...] = (
    _shipped("Half strength", "all=0.5", "Everything at half strength."),
    _shipped(
        "Only attention",
        "*=0, *.attn=1",
        f"In the blocks, only the attention layers; the rest of each block is off.{_CUT}",
    ),
    _shipped("Only MLP", "*=0, *.mlp=1", f"In the blocks, only the MLP layers; the rest of each block is off.{_CUT}"),
    _shipped(
        "Only queries and keys",
        "*=0, *.q=1, *.k=1",
        f"Of the blocks, only what decides where attention looks, not what it passes on.{_CUT}",
    ),
    _shipped(
        "Image stream off",
        "*.img=0",
        "The layers that only the image tokens pass are off. For models with two streams (FLUX, SD3, Qwen-Image).",
    ),
    _shipped(
        "Text stream off",
        "*.txt=0",
        "The layers that only the text tokens pass are off. For models with two streams (FLUX, SD3, Qwen-Image).",
    ),
    _shipped(
        "Double blocks off",
        "double_blocks=0",
        "Only the single blocks and the layers outside the blocks. For FLUX models and similar ones.",
    ),
    _shipped(
        "Single blocks off",
        "single_blocks=0",
        "Only the double blocks and the layers outside the blocks. For FLUX models and similar ones.",
    ),
    _shipped("First half", "*.50-100%=0", "The first half of the blocks of each kind; the second half is off."),
    _shipped("Second half", "*.0-50%=0", "The second half of the blocks of each kind; the first half is off."),
    _shipped(
        "Fade out",
        "*.25-50%=0.75, *.50-75%=0.5, *.75-100%=0.25",
        "Falls with depth in four steps: 1, 0.75, 0.5, 0.25, in the blocks of each kind.",
    ),
    _shipped(
        "Fade in",
        "*.0-25%=0.25, *.25-50%=0.5, *.50-75%=0.75",
        "Rises with depth in four steps: 0.25, 0.5, 0.75, 1, in the blocks of each kind.",
    ),
    _shipped(
        "Blocks only",
        "other=0",
        "Layers in no block are off: input and output layers, embeddings, shared modulation.",
    ),
    _shipped(
        "Input blocks off",
        "input_blocks=0",
        "Only the middle and output blocks of a UNet (SD 1.5, SDXL) and the layers outside the blocks.",
    ),
    _shipped(
        "Output blocks off",
        "output_blocks=0",
        "Only the input and middle blocks of a UNet (SD 1.5, SDXL) and the layers outside the blocks.",
    ),
    _shipped("Text encoder off", "te=0", "The diffusion model as it is, the text encoder not at all."),
)


def check_name(name: object) -> str:
    """The name of a user preset, without spaces around it.

    Raises:
        PresetError: it is empty, too long, or holds what a menu or a folder cannot show.
    """
    plain = name.strip() if isinstance(name, str) else ""
    if not plain or len(plain) > MAX_NAME:
        raise PresetError(f"A preset needs a name of 1 to {MAX_NAME} characters; this one has {len(plain)}.")
    bad = sorted({c for c in plain if c in '/\\<>:"|?*' or not c.isprintable()})
    if bad or plain.startswith("."):
        raise PresetError(f"The name of a preset must not hold {' '.join(map(repr, bad)) or 'a dot at its start'}.")
    return plain


class UserPresets:
    """The presets of one user in one file.

    A file that cannot be read is never written over: it is set aside under another name first, and said so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> tuple[tuple[Preset, ...], tuple[str, ...]]:
        """The presets by name, and sentences about what could not be read."""
        try:
            entries, others = self._read()
        except PresetError as error:
            return (), (str(error),)
        lost = f"{len(others)} entries of {self.path.name} are not presets: they are kept, and not shown."
        problems = (lost,) if others else ()
        return tuple(_preset(name, entries[name]) for name in sorted(entries, key=str.casefold)), problems

    def save(self, name: object, blocks: object, description: object = "", overwrite: bool = False) -> Preset:
        """Add a preset, or replace it if ``overwrite``.

        Raises:
            PresetExistsError: the name is taken.
            PresetError: name or texts are not acceptable, or the file was made by a newer version.
            BlockStrengthError: ``blocks`` does not parse.
        """
        plain = check_name(name)
        if not isinstance(blocks, str) or len(blocks) > MAX_TEXT:
            raise PresetError(f"Block strengths have to be a text of at most {MAX_TEXT} characters.")
        if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
            raise PresetError(f"A description has to be a text of at most {MAX_DESCRIPTION} characters.")
        parse_block_strengths(blocks)
        entry = {"blocks": blocks.strip(), "description": description.strip()}
        with _LOCK:
            entries, others = self._entries_to_change()
            if plain in entries and not overwrite:
                raise PresetExistsError(f'There is a preset "{plain}" already.')
            if plain not in entries and len(entries) >= MAX_PRESETS:
                raise PresetError(f"There are {MAX_PRESETS} presets already. Delete one first.")
            self._write({**others, **entries, plain: entry})
        return _preset(plain, entry)

    def delete(self, name: object) -> str:
        """Remove a preset and return its name.

        Raises:
            PresetError: there is none of this name.
        """
        plain = check_name(name)
        with _LOCK:
            entries, others = self._read()
            if plain not in entries:
                raise PresetError(f'There is no preset "{plain}".')
            del entries[plain]
            self._write({**others, **entries})
        return plain

    def _entries_to_change(self) -> tuple[dict[str, dict[str, str]], dict[str, Any]]:
        try:
            return self._read()
        except _NewerFileError:
            raise
        except PresetError:
            self._set_aside()
            return {}, {}

    def _read(self) -> tuple[dict[str, dict[str, str]], dict[str, Any]]:
        """The presets of the file, and what else stands where presets should."""
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise PresetError(f"{self.path.name} is larger than {MAX_BYTES // 1_000_000} MB: not read.")
            data: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}, {}
        except (OSError, ValueError, RecursionError) as error:
            raise PresetError(
                f"{self.path.name}, the file of your presets, cannot be read ({_short(error)}). It is left as it is."
            ) from error
        fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        version, stored = fields.get("version"), fields.get("presets")
        if fields.get("schema") == SCHEMA and isinstance(version, int) and version > VERSION:
            raise _NewerFileError(
                f"{self.path.name} was written by a newer LoRA Patchbay (version {version}): not read."
            )
        if fields.get("schema") != SCHEMA or not isinstance(stored, dict):
            raise PresetError(f"{self.path.name} is not a file of presets. It is left as it is.")
        everything = cast("dict[str, Any]", stored)
        entries = {name: entry for name, value in everything.items() if (entry := _entry(name, value))}
        return entries, {name: value for name, value in everything.items() if name not in entries}

    def _set_aside(self) -> None:
        """Keep an unreadable file under a name that nothing uses."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1000):
            aside = self.path.with_name(f"{self.path.stem}.unreadable-{stamp}{f'-{number}' if number else ''}.json")
            if not aside.exists():
                os.replace(self.path, aside)
                return
        raise PresetError(f"{self.path.name} cannot be read and could not be set aside. Move it away by hand.")

    def _write(self, entries: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        text = json.dumps({"schema": SCHEMA, "version": VERSION, "presets": entries}, indent=1, ensure_ascii=False)
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise PresetError(f"The preset could not be saved: {_short(error)}.") from error


_LOCK = Lock()


class _NewerFileError(PresetError):
    """A file that this version must not write over."""


def _entry(name: str, value: Any) -> dict[str, str] | None:
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    blocks, description = fields.get("blocks"), fields.get("description", "")
    if not isinstance(blocks, str) or not isinstance(description, str):
        return None
    try:
        check_name(name)
    except PresetError:
        return None
    return {"blocks": blocks, "description": description}


def _preset(name: str, entry: Mapping[str, str]) -> Preset:
    description = {"en": entry["description"]} if entry["description"] else {}
    return Preset(name, entry["blocks"], "user", description=description)


def _short(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or "the file system refused it"
    return str(error).split("\n", 1)[0][:100]

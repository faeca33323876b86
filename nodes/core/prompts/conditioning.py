"""Cached prompts: CONDITIONING of any model in a safetensors file, bit for bit.

The file holds the tensors; its metadata says which of them belong to which prompt::

    format          patchbay.conditioning
    format_version  1
    prompts         [{"name": "a cat", "entries": [{"cond": "0.0.cond", "tensors": {"pooled_output":
    "0.0.pooled_output"},
                      "values": {"guidance": 3.5}}]}]

A file of one prompt of one entry lies, where that is possible, as ComfyUI's own *Load Conditioning* reads it, and files
that ComfyUI's *Save Conditioning* wrote are read (:mod:`.conditioning_stock`).

A value is plain JSON; what JSON cannot say is an object with one key: ``{"$tuple": [...]}``, ``{"$tensor":
"key"}``, ``{"$float": "nan"}``, ``{"$dict": [[key, value], ...]}``.
"""

from __future__ import annotations

import difflib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import HeaderError, PatchbayError
from ..files.header import read_header
from ..files.tensors import Header
from .conditioning_stock import OPTIONS, index_of_stock, is_stock, stock_index, stock_layout
from .conditioning_values import Prompt, copy_conditioning, decode_value, encode_prompt, encode_value, same_conditioning

FORMAT = "patchbay.conditioning"
FORMAT_VERSION = "1"

_OWN_METADATA = ("format", "format_version", "prompts", OPTIONS)
_CLOSE_MATCHES = 5
_LISTED_NAMES = 200


@dataclass(frozen=True)
class ConditioningFile:
    """The prompts of one file, in file order, and what else its metadata says."""

    prompts: tuple[Prompt, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    """Metadata that is not part of the format, such as ``modelspec.description``."""


@dataclass(frozen=True)
class PromptSummary:
    """A prompt as its file's header describes it."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    """Shape of the main tensor of each entry."""
    dtype: str
    """As the file spells it: ``BF16``; several are joined with ``/``."""


def list_prompts(path: str | os.PathLike[str]) -> tuple[PromptSummary, ...]:
    """The prompts of a file, read from its header alone.

    Raises:
        HeaderError: it is not a conditioning file, or its header contradicts itself.
        OSError: the file cannot be opened.
    """
    header = read_header(path)
    summaries = []
    for prompt in _read_index(header):
        infos = [header.tensors[entry["cond"]] for entry in prompt["entries"]]
        dtypes = "/".join(dict.fromkeys(info.dtype for info in infos))
        summaries.append(PromptSummary(prompt["name"], tuple(info.shape for info in infos), dtypes))
    return tuple(summaries)


def load_prompt(path: str | os.PathLike[str], name: str = "") -> Prompt:
    """One prompt of a file; its other prompts are not read.

    Args:
        name: Case and the space around it do not count; empty means the first prompt.

    Raises:
        HeaderError: it is not a conditioning file, or its header contradicts itself.
        PatchbayError: the file has no such prompt.
    """
    header = read_header(path)
    index = _read_index(header)
    chosen = index[find_prompt([prompt["name"] for prompt in index], name, header.name)]
    return _load_prompts(header, [chosen])[0]


def load_conditioning_file(path: str | os.PathLike[str]) -> ConditioningFile:
    """Everything in a file.

    Raises:
        HeaderError: it is not a conditioning file, or its header contradicts itself.
    """
    header = read_header(path)
    rest = {key: value for key, value in header.metadata.items() if key not in _OWN_METADATA}
    return ConditioningFile(tuple(_load_prompts(header, _read_index(header))), rest)


def find_prompt(names: list[str], name: str, file_name: str) -> int:
    """Position of a prompt by name; empty is the first.

    Raises:
        PatchbayError: there is none; the text names the closest ones.
    """
    wanted = name.strip()
    if not wanted:
        return 0
    position = _position(names, wanted)
    if position is not None:
        return position
    known = {_folded(other): other for other in names}
    close = [known[other] for other in difflib.get_close_matches(_folded(wanted), known, _CLOSE_MATCHES, 0.5)]
    hint = f"Closest: {_quoted(close)}. " if close else ""
    raise PatchbayError(
        f'{file_name}: no prompt "{wanted}" among its {len(names)}. {hint}Leave the name empty to load the '
        "first one and read all names in the text output."
    )


def add_prompt(
    file: ConditioningFile, name: str, conditioning: Any, *, overwrite: bool = False, note: str = ""
) -> ConditioningFile:
    """``file`` with one prompt more, or with one replaced; everything else in it stays.

    Args:
        note: Stored as ``modelspec.description`` of the whole file; empty leaves what is there.

    Raises:
        PatchbayError: the name is empty, or taken by another conditioning while ``overwrite`` is off, or the
            conditioning holds something that a file cannot hold.
    """
    name = name.strip()
    if not name:
        raise PatchbayError("prompt: a saved conditioning needs a name, by which it is found again.")
    prompt = Prompt(name, copy_conditioning(conditioning))
    metadata = {**file.metadata, **_description(note)}
    position = _position([other.name for other in file.prompts], name)
    if position is None:
        return ConditioningFile((*file.prompts, prompt), metadata)
    present = file.prompts[position]
    if not overwrite and not same_conditioning(present.conditioning, prompt.conditioning):
        raise PatchbayError(
            f'the file already holds another conditioning named "{present.name}". Choose another name, or '
            "switch overwrite on to replace it."
        )
    prompts = (*file.prompts[:position], prompt, *file.prompts[position + 1 :])
    return replace(file, prompts=prompts, metadata=metadata)


def save_conditioning_file(path: str | os.PathLike[str], file: ConditioningFile) -> None:
    """Write ``file``, whole or not at all: to a temporary file beside it, which then takes its place.

    Raises:
        PatchbayError: a conditioning holds something that a file cannot hold.
        OSError: the folder cannot be written.
    """
    tensors, index, options = _encode(file.prompts)
    metadata = {
        **{key: value for key, value in file.metadata.items() if key not in _OWN_METADATA},
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "prompts": json.dumps(index, allow_nan=False),
        **options,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        save_file(tensors, temporary, metadata)
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode(prompts: tuple[Prompt, ...]) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, str]]:
    """Tensors, index and more metadata; laid out as ComfyUI's own loader reads it, where it would read all of it."""
    stock = stock_layout(prompts[0].conditioning) if len(prompts) == 1 else None
    tensors: dict[str, torch.Tensor] = {}
    if stock is None:
        return tensors, [encode_prompt(prompt, str(at), tensors) for at, prompt in enumerate(prompts)], {}
    prompt, (tensors, values) = prompts[0], stock
    options = prompt.conditioning[0][1]
    encoded = [(key, encode_value(value)) for key, value in options.items() if key in values or value is None]
    index = [index_of_stock(prompt.name, prompt.conditioning, encoded)]
    return tensors, index, {OPTIONS: json.dumps(values, allow_nan=False)}


def describe_prompts(prompts: Iterable[PromptSummary]) -> str:
    """One line a prompt: its name, then shape and dtype of its tensors."""
    prompts = tuple(prompts)
    lines = []
    for prompt in prompts[:_LISTED_NAMES]:
        shapes = ", ".join(" x ".join(map(str, shape)) for shape in prompt.shapes)
        lines.append(f"{prompt.name}: {shapes} {prompt.dtype}")
    if len(prompts) > _LISTED_NAMES:
        lines.append(f"... and {len(prompts) - _LISTED_NAMES} more")
    return "\n".join(lines)


def summarise(prompt: Prompt) -> PromptSummary:
    """A loaded prompt as :func:`list_prompts` would describe it, with torch's names of the dtypes."""
    tensors = [entry[0] for entry in prompt.conditioning]
    dtypes = "/".join(dict.fromkeys(str(tensor.dtype).removeprefix("torch.") for tensor in tensors))
    return PromptSummary(prompt.name, tuple(tuple(tensor.shape) for tensor in tensors), dtypes)


def _description(note: str) -> dict[str, str]:
    text = note.strip().encode("utf-8", "replace").decode("utf-8")
    return {"modelspec.description": text} if text else {}


def _load_prompts(header: Header, index: list[dict[str, Any]]) -> list[Prompt]:
    """Only the tensors that ``index`` names, as copies, so that the file is not kept open."""
    assert header.path is not None
    try:
        with safe_open(header.path, framework="pt", device="cpu") as file:

            def tensor(key: Any) -> torch.Tensor:
                if not isinstance(key, str) or key not in header.tensors:
                    raise HeaderError(f'{header.name}: lacks the tensor "{key}" of its metadata.')
                return file.get_tensor(key).clone()

            prompts = []
            for prompt in index:
                conditioning = []
                for entry in prompt["entries"]:
                    options = {name: tensor(key) for name, key in entry.get("tensors", {}).items()}
                    values = entry.get("values", {}).items()
                    options.update((name, decode_value(value, tensor, header.name)) for name, value in values)
                    conditioning.append([tensor(entry["cond"]), options])
                prompts.append(Prompt(prompt["name"], conditioning))
            return prompts
    except SafetensorError as error:
        raise HeaderError(f"{header.name}: cannot be read ({error}); save or download it again.") from error


def _read_index(header: Header) -> list[dict[str, Any]]:
    """The checked ``prompts`` of a file's metadata: names, and keys of tensors that the file holds."""
    name, metadata = header.name, header.metadata
    if "format" not in metadata and is_stock(header):
        return stock_index(header, Path(name).stem)
    if header.container != "safetensors" or metadata.get("format") != FORMAT:
        raise HeaderError(
            f'{name}: is not a file of saved conditioning (its metadata lacks "format": "{FORMAT}"). '
            "Choose a file that Save Conditioning wrote, this pack's or ComfyUI's own."
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise HeaderError(
            f'{name}: saved conditioning of format version "{metadata.get("format_version")}", but this pack '
            f'reads "{FORMAT_VERSION}"; update the pack.'
        )
    try:
        index = json.loads(metadata.get("prompts", ""))
    except (ValueError, RecursionError) as error:
        raise HeaderError(f'{name}: "prompts" in its metadata is not JSON; save or download it again.') from error
    if not isinstance(index, list) or not index:
        raise HeaderError(f"{name}: contains no prompts.")
    for number, prompt in enumerate(cast("list[Any]", index), start=1):
        if not _is_prompt(prompt, header):
            raise HeaderError(
                f"{name}: prompt {number} of its metadata has no name, no entries, or names a tensor that "
                "the file "
                "does not hold; save or download it again."
            )
    return cast("list[dict[str, Any]]", index)


def _is_prompt(prompt: Any, header: Header) -> bool:
    if not isinstance(prompt, dict) or not isinstance(prompt.get("name"), str):
        return False
    entries = prompt.get("entries")
    if not isinstance(entries, list) or not entries:
        return False
    return all(
        isinstance(entry, dict)
        and isinstance(entry.get("cond"), str)
        and entry["cond"] in header.tensors
        and isinstance(entry.get("tensors", {}), dict)
        and isinstance(entry.get("values", {}), dict)
        and all(isinstance(key, str) and key in header.tensors for key in entry.get("tensors", {}).values())
        for entry in entries
    )


def _position(names: list[str], wanted: str) -> int | None:
    if wanted in names:
        return names.index(wanted)
    folded = [_folded(name) for name in names]
    return folded.index(_folded(wanted)) if _folded(wanted) in folded else None


def _folded(name: str) -> str:
    return name.strip().casefold()


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)

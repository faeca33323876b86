"""One line about each file of a folder: what a scan of a whole collection needs, and nothing slower."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PatchbayError
from ..files.elsewhere.place import as_place
from ..files.elsewhere.source import Source
from ..files.header import read_header
from ..files.metadata import base_model_text, read_training
from ..files.storage import read_quantisation
from ..lora.file import LoraFile, read_lora
from ..lora.file_kinds import identify_lora, identify_model, looks_like_lora
from ..report.text import clean

if TYPE_CHECKING:
    from .model_file import ModelFile

SUFFIXES = (".safetensors", ".sft", ".gguf", ".pt", ".pth", ".bin", ".ckpt")


class ScanRow(NamedTuple):
    """What a scan says about a file."""

    file: str
    kind: str = ""
    architecture: str = ""
    certainty: str = ""
    formats: str = ""
    """Adapter formats of a LoRA, storage formats of a model."""
    ranks: str = ""
    key_style: str = ""
    writer: str = ""
    base_model: str = ""
    size_bytes: int = 0
    warning: str = ""
    error: str = ""
    verdict: str = ""
    """``fits``, ``fits in part`` or ``does not fit`` the model of ``--model``; empty for other files."""
    landing: str = ""
    """Layers that land, and all that change anything: ``80/80``."""
    coverage: str = ""
    """Share of the file's strength that lands, 0 to 1; empty where that was not measured."""
    advice: str = ""
    doubts: str = ""
    """Ids of the doubts about a LoRA that fits: ``depth, scale_spread``."""
    trigger_words: str = ""
    """Of a LoRA, as its metadata states them."""
    same_as: str = ""
    """With ``--only same``: the first of the files that hold the same tensors."""


SCAN_COLUMNS = ScanRow._fields


class Found(NamedTuple):
    """What lies below a folder."""

    files: list[Path]
    problems: list[ScanRow]
    """Folders that cannot be read."""


def find_files(folder: Path) -> Found:
    """Every model file below ``folder``, sorted. Linked folders are followed, as ComfyUI does; each is read once."""
    files: list[Path] = []
    problems: list[ScanRow] = []
    seen: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        problems.append(ScanRow(str(error.filename), error=f"the folder cannot be read: {error.strerror or error}."))

    for parent, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above, or a second link to one
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        files.extend(Path(parent, name) for name in sorted(names) if name.lower().endswith(SUFFIXES))
    return Found(files, problems)


def scan_place(place: str, model: str = "", measure: bool = False) -> ScanRow:
    """The line about one file, which may lie elsewhere; so may the model."""
    return scan_file(as_place(place), as_place(model) if model else None, measure)


def scan_file(path: Path | Source, model: Path | Source | None = None, measure: bool = False) -> ScanRow:
    """The line about one file. Never raises for what is wrong with the file: that is a line, too.

    Args:
        path: Of a file elsewhere the source, of which only the header is read.
        model: Check LoRAs against the model in this file, which was read before without an error.
        measure: Also read their tensors for the share of their strength that lands.
    """
    try:
        header = read_header(path)
    except PatchbayError as error:
        return ScanRow(str(path), size_bytes=_size(path), error=clean(str(error)))
    except OSError as error:
        return ScanRow(str(path), error=f"{path.name}: cannot be opened: {error.strerror or error}.")
    row = ScanRow(str(path), size_bytes=header.size_bytes, base_model=clean(base_model_text(header.metadata), 100))
    if looks_like_lora(header):
        lora = read_lora(header)
        match = identify_lora(lora).architecture
        bad = sum(1 for layer in lora.layers if not layer.format)
        row = row._replace(
            kind="LoRA",
            architecture=match.name if match else "",
            certainty=match.certainty if match else "",
            formats=", ".join(lora.formats),
            ranks=", ".join(map(str, lora.ranks[:8])),
            key_style=lora.style.id,
            writer=lora.writer.name,
            warning=f"{bad} layers are not understood" if bad else "",
            trigger_words=clean(", ".join(read_training(header.metadata).trigger_words), 200),
        )
        return row if model is None else _with_verdict(row, lora, model, measure)
    identified = identify_model(header)
    match = identified.architecture
    return row._replace(
        kind=identified.kind_name,
        architecture=match.name if match else identified.detail,
        certainty=match.certainty if match else "",
        formats=str(read_quantisation(header)),
        warning="its kind is not known" if identified.kind == "unknown" else "",
    )


def _with_verdict(row: ScanRow, lora: LoraFile, model: Path | Source, measure: bool) -> ScanRow:
    from ..match.readings import as_loaded
    from .files import check_lora_file

    header = as_loaded(lora.header)
    against = _model(str(model), model.stat().st_mtime_ns if isinstance(model, Path) else 0)
    checked = check_lora_file(lora if header is lora.header else read_lora(header), against, measure)
    verdict, counts = checked.verdict, checked.report.counts
    total = sum(counts.values()) - counts.get("dead", 0)
    return row._replace(
        verdict=verdict.fit.value,
        landing=f"{counts.get('applied', 0)}/{total}",
        coverage=f"{verdict.coverage:.4f}" if verdict.measured else "",
        advice=clean(verdict.advice, 300),
        doubts=", ".join(doubt.id for doubt in verdict.doubts),
    )


@lru_cache(1)
def _model(place: str, changed: int) -> ModelFile:
    """The model, read once in each process, and again after it was ``changed``."""
    from .model_file import read_model_file

    return read_model_file(as_place(place))


def _size(path: Path | Source) -> int:
    try:
        return path.stat().st_size if isinstance(path, Path) else path.size_bytes
    except (OSError, PatchbayError):
        return 0

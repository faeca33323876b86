"""What the metadata of a file says about how it was made: typed fields, and everything else as it is.

The texts come from strangers: they may be huge, nested, of the wrong type or simply untrue. Nothing here raises.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

MAX_JSON = 20_000_000
"""Longest text that is parsed as JSON; tag lists of real files stay below 5 MB."""

_BASE_FIELDS = ("ss_base_model_version", "modelspec.architecture", "base_model", "base_model_name_or_path", "sd_model")
_MAX_TAGS = 5_000
_MAX_TRIGGERS = 50


@dataclass(frozen=True)
class Provenance:
    """Whether a file was trained on a base model or on a distilled one. Only words tell: the shapes are the same."""

    kind: str = ""
    """``base``, ``distilled`` or empty where nothing tells."""
    certainty: str = ""
    """``stated`` or ``possible``."""
    evidence: str = ""


@dataclass(frozen=True)
class Training:
    """Metadata explained."""

    base_model: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    title: str = ""
    author: str = ""
    license: str = ""
    resolution: str = ""
    steps: int | None = None
    epochs: int | None = None
    images: int | None = None
    learning_rate: str = ""
    optimizer: str = ""
    network_module: str = ""
    network_dim: str = ""
    network_alpha: str = ""
    network_args: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: tuple[tuple[str, int], ...] = ()
    """Caption tags with counts, the most frequent first."""
    trigger_words: tuple[str, ...] = ()
    """Words stated as triggers, else folder names and tags that stand on every picture."""
    leftovers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Every field that none of the above was read from, as it is."""

    def facts(self) -> dict[str, str]:
        """The fields that are known, named for people."""
        tags = ", ".join(f"{tag} ({count})" for tag, count in self.tags[:12])
        values: dict[str, object] = {
            "title": self.title, "author": self.author, "license": self.license, "base model": self.base_model,
            "trained on": self._provenance_text(), "resolution": self.resolution, "steps": self.steps,
            "epochs": self.epochs, "images": self.images, "learning rate": self.learning_rate,
            "optimizer": self.optimizer, "network module": self.network_module, "network dim": self.network_dim,
            "network alpha": self.network_alpha,
            "network args": ", ".join(f"{k}={v}" for k, v in self.network_args.items()), "tags": tags,
        }  # fmt: skip
        return {name: str(value) for name, value in values.items() if value not in ("", None)}

    def _provenance_text(self) -> str:
        p = self.provenance
        return f"a {p.kind} model ({p.certainty}: {p.evidence})" if p.kind else p.evidence


def read_training(metadata: Mapping[str, str]) -> Training:
    """Explain the metadata of kohya, musubi, ai-toolkit, OneTrainer, diffusers, ComfyUI and modelspec."""
    reader = _Reader(metadata)
    base = reader.text(*_BASE_FIELDS)
    details = reader.text("ss_sd_model_name", "ss_base_model_name")
    tags = _tags(reader.json("ss_tag_frequency"), reader.json("ss_datasets"))
    images = _integer(reader.text("ss_num_train_images"))
    info = reader.json("training_info")
    info = cast("dict[str, Any]", info) if isinstance(info, dict) else {}
    steps = _integer(reader.text("ss_steps")) or _integer(info.get("step"))
    epochs = _integer(reader.text("ss_epoch")) or _integer(info.get("epoch")) or _integer(reader.text("ss_num_epochs"))
    args = reader.json("ss_network_args")
    args = cast("dict[str, Any]", args) if isinstance(args, dict) else {}
    training = Training(
        base_model=f"{base} ({details})" if base and details and details != base else base or details,
        provenance=_provenance(metadata),
        title=reader.text("modelspec.title", "ss_output_name", "title", "name"),
        author=reader.text("modelspec.author", "author"),
        license=reader.text("modelspec.license", "license"),
        resolution=_resolution(reader.text("modelspec.resolution", "ss_resolution")),
        steps=steps,
        epochs=epochs,
        images=images,
        learning_rate=reader.text("ss_learning_rate", "ss_unet_lr"),
        optimizer=reader.text("ss_optimizer"),
        network_module=reader.text("ss_network_module"),
        network_dim=reader.text("ss_network_dim"),
        network_alpha=reader.text("ss_network_alpha"),
        network_args={str(k)[:80]: str(v)[:200] for k, v in list(args.items())[:50]},
        tags=tags,
        trigger_words=_triggers(reader, tags, images),
        leftovers=reader.rest(),
    )
    return training


def base_model_text(metadata: Mapping[str, str]) -> str:
    """The model that the file says it was trained on, and nothing else of the metadata."""
    return _Reader(metadata).text(*_BASE_FIELDS)


class _Reader:
    """Looks fields up and remembers which were used."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._metadata = metadata
        self._used: set[str] = set()

    def text(self, *names: str) -> str:
        """The first of these fields that says something."""
        for name in names:
            value = self._metadata.get(name, "")
            if value and value not in ("None", "null", "{}", "[]"):
                self._used.add(name)
                return " ".join(value[:500].split())
        return ""

    def json(self, name: str) -> Any:
        """A field parsed as JSON, or ``None``; a field that does not parse stays among the rest."""
        value = self._metadata.get(name, "")
        if not value or len(value) > MAX_JSON:
            return None
        try:
            data = json.loads(value)
        except (ValueError, RecursionError):
            return None
        self._used.add(name)
        return data

    def rest(self) -> dict[str, str]:
        return {key: value for key, value in self._metadata.items() if key not in self._used}


def _integer(value: Any) -> int | None:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and abs(number) < 1e15 else None


def _resolution(text: str) -> str:
    numbers = re.findall(r"\d{2,5}", text[:60]) if text else ()
    return " x ".join(numbers[:2]) if numbers else text[:60]


def _tags(frequency: Any, datasets: Any) -> tuple[tuple[str, int], ...]:
    """Counts over all folders. Both fields of kohya may be there; the datasets repeat the frequencies."""
    counts: Counter[str] = Counter()
    folders: list[Any] = list(cast("dict[str, Any]", frequency).values()) if isinstance(frequency, dict) else []
    if not folders and isinstance(datasets, list):
        for dataset in cast("list[Any]", datasets)[:100]:
            found = cast("dict[str, Any]", dataset).get("tag_frequency") if isinstance(dataset, dict) else None
            folders.extend(cast("dict[str, Any]", found).values() if isinstance(found, dict) else ())
    for folder in folders[:1000]:
        if not isinstance(folder, dict):
            continue
        for tag, count in list(cast("dict[str, Any]", folder).items())[:_MAX_TAGS]:
            number = _integer(count)
            if number and number > 0:
                counts[" ".join(tag[:200].split())] += number
    return tuple(counts.most_common(_MAX_TAGS)) if counts else ()


def _triggers(reader: _Reader, tags: tuple[tuple[str, int], ...], images: int | None) -> tuple[str, ...]:
    stated = reader.text("modelspec.trigger_phrase", "trigger_words", "trigger_word", "ss_trigger_words", "trigger")
    if stated:
        return tuple(word.strip() for word in re.split(r"[,;\n]", stated) if word.strip())[:_MAX_TRIGGERS]
    words = {word: None for word in _folder_words(reader.json("ss_dataset_dirs"), reader.json("ss_tag_frequency"))}
    on_all = [tag for tag, count in tags[:5] if images and count >= images]
    return tuple({**words, **dict.fromkeys(on_all)})[:_MAX_TRIGGERS]


def _folder_words(*sources: Any) -> list[str]:
    """The class name of kohya's folder names: ``10_pepper girl`` trains the words "pepper girl"."""
    words: list[str] = []
    for source in sources:
        for name in list(cast("dict[str, Any]", source))[:20] if isinstance(source, dict) else ():
            match = re.match(r"^\d+_(.{1,100})$", str(name)[:120])
            if match and match[1] not in words:
                words.append(" ".join(match[1].split()))
    return words


_WHERE = (
    "ss_base_model_version", "ss_sd_model_name", "ss_base_model_name", "modelspec.architecture", "base_model",
    "base_model_name_or_path", "modelspec.title", "ss_output_name",
)  # fmt: skip
_DISTILLED = re.compile(
    r"schnell|turbo|lightning|hyper|\blcm\b|dmd|distill|(?<![\d.])(?:[1-9]|1[0-2])[ _-]?steps?\b", re.IGNORECASE
)
"""More than a dozen steps are what a base model wants, or how long something was trained."""
_BASE = re.compile(
    r"klein[-_. ]?base|(?:klein|z-?image)[\w. -]{0,16}?[-_. ]base(?![a-z0-9])|sd_?xl[-_ ]base|[-_. /]base[-_. ]?\d"
    r"|undistilled|de-?distill",
    re.IGNORECASE,
)
_KLEIN = re.compile(r"klein", re.IGNORECASE)


def model_provenance(metadata: Mapping[str, str], file_name: str, architecture: str) -> Provenance:
    """Whether a model itself is a base or a distilled one, from its metadata, else from its file name.

    Args:
        architecture: Name of the model; of FLUX.2 Klein it is said too that nothing tells.
    """
    for name in ("modelspec.architecture", "modelspec.title", "general.name", "general.basename"):
        value = metadata.get(name, "")[:300]
        if value and (kind := _kind_of(value, architecture)):
            return Provenance(kind, "stated" if _words(value) else "possible", f'{name} is "{value[:80]}"')
    kind = _kind_of(file_name[:300], architecture)
    if kind:
        return Provenance(kind, "possible", f'its file name is "{file_name[:80]}"')
    if _KLEIN.search(architecture):
        return Provenance(evidence="neither its name nor its metadata tells, and the shapes are the same")
    return Provenance()


def _words(text: str) -> bool:
    return bool(_BASE.search(text) or _DISTILLED.search(text))


def _kind_of(text: str, architecture: str) -> str:
    if _BASE.search(text):
        return "base"
    # The makers of Klein call the distilled model "klein-4b" and the other "klein-base-4b".
    klein = _KLEIN.search(architecture) and _KLEIN.search(text)
    return "distilled" if klein or _DISTILLED.search(text) else ""


def _provenance(metadata: Mapping[str, str]) -> Provenance:
    """The words of the fields that name the model trained on; its own title only as a possibility."""
    for name in _WHERE:
        value = metadata.get(name, "")[:300]
        certainty = "possible" if name in ("modelspec.title", "ss_output_name") else "stated"
        if _BASE.search(value):
            return Provenance("base", certainty, f'{name} is "{value[:80]}"')
        if _DISTILLED.search(value):
            return Provenance("distilled", certainty, f'{name} is "{value[:80]}"')
    for name in _WHERE:
        value = metadata.get(name, "")[:300]
        if not _KLEIN.search(value):
            continue
        if "ai-toolkit" in metadata.get("software", "")[:500]:
            return Provenance(evidence=f'{name} is "{value[:80]}", which ai-toolkit writes for base and distilled')
        return Provenance(
            "distilled", "possible", f'{name} is "{value[:80]}" without "base"; both have the same shapes'
        )
    return Provenance()

"""Table: every model class of ComfyUI and every transformer class of diffusers, recognised or not, and their LoRAs.

Run from the project's folder with its virtual environment: ``python tests/bench/models_table.py [--out table.md]``;
``docs/models.md`` is what it wrote; it exits 1 where anything is wrong. Each class is built on the meta device, with
the numbers of the released model where they are known here and its own defaults elsewhere. A LoRA for all of its
matrices is listed in the model's own names, joined with underscores (kohya) and, for the classes of diffusers, in
theirs; each is identified, and landed on the model from headers alone.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))

Shapes = Mapping[str, tuple[int, ...]]
RIGHT, OPEN, WRONG, NONE = "yes", "open", "**wrong**", "-"


@dataclass(frozen=True)
class Row:
    """One class."""

    name: str
    family: str
    model: str
    """Whether the model is recognised."""
    native: str
    kohya: str
    blocks: str
    """A LoRA of attention layers in blocks alone: enough to be told, left open, or taken for another family."""
    lands: str

    @property
    def good(self) -> bool:
        """Nothing is called by a wrong name, and everything lands."""
        return WRONG not in (self.model, self.native, self.kohya, self.blocks) and "of" not in self.lands


def start() -> None:
    """Make ComfyUI (on the CPU), the pack and the tests' helpers importable."""
    from faithful_table import start_comfyui

    start_comfyui()
    for folder in ("", "host", "host/inspect"):
        sys.path.insert(0, str(ROOT / "tests" / folder))
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")


def header_of(shapes: Shapes) -> Any:
    """A header with these tensors and no data."""
    from pack.nodes.core.files.tensors import Header, TensorInfo

    infos = {key: TensorInfo(key, "BF16", tuple(shape), 0, 0) for key, shape in shapes.items()}
    return Header("x.safetensors", 0, "safetensors", infos, {})


def lora_of(shapes: Shapes, style: str, only: str = "") -> Any:
    """A LoRA of rank 4 for the matrices of a model, in whose layer names ``only`` stands."""
    from pack.nodes.core.lora.file import read_lora

    tensors: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        if len(shape) < 2 or not key.endswith(".weight") or only not in key:
            continue
        layer = key.removesuffix(".weight")
        layer = f"lora_unet_{layer.replace('.', '_')}" if style == "kohya" else f"{style}{layer}"
        tensors[f"{layer}.lora_down.weight"] = (4, *shape[1:])
        tensors[f"{layer}.lora_up.weight"] = (shape[0], 4, *[1] * (len(shape) - 2))
    return read_lora(header_of(tensors))


def answer(match: Any, family: str) -> str:
    """Whether a file was given the right family, left open with the right one among the candidates, or neither."""
    if match is None or (match.certainty == "ambiguous" and (family in match.candidates or not match.id)):
        return OPEN
    return RIGHT if match.id == family else WRONG


def landing(lora: Any, model: Any) -> str:
    """``all``, or how many of how many layers land."""
    from pack.nodes.core.check.files import check_lora_file
    from pack.nodes.core.check.model_file import model_of_header

    layers = check_lora_file(lora, model_of_header(model)).report.layers
    applied = sum(layer.state.value == "applied" for layer in layers)
    return "all" if applied == len(layers) > 0 else f"{applied} of {len(layers)}"


def row(name: str, family: str, shapes: Shapes, target: Shapes | None = None, prefix: str = "diffusion_model.") -> Row:
    """Everything about one class; ``target`` is the model on which its LoRA lands, the same unless given."""
    from pack.nodes.core.errors import PatchbayError
    from pack.nodes.core.lora.file_kinds import identify_lora, identify_model

    header = header_of(shapes)
    native, kohya = lora_of(shapes, prefix), lora_of(shapes, "kohya")
    attention = next((lora for word in ("attn", "attention") if (lora := lora_of(shapes, prefix, word)).layers), None)
    answers = [answer(identify_lora(lora).architecture, family) for lora in (native, kohya)]
    alone = NONE if attention is None else answer(identify_lora(attention).architecture, family)
    try:
        model = header if target is None else header_of(target)
        landed = [landing(lora, model) for lora in (native, kohya)] if prefix or target is not None else []
    except PatchbayError as error:
        landed = [str(error)]
    lands = NONE if not landed else landed[0] if len(set(landed)) == 1 else ", ".join(landed)
    return Row(name, family, answer(identify_model(header).architecture, family), *answers, alone, lands)


def comfyui_rows(chosen: Iterable[str] = ()) -> Iterator[Row]:
    """Every class in ``comfy.supported_models``."""
    import comfy.supported_models
    from models_of_comfyui import CLASSES, DETECTORS, shapes_of

    wanted = set(chosen)
    for config in comfy.supported_models.models:
        name = config.__name__
        if name in DETECTORS or (wanted and name not in wanted):
            continue
        family, source = CLASSES[name]
        yield row(name, family, shapes_of(source))


def diffusers_classes() -> dict[str, type]:
    """Every transformer of diffusers by name."""
    import diffusers.models.transformers as folder
    from diffusers.models.modeling_utils import ModelMixin

    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{folder.__name__}.{module_info.name}")
        for name, member in vars(module).items():
            if inspect.isclass(member) and issubclass(member, ModelMixin) and member.__module__ == module.__name__:
                found[name] = member
    return found


def diffusers_rows(chosen: Iterable[str] = ()) -> Iterator[Row]:
    """Every transformer class of diffusers that can be built, its LoRAs landed on ComfyUI's model of the same size."""
    import torch
    from models_of_comfyui import DIFFUSERS, NO_PICTURES, OPTIONS, shapes_of

    wanted = set(chosen)
    for name, cls in diffusers_classes().items():
        if name in NO_PICTURES or (wanted and name not in wanted):
            continue
        family, source = DIFFUSERS[name]
        with torch.device("meta"):
            model = cls(**OPTIONS.get(name, {}))
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        target = shapes_of(source) if source else None
        yield row(name, family, shapes, target, "transformer." if target else "")


def page(parts: Mapping[str, list[Row]]) -> str:
    """The page ``docs/models.md``."""
    from pack.nodes.core.model.families import FAMILIES

    lines = [
        "# Models that are known", "",
        f"{len(FAMILIES)} families of models, a file each in `nodes/core/model/families/`. Written by "
        "`tests/bench/models_table.py`, which builds each class on the meta device and makes a LoRA of all of its "
        "matrices in the model's own names and joined with underscores (kohya). *open*: several families have all of "
        "these layers in these widths, and the file alone does not tell; the model it is used with does. The column "
        "*attention alone* is a LoRA of nothing but attention layers. *lands*: on the same model, or for a class of "
        "diffusers on ComfyUI's model of that size; `-` where ComfyUI has none here.", "",
    ]  # fmt: skip
    for title, rows in parts.items():
        lines += [f"## {title}", "", "| class | family | model | LoRA | kohya | attention alone | lands |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for r in rows:
            cells = (f"`{r.name}`", r.family, r.model, r.native, r.kohya, r.blocks, r.lands)
            lines.append(f"| {' | '.join(cells)} |")
        good = sum(r.good for r in rows)
        landed = sum(r.lands == "all" for r in rows)
        lines += ["", f"{good} of {len(rows)} classes: no file has a wrong name. {landed}: every layer lands.", ""]
    lines += ["## Families", "", "| family | name | blocks | hidden size |", "|---|---|---|---|"]
    for family in FAMILIES:
        kinds = ", ".join(f"{kind} {'/'.join(map(str, known))}" for kind, known in family.depths.items()) or NONE
        lines.append(f"| {family.id} | {family.name} | {kinds} | {', '.join(map(str, family.sizes)) or NONE} |")
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> int:
    """Write the table; 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page here instead of printing it")
    parser.add_argument("--only", nargs="*", default=(), help="classes")
    options = parser.parse_args(arguments)
    start()
    parts = {
        "ComfyUI's `supported_models`": list(comfyui_rows(options.only)),
        "Transformers of diffusers": list(diffusers_rows(options.only)),
    }
    text = page(parts)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0 if all(r.good for rows in parts.values() for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

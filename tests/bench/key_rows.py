"""Rows of the table of writers for files of which only names and shapes are at hand: how many of their tensors land.

The models are full-size ones without a weight in memory, so that only names and shapes can be told, no error.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

FOLDERS = {"flux_key_shapes": "FLUX.1", "real_sd15": "SD 1.5"}
"""Folders of headers, and the model of the zoo that their files are for unless the name says another."""

_TEXT = re.compile(r"^(lora_te\d?_|text_encoder)")


class KeyRow(NamedTuple):
    """One file."""

    name: str
    model: str
    tensors: int
    """Of the diffusion model; those of a text encoder are not looked at."""
    stock: int
    """Tensors that ComfyUI's own loader makes patches of that have the shape of their weight."""
    ours: int
    remark: str


def key_rows(shared: Path) -> Iterator[KeyRow]:
    """Every file of :data:`FOLDERS`."""
    for folder, usual in FOLDERS.items():
        for header in sorted((shared / "headers" / folder).glob("*.json")):
            name = "Qwen-Image" if header.stem.startswith("qwen_image") else usual
            data = json.loads(header.read_text(encoding="utf-8"))
            shapes: dict[str, list[int]]
            if "tensors" in data:
                shapes = {key: shape for key, (_, shape) in data["tensors"].items()}
            else:
                shapes = data
            shapes = {key: shape for key, shape in shapes.items() if not _TEXT.match(key)}
            yield _row(header.stem, name, shapes, data.get("__metadata__") or {} if "tensors" in data else {})


def _row(name: str, zoo_name: str, shapes: dict[str, list[int]], metadata: dict[str, str]) -> KeyRow:
    tensors = {key: torch.full(shape, 0.01, dtype=torch.float16) for key, shape in shapes.items()}
    model = _model(zoo_name)
    stock = _by_stock(dict(tensors), model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.safetensors"
        save_file(tensors, str(path), {str(key): str(value) for key, value in metadata.items()})
        ours, remark = _by_us(path, model)
    return KeyRow(name, zoo_name, len(tensors), stock, ours, remark)


def _model(name: str) -> Any:
    import comfy.model_patcher
    from model_zoo import zoo_model

    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(zoo_model(name), load_device=cpu, offload_device=cpu)


def _by_stock(tensors: dict[str, torch.Tensor], model: Any) -> int:
    """Tensors less those that ComfyUI's loader says it did not load, and less those whose patch has another shape."""
    import comfy.lora
    import comfy.lora_convert

    converted = comfy.lora_convert.convert_lora(dict(tensors))
    said = _Said()
    logger = logging.getLogger()
    disabled, handlers = logging.root.manager.disable, logger.handlers
    logging.disable(logging.NOTSET)
    logger.handlers = [said]
    try:
        patches = comfy.lora.load_lora(converted, comfy.lora.model_lora_keys_unet(model.model, {}))
    finally:
        logger.handlers = handlers
        logging.disable(disabled)
    state = model.model.state_dict()
    wrong = sum(  # each with its alpha
        sum(isinstance(part, torch.Tensor) for part in patch.weights) + isinstance(patch.weights[2], float)
        for target, patch in patches.items()
        if not _fits(patch, target, state)
    )
    lost = sum(1 for key in converted if key in said.keys) + wrong
    return len(converted) - lost


class _Said(logging.Handler):
    """Keeps the names that ComfyUI's loader complains of."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """``lora key not loaded: NAME``."""
        text = record.getMessage()
        if "not loaded" in text:
            self.keys.add(text.rpartition(": ")[2].strip())


def _fits(patch: Any, target: Any, state: dict[str, torch.Tensor]) -> bool:
    key, offset = (target, None) if isinstance(target, str) else (target[0], target[1])
    shape = list(state[key].shape)
    if offset is not None:
        shape[offset[0]] = offset[2]
    columns = 1
    for side in shape[1:]:
        columns *= side
    if patch.name == "lora":
        up, down = patch.weights[0], patch.weights[1]
        return (up.shape[0], down.flatten(1).shape[1]) == (shape[0], columns)
    if patch.name == "lokr":
        w1, w2, _, w1_a, w1_b, w2_a, w2_b, *_ = patch.weights
        sides = [
            (whole.shape[0], whole.flatten(1).shape[1]) if whole is not None else (a.shape[0], b.flatten(1).shape[1])
            for whole, a, b in ((w1, w1_a, w1_b), (w2, w2_a, w2_b))
        ]
        return (sides[0][0] * sides[1][0], sides[0][1] * sides[1][1]) == (shape[0], columns)
    return True


def _by_us(path: Path, model: Any) -> tuple[int, str]:
    from pack.nodes.core.report.report import LayerState
    from pack.nodes.host.apply.apply import apply_lora
    from pack.nodes.host.apply.lora_cache import LORA_CACHE

    report = apply_lora(str(path), path.name, model, None, 1.0, 0.0, "").report
    loaded = LORA_CACHE.load(str(path), path.name)
    landed = {layer.lora_key for layer in report.layers if layer.state in (LayerState.APPLIED, LayerState.DEAD)}
    taken = sum(len(layer.keys) for layer in loaded.file.layers if layer.name in landed)
    problem = next((layer.reason for layer in report.layers if layer.lora_key not in landed and layer.reason), "")
    difference = next((layer.reason for layer in report.layers if layer.lora_key in landed and layer.reason), "")
    return taken, problem or difference


def key_text(rows: list[KeyRow]) -> str:
    """The table in Markdown."""
    lines = ["| file | model | tensors | stock | ours | remark of the report |", "|---|---|---|---|---|---|"]
    lines += [f"| {r.name} | {r.model} | {r.tensors} | {r.stock} | {r.ours} | {_short(r.remark)} |" for r in rows]
    whole = [sum(r[column] == r.tensors for r in rows) for column in (3, 4)]
    lines.append(f"| all tensors land, of {len(rows)} files | | | {whole[0]} | {whole[1]} | |")
    return "\n".join(lines)


def _short(remark: str) -> str:
    return remark if len(remark) <= 110 else remark[:106].rsplit(" ", 1)[0] + " ..."

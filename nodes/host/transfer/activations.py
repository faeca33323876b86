"""Reads what a model's blocks and layers compute, through forward hooks that never outlive the reading."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import comfy.utils
import torch
from torch import Tensor

from ...core.model.blocks import MODEL_PREFIX, BlockLayout

IMAGE, TEXT, WHOLE = "img", "txt", "all"
"""Streams: image tokens, text tokens, and both where nothing tells them apart."""

_TUPLES = {
    "DoubleStreamBlock": (IMAGE, TEXT),
    "JointBlock": (TEXT, IMAGE),
    "QwenImageTransformerBlock": (TEXT, IMAGE),
}
"""Order of the streams in what a class of blocks returns; other classes go by the names of their arguments."""

_IMAGE_NAMES = ("img", "hidden_states", "image_tokens", "x")
_TEXT_NAMES = ("txt", "encoder_hidden_states", "text_tokens", "context", "c")
_REFINERS = {"context_refiner": TEXT, "noise_refiner": IMAGE}

Visit = Callable[[str, str, Tensor], None]
"""Called with a block's address, a stream and its features [tokens, channels]."""


class BlockTap:
    """While it is entered, ``visit`` is called for every stream of every block of a model.

    The features are only valid inside the call: some models add to them in place afterwards.
    """

    def __init__(self, model: Any, visit: Visit) -> None:
        """``model`` is a ``ModelPatcher``; its blocks are those of :class:`BlockLayout`."""
        self._blocks = block_modules(model)
        self._visit = visit
        self._handles: list[Any] = []
        self._tokens: dict[str, int] = {}
        self.seen = 0
        """Number of features that were handed on."""

    def __enter__(self) -> BlockTap:
        try:
            for address, module in self._blocks.items():
                hook = self._hook_of(address)
                self._handles.append(_called_module(module).register_forward_hook(hook, with_kwargs=True))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _hook_of(self, address: str) -> Callable[..., None]:
        container = address.rpartition(".")[0]

        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            for stream, features in self._streams(container, module, args, kwargs, output):
                self.seen += 1
                self._visit(address, stream, features)

        return hook

    def _streams(
        self, container: str, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> list[tuple[str, Tensor]]:
        """The streams in what a block returned, each as [tokens, channels]."""
        if isinstance(output, Tensor):
            refiner = next((stream for name, stream in _REFINERS.items() if container.endswith(name)), None)
            if refiner is not None:
                self._tokens[refiner] = output.shape[1]
                return [(refiner, _rows(output))]
            return self._split(module, args, kwargs, output)
        if not isinstance(output, (tuple, list)):
            return []
        names = _TUPLES.get(type(module).__name__) or _names_by_shape(module, args, kwargs, output)
        found = [
            (name, part)
            for name, part in zip(names, output, strict=False)
            if isinstance(part, Tensor) and part.dim() > 2
        ]
        return [(name, _rows(part)) for name, part in found]

    def _split(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> list[tuple[str, Tensor]]:
        if output.dim() != 3:
            return [(IMAGE, _rows(output))]  # a UNet's [batch, channels, height, width]
        start, end = _image_slice(kwargs, output.shape[1], self._tokens)
        if start is not None:
            parts = ((TEXT, torch.cat((output[:, :start], output[:, end:]), 1)), (IMAGE, output[:, start:end]))
            return [(name, _rows(part)) for name, part in parts if part.shape[1]]
        separate = any(name in _arguments(module, args, kwargs) for name in ("context", "encoder_hidden_states"))
        return [(IMAGE if separate else WHOLE, _rows(output))]


def block_modules(model: Any) -> dict[str, Any]:
    """Every block of a ``ModelPatcher`` by its address, in the model's order."""
    layout = BlockLayout(key for key in model.model_state_dict() if key.startswith(MODEL_PREFIX))
    found: dict[str, Any] = {}
    for block in layout.blocks:
        try:
            module = comfy.utils.get_attr(model.model, f"{MODEL_PREFIX}{block}")
        except AttributeError:
            continue
        if isinstance(module, torch.nn.Module):
            found[str(block)] = module
    return found


def _called_module(module: Any) -> Any:
    """ComfyUI walks through the children of a UNet's sequential blocks itself, so the last child is what is called."""
    return module[-1] if isinstance(module, torch.nn.Sequential) and len(module) else module


def _rows(features: Tensor) -> Tensor:
    """[tokens, channels]; pictures have their channels second."""
    moved = features if features.dim() == 3 else features.movedim(1, -1)
    return moved.reshape(-1, moved.shape[-1])


def _arguments(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return dict(kwargs)
    flat = dict(bound)
    for value in bound.values():
        if isinstance(value, dict):
            flat.update({key: item for key, item in value.items() if isinstance(key, str)})
    return flat


def _names_by_shape(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Sequence[Any]) -> list[str]:
    """Streams of a tuple by comparing shapes with the named arguments; ``out0``, ``out1`` where that does not tell."""
    given = _arguments(module, args, kwargs)
    names: list[str] = []
    for index, part in enumerate(output):
        shape = getattr(part, "shape", None)
        is_image = any(getattr(given.get(name), "shape", None) == shape for name in _IMAGE_NAMES)
        is_text = any(getattr(given.get(name), "shape", None) == shape for name in _TEXT_NAMES)
        names.append(f"out{index}" if is_image == is_text else IMAGE if is_image else TEXT)
    return names


def _image_slice(kwargs: Mapping[str, Any], tokens: int, refined: Mapping[str, int]) -> tuple[int | None, int | None]:
    """First and last token of the image in a joint sequence: as the model says, or after the refined text."""
    options = kwargs.get("transformer_options") or {}
    said = options.get("img_slice")
    if said is not None and 0 <= said[0] < said[1] <= tokens:
        return int(said[0]), int(said[1])
    text, image = refined.get(TEXT), refined.get(IMAGE)
    if text is not None and image is not None and text + image <= tokens:
        return tokens - image, tokens
    return None, None


class LayerTap:
    """While it is entered, ``visit(key, inputs, outputs)`` is called for chosen layers, both [tokens, features]."""

    def __init__(self, model: Any, keys: Sequence[str], visit: Callable[[str, Tensor, Tensor], None]) -> None:
        """``keys`` are weight keys of linear layers (``diffusion_model....weight``); others are left out."""
        self._model = model
        self._keys = keys
        self._visit = visit
        self._handles: list[Any] = []

    def __enter__(self) -> LayerTap:
        try:
            for key in self._keys:
                module = linear_of(self._model, key)
                if module is not None:
                    self._handles.append(module.register_forward_hook(self._hook_of(key)))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _hook_of(self, key: str) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                self._visit(key, args[0].reshape(-1, args[0].shape[-1]), output.reshape(-1, output.shape[-1]))

        return hook


def linear_of(model: Any, key: str) -> Any:
    """The linear layer that holds a weight key, or ``None`` where it is something else."""
    try:
        module = comfy.utils.get_attr(model.model, key.removesuffix(".weight"))
    except AttributeError:
        return None
    return module if isinstance(module, torch.nn.Linear) else None

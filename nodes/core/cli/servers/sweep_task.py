"""A workflow as a sweep of one LoRA: the prompt of every cell, and the scenes in which units are left out."""

from __future__ import annotations

import argparse
import itertools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...grid.axes import Axis
from ...strengths.groups import BLOCK
from ...sweep.units import OWN
from ..exits import UsageError
from .cells import SEEDS, SHOWS, Prompt, cut_to_output, find_node, is_link, needed, read_axes, with_settings

SWEEPS, APPLIES = "PatchbayBlockSweep", "PatchbayApplyLora"
JOINS = "ConditioningCombine"
DISTANCE, SEED_COUNT = 0.1, 2
"""As the node Block Sweep has them."""
_LORA, _DECODED, _SHOWN, _PROBE = "patchbay_lora", "patchbay_decoded", "patchbay_shown", "patchbay_probe"
_REGIONAL = re.compile("^ConditioningSet|^PairConditioning|Hook")
"""Nodes that give a prompt a region, a time or hooks: such prompts belong together."""
_SEED_RANGE = 1 << 64


@dataclass(frozen=True)
class Scene:
    """One prompt with one noise."""

    label: str
    settings: Mapping[str, Any]
    """``NODE.INPUT`` to its value."""


@dataclass(frozen=True)
class SweepTask:
    """What is run, and what is asked."""

    prompt: Prompt
    """API format, only the nodes that the picture needs."""
    output: str
    """Id of the node whose picture is taken."""
    lora: str
    """Id of the Apply LoRA node whose blocks are left out."""
    scenes: tuple[Scene, ...]
    prompts: int
    seeds: int
    """``prompts`` x ``seeds`` scenes."""
    mode: str
    grouping: str
    own_groups: str
    distance: float

    @property
    def lora_name(self) -> str:
        """The file."""
        return str(self.prompt[self.lora]["inputs"].get("lora_name", ""))

    @property
    def own_blocks(self) -> str:
        """The strengths that the workflow has already, on one line."""
        lines = str(self.prompt[self.lora]["inputs"].get("blocks", "")).splitlines()
        items = (line.partition("#")[0].strip().strip(",").strip() for line in lines)
        return ", ".join(item for item in items if item)

    @property
    def text_encoder(self) -> bool:
        """Whether the picture depends on the text encoder that the LoRA is applied to."""
        values = [value for node in self.prompt.values() for value in node["inputs"].values() if is_link(value)]
        has_clip = is_link(self.prompt[self.lora]["inputs"].get("clip"))
        return has_clip and any(str(value[0]) == self.lora and value[1] == 1 for value in values)

    def strengths(self, blocks: str) -> str:
        """Block strengths on top of those that the workflow has; later ones win."""
        return ", ".join(filter(None, (self.own_blocks, blocks)))

    def cell(self, blocks: str, scene: Scene) -> Prompt:
        """The prompt of one picture."""
        return with_settings(self.prompt, {**scene.settings, f"{self.lora}.blocks": self.strengths(blocks)})

    def probe(self, blocks: str) -> Prompt:
        """A prompt that applies the LoRA and samples nothing; the remark keeps ComfyUI from knowing it already."""
        made = needed(self.prompt, self.lora)
        made[self.lora]["inputs"]["blocks"] = f"{self.strengths(blocks)}\n# {uuid.uuid4().hex}"
        made[_PROBE] = {"class_type": "PreviewAny", "inputs": {"source": [self.lora, 0]}}
        return made


def read_task(
    prompt: Prompt,
    options: argparse.Namespace,
    image_of: Callable[[str], int | None],
    choices: Callable[[str, str], Sequence[str]],
) -> SweepTask:
    """The sweep that a workflow and the command's options mean.

    Args:
        image_of: Which output of a node type is a picture; ``None`` for one without.
        choices: What an input of a node type lets one choose; empty for one without choices.

    Raises:
        UsageError: there is nothing to sweep in it, or an option does not fit it.
    """
    node = _node(prompt, options.node)
    given: Mapping[str, Any] = prompt[node]["inputs"]
    conditionings: list[Any] = []
    if prompt[node]["class_type"] == SWEEPS:
        workflow, lora = cut_to_output(as_sampler(prompt, node), _SHOWN, image_of), _LORA
        conditionings = split_prompts(prompt, given.get("positive"))
        seed, seeds = f"{node}.seed", _plain(given, "seeds", SEED_COUNT)
    else:
        given = {}
        workflow, lora = cut_to_output(prompt, options.output, image_of), node
        if lora not in workflow.prompt:
            raise UsageError(f"the picture does not come through node {node} ({APPLIES}); name another --output.")
        if is_link(workflow.prompt[lora]["inputs"].get("blocks")):
            raise UsageError(f"blocks of node {node} comes from another node; write the text into the node.")
        seed, seeds = _seed_of(workflow.prompt, options.seeds), SEED_COUNT
    axes = read_axes(options.axis, workflow, choices)
    seeds = 1 if not seed else seeds if options.seeds is None else options.seeds
    scenes, seeds = _scenes(workflow.prompt, axes, (f"{node}.positive", conditionings), seed, seeds)
    return SweepTask(
        workflow.prompt,
        workflow.output,
        lora,
        scenes,
        len(scenes) // seeds,
        seeds,
        options.mode or _plain(given, "mode", "knock-out"),
        options.units or (OWN if options.own_groups else _plain(given, "units", BLOCK)),
        options.own_groups or _plain(given, "own_groups", ""),
        _plain(given, "distance", DISTANCE) if options.distance is None else options.distance,
    )


def _node(prompt: Prompt, wanted: str) -> str:
    if wanted:
        node = find_node(prompt, wanted)
        if prompt[node]["class_type"] not in (SWEEPS, APPLIES):
            kind = prompt[node]["class_type"]
            raise UsageError(f"--node {wanted[:60]}: node {node} is {kind}; expected {SWEEPS} or {APPLIES}.")
        return node
    for kind in (SWEEPS, APPLIES):
        found = [name for name, node in prompt.items() if node["class_type"] == kind]
        if len(found) > 1:
            raise UsageError(f"the workflow has several nodes {kind} ({', '.join(found)}); name one: --node NODE.")
        if found:
            return found[0]
    raise UsageError(f"the workflow has neither a node {SWEEPS} nor {APPLIES}; put one in, with the LoRA in it.")


def _plain(inputs: Mapping[str, Any], name: str, default: Any) -> Any:
    value = inputs.get(name, default)
    if is_link(value):
        raise UsageError(f"{name} comes from node {value[0]}; write it into the node, or give the option.")
    return value


def as_sampler(prompt: Prompt, node: str) -> Prompt:
    """The workflow with Apply LoRA, a sampler and what shows its picture in place of a Block Sweep, which samples as
    KSampler does.

    Raises:
        UsageError: it has no VAE, and so no picture.
    """
    given = prompt[node]["inputs"]
    if not is_link(given.get("vae")):
        raise UsageError(f"node {node} has no VAE, so there is no picture to compare; connect one.")
    passed = ("positive", "negative", "seed", "steps", "cfg", "sampler_name", "scheduler")
    sampler = {name: given[name] for name in passed if name in given}
    apply = {
        "model": given.get("model"),
        "lora_name": given.get("lora_name"),
        "strength_model": given.get("strength", 1.0),
        "strength_clip": 0.0,
        "blocks": "",
        "method": given.get("method", "auto"),
        "as_stock": False,
    }
    first = {"samples": given.get("latent_image"), "batch_index": 0, "length": 1}
    return {
        **prompt,
        _LORA: {"class_type": APPLIES, "inputs": apply},
        f"{_LORA}_latent": {"class_type": "LatentFromBatch", "inputs": first},
        node: {
            **prompt[node],
            "class_type": "KSampler",
            "inputs": {**sampler, "model": [_LORA, 0], "latent_image": [f"{_LORA}_latent", 0], "denoise": 1.0},
        },
        _DECODED: {"class_type": "VAEDecode", "inputs": {"samples": [node, 0], "vae": given["vae"]}},
        _SHOWN: {"class_type": SHOWS, "inputs": {"images": [_DECODED, 0]}},
    }


def split_prompts(prompt: Prompt, link: Any) -> list[Any]:
    """The prompts that Conditioning (Combine) joined, each a scene of its own; one where a region or a time is given.

    Args:
        link: What comes in: ``[node, output]``.
    """
    if not is_link(link):
        return []
    if any(_REGIONAL.search(node["class_type"]) for node in needed(prompt, str(link[0])).values()):
        return [link]
    node = prompt[str(link[0])]
    if node["class_type"] != JOINS:
        return [link]
    return [
        each for name in ("conditioning_1", "conditioning_2") for each in split_prompts(prompt, node["inputs"][name])
    ]


def _seed_of(prompt: Prompt, asked: int | None) -> str:
    """The input that makes the noise; empty where that is not clear and nobody asked for several."""
    found = [
        f"{name}.{field}"
        for name, node in prompt.items()
        for field in SEEDS
        if field in node["inputs"] and not is_link(node["inputs"][field])
    ]
    if len(found) == 1:
        return found[0]
    if asked is not None and asked > 1:
        what = f"there are {', '.join(found)}" if found else "there is none"
        raise UsageError(f"--seeds: expected one input with a seed, {what}; use --axis NODE.INPUT=1,2.")
    return ""


def _scenes(
    prompt: Prompt, axes: Sequence[Axis], positive: tuple[str, Sequence[Any]], seed: str, seeds: int
) -> tuple[tuple[Scene, ...], int]:
    """Every combination of the axes' values, the prompts and the seeds, and how many of each are seeds."""
    parts: list[list[tuple[str, Any, str]]] = [
        [(axis.name, value.value, f"{axis.shown} {value.label}") for value in axis.values] for axis in axes
    ]
    name, links = positive
    if len(links) > 1:
        parts.append([(name, link, f"prompt {number}") for number, link in enumerate(links, 1)])
    noises = [len(axis.values) for axis in axes if axis.kept]
    if noises:
        seeds = noises[0]
    elif seed:
        node, _, field = seed.partition(".")
        first = int(_plain(prompt[node]["inputs"], field, 0))
        values = [(first + number) % _SEED_RANGE for number in range(seeds)]
        parts.append([(seed, value, f"seed {value}") for value in values])
    made = [
        Scene(", ".join(label for _, _, label in chosen), {key: value for key, value, _ in chosen})
        for chosen in itertools.product(*parts)
    ]
    return tuple(made), seeds

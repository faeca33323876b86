"""Measured figures of the shipped presets; written by ``tests/bench/preset_bench.py``, never by hand."""

from __future__ import annotations

from typing import Any

FIGURES: dict[str, list[dict[str, Any]]] = {
    "Half strength": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.25,
            "effect": 0.527,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.25,
            "effect": 0.563,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Only attention": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.207,
            "effect": 0.47,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.248,
            "effect": 0.673,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Only MLP": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.793,
            "effect": 0.619,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.752,
            "effect": 0.49,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Only queries and keys": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.076,
            "effect": 0.039,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.102,
            "effect": 0.095,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Image stream off": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.809,
            "effect": 0.976,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.757,
            "effect": 0.884,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Text stream off": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.74,
            "effect": 0.99,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.794,
            "effect": 0.961,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Double blocks off": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.549,
            "effect": 0.963,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.551,
            "effect": 0.833,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Single blocks off": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.451,
            "effect": 0.158,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.449,
            "effect": 0.281,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "First half": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.355,
            "effect": 0.237,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.36,
            "effect": 0.348,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Second half": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.645,
            "effect": 0.909,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.64,
            "effect": 0.802,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Fade out": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.306,
            "effect": 0.46,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.307,
            "effect": 0.535,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
    "Fade in": [
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-duotone",
            "energy": 0.653,
            "effect": 0.944,
            "command": "python tests/bench/preset_bench.py",
        },
        {
            "what": "8 prompts, 4 steps, CFG 1, median",
            "model": "klein-nano-distilled",
            "lora": "klein-nano-monochrome",
            "energy": 0.661,
            "effect": 0.859,
            "command": "python tests/bench/preset_bench.py",
        },
    ],
}

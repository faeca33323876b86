"""Measured figures of the shipped presets; written by ``tests/bench/preset_bench.py``, never by hand."""

from __future__ import annotations

from typing import Any

FIGURES: dict[str, list[dict[str, Any]]] = {}

"""Runs the command line in this process, or as a program of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pack.nodes.core.cli.main import main

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and messages."""
    out, err = io.StringIO(), io.StringIO()
    code = main([str(a) for a in arguments], out, err)
    return code, out.getvalue(), err.getvalue()


def program(
    tmp_path: Path, *arguments: object, module: tuple[str, ...] = ("-m", "lora_patchbay"), **options: Any
) -> subprocess.CompletedProcess[str]:
    """``python -m lora_patchbay`` as pip lays it out: the folder ``nodes/core`` under that name."""
    link = tmp_path / "lora_patchbay"
    if not link.exists():
        link.symlink_to(ROOT / "nodes" / "core", target_is_directory=True)
    command = [sys.executable, *module, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return subprocess.run(command, text=True, timeout=60, check=False, env=environment, **streams)

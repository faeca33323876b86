"""The core imports nothing but the standard library, torch, numpy, safetensors and itself; its text is ASCII."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[3] / "nodes" / "core"
ALLOWED = {"torch", "numpy", "safetensors", "PIL"}
EXTRAS = {
    "files/elsewhere/address": {"fsspec"},
    "files/elsewhere/http": {"fsspec", "aiohttp"},
    "check/cluster": {"distributed"},
    "cli/output": {"pyarrow"},
    "cli/servers/spread": {"distributed"},
}
"""What the optional extras of the command line bring, and who may import it; see ``files/test_remote.py``."""
WITHOUT_TORCH = (
    "check/inspect",
    "check/scan",
    "cli/check",
    "cli/inspect",
    "cli/main",
    "cli/scan",
    "files/gguf",
    "files/header",
    "files/metadata",
    "lora/file",
    "lora/file_kinds",
    "lora/keys",
    "model/identify",
)
FILES = sorted(CORE.rglob("*.py"))


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CORE).with_suffix("").as_posix())
def test_imports_stay_inside(path: Path) -> None:
    depth = len(path.relative_to(CORE).parts)
    allowed = ALLOWED | EXTRAS.get(path.relative_to(CORE).with_suffix("").as_posix(), set())
    for name, level in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if level:
            assert level <= depth, f"{path.name} leaves the core: {'.' * level}{name}"
        else:
            root = name.split(".")[0]
            assert root in sys.stdlib_module_names or root in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_identification_does_not_import_torch(name: str) -> None:
    tree = ast.parse((CORE / f"{name}.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    for found, level in (pair for node in top for pair in imports(ast.Module([node], []))):
        assert level or found.split(".")[0] not in ALLOWED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CORE).with_suffix("").as_posix())
def test_sources_are_ascii_and_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert len(text.splitlines()) <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, f"{path.name}: {node.name} is long"

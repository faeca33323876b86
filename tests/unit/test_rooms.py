"""Every folder imports only folders below it: in ``nodes/core``, in ``nodes/host`` and in ``js/lib``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CORE = (
    "errors", "files", "model", "report", "lora", "match", "check", "strengths", "bake", "compare", "prompts",
    "images", "measure", "transfer", "sweep", "grid", "cli", "__main__",
)  # fmt: skip
HOST = (
    "comfyui", "match", "norms", "bypass", "restage", "apply", "inspect", "bake", "measure", "transfer", "teach",
    "sweep", "grid", "routes",
)  # fmt: skip
JS = (
    "ui", "words", "comfyui", "report", "measure", "map", "editor", "picker", "rows", "compare", "grid", "shift",
    "sweep", "side_bar", "part_files", "parts", "extension",
)  # fmt: skip
"""The folders from the ground up; a file may import from its own folder and from those before it."""

FEWEST, MOST = 3, 16
"""Files in a folder. Fewer are a part of another room, more are two rooms."""
LONGEST = 400
"""Lines of a file."""
SOURCES = {"nodes": (".py",), "js": (".mjs", ".js", ".css"), "tools": (".py", ".js"), "tests": (".py", ".mjs", ".js")}
"""Folders of the project to the kinds of files in them that are written by hand."""
LISTS = ("nodes/core/model/families/", "js/lib/words/")
"""Files that are tables: a line an entry."""
TABLES = {"nodes/core/model/families"}
"""Folders of tables, a file an entry."""


DOOR = "nodes/host/comfyui/private.py"
"""The one file that reads, and in a few places writes, what is no documented interface of ComfyUI."""
INTERNALS = frozenset(
    (
        "STREAM_AIMDO_CAST_BUFFERS", "STREAM_CAST_BUFFERS", "TOTAL_PINNED_MEMORY", "additional_models", "backup",
        "backup_buffers",
        "bias_function", "cached_patcher_init", "callbacks", "comfy_cast_weights", "current_hooks",
        "current_loaded_models", "current_weight_patches_uuid", "currently_running", "devctxs", "force_cast_weights",
        "forced_hooks", "get_residency", "hook_backup", "hook_patches", "injections", "inplace_update", "is_injected",
        "is_multigpu_base_clone", "model_loaded_weight_memory", "model_lowvram", "object_patches", "patches_uuid",
        "vbar_fault", "vbar_unpin", "vbars_analyze", "weight_function", "weight_wrapper_patches", "wrappers",
    )
)  # fmt: skip
"""Attributes of ComfyUI without an underscore that are its own business all the same."""
KEYFRAMES = frozenset({"_curr_t", "_current_keyframe", "_set_first_as_current"})
"""What classes of ours inherit from private attributes of ComfyUI's."""


def private_reads(path: Path) -> list[str]:
    """Private attributes of objects that are not ours, and ComfyUI's internals, as ``line: name``."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name, owner = "", ""
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, ast.unparse(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
        hidden = name.startswith("_") and not name.startswith("__") and owner not in ("self", "cls", "torch")
        if hidden or name in INTERNALS | KEYFRAMES:
            found.append(f"{node.lineno}: {owner}.{name}")
    return found


PLACES_OF_TENSORS = frozenset({"nodes/host/match/roles.py", "nodes/host/match/writer_adapters.py"})
"""Who knows where ComfyUI's adapters keep which tensor; all others ask for it by its role."""
SAME_OBJECT = {
    "nodes/host/apply/plan.py": "ComfyUI's lists hold a patch, not our record of it; the record holds the patch",
    "nodes/host/inspect/patches.py": "the same record, asked for an entry of ComfyUI's list",
    "nodes/host/match/as_meant.py": "which tensors of a file a patch holds, while the file is held",
    "nodes/host/comfyui/private.py": "tables that several patchers share are looked at once; none is kept",
    "nodes/host/measure/recorder.py": "what is compared lives as long as the sampling that is measured",
    "nodes/host/teach/student.py": "the memo of one deep copy, which is Python's own and goes by address",
    "nodes/host/restage/self_check.py": "the modules are held beside their copies",
    "nodes/host/restage/keep.py": "modules of the model at hand, within one call",
}
"""Who may ask for the identity of an object, and why it cannot be another's by then."""


def calls_of_id(path: Path) -> int:
    """How often a module asks for the ``id`` of an object."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    return sum(isinstance(call.func, ast.Name) and call.func.id == "id" for call in calls)


def places_read(path: Path) -> list[int]:
    """Lines that take something out of an adapter's ``weights`` by its place."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and getattr(node.value, "attr", getattr(node.value, "id", "")) == "weights":
            parts = [node.slice.lower, node.slice.upper] if isinstance(node.slice, ast.Slice) else [node.slice]
            if any(isinstance(part, ast.Constant) and isinstance(part.value, int) for part in parts):
                found.append(node.lineno)
    return found


def python_imports(path: Path, top: Path) -> Iterator[tuple[str, ...]]:
    """What a module imports from its own package, as paths below ``top``."""
    package = path.relative_to(top).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            yield (*base, *(node.module.split(".") if node.module else ()), node.names[0].name)


def js_imports(path: Path, top: Path) -> Iterator[tuple[str, ...]]:
    """What a module of the web side imports from ``top``; types may come from anywhere."""
    text = re.sub(r"/\*\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for found in re.findall(r"""(?:from|import\(|import) ?"(\.[^"]+\.mjs)\"""", text):
        target = (path.parent / found).resolve()
        if target.is_relative_to(top):
            yield target.relative_to(top).with_suffix("").parts


def upward(files: list[Path], top: Path, order: tuple[str, ...], reader: object) -> list[str]:
    """The imports that go up, as ``file -> imported``."""
    wrong: list[str] = []
    for path in files:
        own = path.relative_to(top).with_suffix("").parts[0]
        for target in reader(path, top):  # type: ignore[operator]
            if own == "__init__" or target[0].startswith("__"):
                continue
            if order.index(target[0]) > order.index(own):
                wrong.append(f"{path.relative_to(top).as_posix()} -> {'/'.join(target)}")
    return wrong


@pytest.mark.parametrize(("name", "order"), [("core", CORE), ("host", HOST)])
def test_python_folders_import_only_what_lies_below(name: str, order: tuple[str, ...]) -> None:
    top = ROOT / "nodes" / name
    files = sorted(top.rglob("*.py"))
    reads = {path: [t for t in python_imports(path, ROOT / "nodes") if t and t[0] == name] for path in files}
    assert upward(files, top, order, lambda path, _: (target[1:] for target in reads[path] if len(target) > 1)) == []


def test_core_knows_nothing_above_it_and_host_no_node() -> None:
    nodes = ROOT / "nodes"
    for name, allowed in (("core", {"core"}), ("host", {"core", "host"})):
        for path in sorted((nodes / name).rglob("*.py")):
            reached = {target[0] for target in python_imports(path, nodes) if target}
            assert reached <= allowed, f"{path.relative_to(nodes).as_posix()} imports {sorted(reached - allowed)}"


def test_js_folders_import_only_what_lies_below() -> None:
    top = ROOT / "js" / "lib"
    assert upward(sorted(top.rglob("*.mjs")), top, JS, js_imports) == []


@pytest.mark.parametrize("top", ["nodes/core", "nodes/host", "js/lib"])
def test_rooms_are_neither_closets_nor_halls(top: str) -> None:
    suffix = ".mjs" if top == "js/lib" else ".py"
    for folder in sorted(path for path in (ROOT / top).rglob("*") if path.is_dir() and path.name != "__pycache__"):
        if folder.relative_to(ROOT).as_posix() in TABLES:
            continue
        files = [path for path in folder.iterdir() if path.suffix == suffix and path.name != "__init__.py"]
        assert FEWEST <= len(files) <= MOST, f"{folder.relative_to(ROOT).as_posix()} holds {len(files)} files"


def test_no_file_is_longer_than_one_can_hold_in_the_head() -> None:
    """Tables apart: a file an entry, or texts in two languages."""
    files = [path for top, kinds in SOURCES.items() for path in (ROOT / top).rglob("*") if path.suffix in kinds]
    named = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = {name: lines for name, lines in named.items() if lines > LONGEST and not name.startswith(tuple(LISTS))}
    assert long == {}
    assert {Path(name).suffix for name in named} == {kind for kinds in SOURCES.values() for kind in kinds}
    assert len(named) > 400


def test_one_door_leads_to_the_insides_of_comfyui() -> None:
    files = [path for path in sorted((ROOT / "nodes").rglob("*.py")) if "core" not in path.relative_to(ROOT).parts]
    door = ROOT / DOOR
    reads = {path.relative_to(ROOT).as_posix(): private_reads(path) for path in files if path != door}
    assert {name: found for name, found in reads.items() if found} == {}
    assert len(private_reads(door)) > 20


def test_one_file_knows_the_places_of_tensors() -> None:
    read = {p.relative_to(ROOT).as_posix(): places_read(p) for p in sorted((ROOT / "nodes" / "host").rglob("*.py"))}
    assert {name: lines for name, lines in read.items() if lines and name not in PLACES_OF_TENSORS} == {}
    assert any(read[name] for name in PLACES_OF_TENSORS)


def test_nothing_is_kept_by_the_address_of_an_object() -> None:
    """An address is another object's as soon as the first is gone; objects that compare by identity are keys."""
    asked = {p.relative_to(ROOT).as_posix(): calls_of_id(p) for p in sorted((ROOT / "nodes" / "host").rglob("*.py"))}
    assert {name for name, count in asked.items() if count} == set(SAME_OBJECT)

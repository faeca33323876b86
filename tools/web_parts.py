"""Writes ``js/lib/part_files.mjs``: the modules that each part of the web side is made of, found by its imports.

Run from the project's folder: ``python -m tools.web_parts``. A test holds the file to the imports.
"""

from __future__ import annotations

import re
from pathlib import Path

from .paths import ROOT
from .stamps import write_atomically

LIB = ROOT / "js" / "lib"
TABLE = LIB / "part_files.mjs"
START = ("extension.mjs",)
"""What every page loads; no part names it again."""
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "host": ("comfyui/panel_host.mjs", ("panel",)),
    "report": ("report/widget.mjs", ("panel", "report_card", "report_layers", "workbench")),
    "editor": ("editor/widget.mjs", ("panel", "strength_editor", "strength_detail", "menu", "strength_hand")),
    "rows": (
        "rows/widget.mjs",
        ("panel", "report_card", "strength_editor", "strength_detail", "menu", "strength_hand", "rows", "picker"),
    ),
    "pill": ("rows/pill.mjs", ()),
    "choose": ("rows/choose.mjs", ("panel", "report_card", "rows", "picker")),
    "compare": ("compare/widget.mjs", ("panel", "compare")),
    "grid": ("grid/widget.mjs", ("panel", "report_card", "arrivals", "menu", "grid")),
    "measure": ("measure/widget.mjs", ("panel", "report_card", "measure")),
    "shift": ("shift/widget.mjs", ("panel", "report_card", "shift", "shift_measured", "fit")),
    "sweep": ("sweep/widget.mjs", ("panel", "report_card", "arrivals", "shift", "fit", "sweep")),
    "side_bar": (
        "side_bar/extension.mjs",
        (
            "panel", "report_card", "report_layers", "workbench", "strength_editor", "measure", "map", "map_legend",
            "sidebar", "lora_card",
        ),
    ),
}
"""Name of a part to its main module and its style sheets."""
_IMPORT = re.compile(r"""^(?:import|export)\b[^"]*?from "(\.[^"]+\.mjs)";$|^import "(\.[^"]+\.mjs)";$""", re.MULTILINE)


def closure(*modules: str) -> set[str]:
    """Modules with all that they import, as paths below ``js/lib``."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        path = LIB / name
        for match in _IMPORT.findall(path.read_text(encoding="utf-8")):
            target = (path.parent / (match[0] or match[1])).resolve()
            waiting.append(target.relative_to(LIB).as_posix())
    return found


def table_text() -> str:
    """The text of the table."""
    start = closure(*START)
    lines = ["// Written by `python -m tools.web_parts`: what each part is made of, so that it is asked for at once."]
    lines += ["", "export const PARTS = {"]
    for name, (module, styles) in PARTS.items():
        files = " ".join(_by_folder(closure(module) - start))
        sheets = ", ".join(f'"{sheet}"' for sheet in styles)
        lines += [f"  {name}: {{", f'    module: "./{module}",', f"    styles: [{sheets}],"]
        lines += [f'    files: "{files}",', "  },"]
    return "\n".join([*lines, "};", ""])


def _by_folder(files: set[str]) -> list[str]:
    """``{"ui/dom.mjs", "ui/icons.mjs"}`` as ``["ui/dom,icons"]``: each page loads this table."""
    names: dict[str, list[str]] = {}
    for file in sorted(files):
        folder, name = file.removesuffix(".mjs").split("/")
        names.setdefault(folder, []).append(name)
    return [f"{folder}/{','.join(inside)}" for folder, inside in names.items()]


if __name__ == "__main__":
    write_atomically(Path(TABLE), table_text())

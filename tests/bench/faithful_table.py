"""Table: every LoRA writer x {ComfyUI's own loader, LoRA Patchbay}, relative error of what is added to the weights.

Run from the project's folder with its virtual environment: ``python tests/bench/faithful_table.py [--out table.md]``;
``docs/faithful.md`` is what it wrote.
The truth is the writer's own code (PEFT, diffusers, LyCORIS from PyPI), stored results of it where the folder of
shared data is present, or plain formulas for writers that are not on PyPI.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import textwrap
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"hidden": 128, "double": 2, "single": 3}
RIGHT = 1e-3
KEYS = (
    "Real files of which only the header is available, so there is no error to measure. The table counts how many of "
    "their tensors for the diffusion model become a patch, by name and shape, on a full-size model. This does not show "
    "that the result is right; the tables above do that for these formats. "
    "`flux_lokr_bfl_format` has shapes made up for a test that fit no model, and layers that are only numbered "
    "cannot be told apart without the version of the program that wrote them: both are refused with that reason."
)


class Row(NamedTuple):
    """One file of the table."""

    name: str
    truth: str
    stock: float | None
    ours: float | None
    remark: str = ""


def start_comfyui() -> None:
    """Make ComfyUI (on the CPU), the pack and the tests' helpers importable."""
    for name, folder in (("pack", ROOT), ("tools", ROOT / "tools")):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules.setdefault(name, package)
    sys.path.insert(0, str(ROOT / "tests" / "host"))
    from tools.comfyui import comfyui_folder
    from tools.versions import COMFYUI_VERSION

    sys.path.insert(0, str(comfyui_folder(COMFYUI_VERSION)))
    arguments, sys.argv = sys.argv, sys.argv[:1]
    from comfy.cli_args import args

    args.cpu = True
    sys.argv = arguments
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)


def shared_rows() -> Iterator[Row]:
    """Files written by the real tools that lie beside the project, against stored truths."""
    import comfy.sd
    from faithful_cases import SHARED, added, probed_error, stock
    from writer_reference import relative_error

    if not SHARED.is_dir():
        return
    model = comfy.sd.load_diffusion_model(str(SHARED / "nano" / "nano_2x3_bfl_f32.safetensors"))
    for path in sorted(SHARED.glob("loras/*.safetensors")):
        theirs, (ours, remark) = added(stock(model, str(path))), apply(model, path)
        truth = SHARED / "truth" / f"{path.stem.split('.')[0]}.safetensors"
        if truth.is_file():
            errors = probed_error(theirs, truth, model), probed_error(ours, truth, model)
            yield Row(path.stem, "stored", *errors, remark)
        else:
            yield Row(path.stem, "ComfyUI itself", 0.0, relative_error(ours, theirs), remark)


def header_rows() -> Iterator[Row]:
    """Writers of whose files only the headers are at hand: random values in their layout, against plain formulas."""
    import comfy.sd
    from faithful_cases import FORMULA_WRITERS, SHARED, added, file_from_header, stock
    from writer_reference import reference_deltas, relative_error

    if not SHARED.is_dir():
        return
    model = comfy.sd.load_diffusion_model(str(SHARED / "nano" / "nano_2x3_bfl_f32.safetensors"))
    with tempfile.TemporaryDirectory() as folder:
        for tool in FORMULA_WRITERS:
            for header in sorted((SHARED / "headers" / "writers").glob(f"{tool}_*.json")):
                path = Path(folder) / f"{header.stem}.safetensors"
                truth = reference_deltas(file_from_header(header, path), model.model_state_dict(), 1.0)
                theirs, (ours, remark) = added(stock(model, str(path))), apply(model, path)
                yield Row(header.stem, "formulas", relative_error(theirs, truth), relative_error(ours, truth), remark)


def spelling_rows() -> Iterator[Row]:
    """The same LoRA under the names that other tools use, against plain formulas."""
    import comfy.sd
    from faithful_cases import SPELLINGS, added, spelled_tensors, stock, xlabs_tensors
    from nano_models import flux2_state_dict, write
    from writer_reference import reference_deltas, relative_error

    model = comfy.sd.load_diffusion_model_state_dict(flux2_state_dict(seed=4, **SIZES))
    files = {name: spelled_tensors(name, **SIZES) for name in SPELLINGS} | {"XLabs": xlabs_tensors(**SIZES)}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (tensors, plain)) in enumerate(files.items()):
            path = write(Path(folder) / f"{number}.safetensors", tensors)
            truth = reference_deltas(plain, model.model_state_dict(), 1.0)
            theirs, (ours, remark) = added(stock(model, path)), apply(model, Path(path))
            yield Row(name, "formulas", relative_error(theirs, truth), relative_error(ours, truth), remark)


def unet_rows() -> Iterator[Row]:
    """Files for SD 1.5 that the installed tools write here and now: other names, convolutions and norms."""
    from faithful_cases import added, stock
    from tiny_models import tiny_model
    from writer_files_sd15 import SD15_FILES, write_sd15_file
    from writer_reference import relative_error

    model = tiny_model("SD 1.5")
    with tempfile.TemporaryDirectory() as folder:
        for name in SD15_FILES:
            path, truth = write_sd15_file(name, Path(folder) / name, dict(model.model_state_dict()))
            theirs, (ours, remark) = added(stock(model, path)), apply(model, Path(path))
            yield Row(name, "the tool", relative_error(theirs, truth), relative_error(ours, truth), remark)


def tool_rows() -> Iterator[Row]:
    """Files that the installed tools write here and now, against the tools themselves."""
    import comfy.sd
    from faithful_cases import added, stock
    from nano_models import flux2_state_dict
    from writer_files import TOOL_FILES, write_tool_file
    from writer_reference import relative_error

    weights = flux2_state_dict(seed=4, **SIZES)
    model = comfy.sd.load_diffusion_model_state_dict(dict(weights))
    with tempfile.TemporaryDirectory() as folder:
        for name in TOOL_FILES:
            path, truth = write_tool_file(name, Path(folder) / name, weights)
            theirs, (ours, remark) = added(stock(model, path)), apply(model, Path(path))
            yield Row(name, "the tool", relative_error(theirs, truth), relative_error(ours, truth), remark)


def apply(model: Any, path: Path) -> tuple[dict[str, Any], str]:
    """What LoRA Patchbay adds, and its first remark."""
    from faithful_cases import added
    from pack.nodes.core.report.report import LayerState
    from pack.nodes.host.apply.apply import apply_lora

    result = apply_lora(str(path), path.name, model, None, 1.0, 0.0, "")
    remarks = (layer.reason for layer in result.report.layers if layer.state is not LayerState.DEAD)
    return added(result.model), next((remark for remark in remarks if remark), "")


def text(rows: list[Row]) -> str:
    """The table in Markdown, with a count of the files that are right."""
    lines = ["| file | truth | stock | ours | remark of the report |", "|---|---|---|---|---|"]
    lines += [f"| {r.name} | {r.truth} | {_number(r.stock)} | {_number(r.ours)} | {_short(r.remark)} |" for r in rows]
    columns = ([r.stock for r in rows], [r.ours for r in rows])
    right = [sum(error is not None and error <= RIGHT for error in column) for column in columns]
    lines.append(f"| right (error at most {RIGHT:g}) of {len(rows)} | | {right[0]} | {right[1]} | |")
    return "\n".join(lines)


def _short(remark: str) -> str:
    return textwrap.shorten(remark, 110, placeholder=" ...")


def _number(error: float | None) -> str:
    return "-" if error is None else "not applied" if error == 1.0 else f"{error:.1e}"


def introduction() -> str:
    """What the table is, and what it was made with."""
    from importlib.metadata import version

    from tools.versions import COMFYUI_VERSION

    tools = ", ".join(f"{name} {version(name)}" for name in ("peft", "diffusers", "lycoris-lora", "torch"))
    return (
        "# Every LoRA as its author meant it\n\n"
        "The relative error of the change that is added to the weights of a small FLUX.2 (or SD 1.5) model: the "
        "Frobenius norm of its difference from the truth, divided by that of the truth, over all weights. *Stock* "
        "is ComfyUI's own LoRA loader, *ours* is Apply LoRA. *Not applied* is an error of 1. The truth is the "
        "writer's own program where it can be installed (*the tool*), its stored result (*stored*), or the plain "
        "formula of the format (*formulas*), mostly under the names of a real file. One stored file has no unique "
        "truth and is not applied: a DyLoRA of LyCORIS, which is trained at a random rank in each step.\n\n"
        "Made by `python tests/bench/faithful_table.py --out docs/faithful.md` with ComfyUI "
        f"{COMFYUI_VERSION}, {tools}. Without the folder of shared files the tables of stored files, real layouts and "
        "names only are left out.\n"
    )


def main() -> None:
    """Print the tables, and write them to a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    start_comfyui()
    from faithful_cases import SHARED
    from key_rows import key_rows, key_text

    parts = []
    for title, rows in (
        ("Stored files of the real tools", shared_rows()),
        ("Real layouts with random values", header_rows()),
        ("Spellings of layer names", spelling_rows()),
        ("Written by the installed tools", tool_rows()),
        ("Written by the installed tools for SD 1.5", unet_rows()),
    ):
        found = list(rows)
        if found:
            parts.append(f"## {title}\n\n{text(found)}\n")
    keys = list(key_rows(SHARED))
    if keys:
        parts.append(f"## Names and shapes only\n\n{KEYS}\n\n{key_text(keys)}\n")
    print("\n".join(parts))
    if options.out is not None:
        options.out.write_text("\n".join([introduction(), *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Every figure on a page is the one in the file that a command wrote; a page that was not updated fails here."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tools.measurement_page import PAGE as MEASUREMENT_PAGE
from tools.measurement_page import filled

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "gpu" / "results"


def read(name: str) -> Any:
    return json.loads((ROOT / "tests" / name).read_text(encoding="utf-8"))


def page(name: str) -> str:
    """A page with its line breaks as spaces, so that a sentence is found wherever it is wrapped."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def tenths(value: float) -> str:
    """One place after the point; a half is rounded up, as people do it."""
    return str(Decimal(str(value)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def gib(value: float) -> str:
    return f"{value / 2**30:.2f}"


def _by_case(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["shape"], each["mode"]): each for each in read(f"gpu/results/{name}")["results"]}


GPU = _by_case("lora_table.json")
MEASURED = _by_case("measure_table.json")
LAB = read("lab/results.json")["training_module_on_gpu"]
STUDENTS = read("lab/transfer/results.json")["students"]
B4, B9 = GPU["klein-4b", "dynamic"], GPU["klein-9b", "dynamic"]
L4, L9 = GPU["klein-4b", "legacy"], GPU["klein-9b", "legacy"]


def _lora(name: str, on: str, captions: str = "unseen") -> float:
    return LAB["loras"][name][on][captions]["1.0"]


def _gains(way: str) -> list[float]:
    return [student["ways"][way]["psnr_gain"][0] for student in STUDENTS.values()]


def _readme() -> list[str]:
    memory = [gib(B4[f"memory_{of}"]["in_use"]) for of in ("base", "merge_ours", "ours", "core")]
    step = [f"{B4[key]:.1f}" for key in ("step_base_ms", "merge_ours_step_ms", "step_ours_ms", "step_core_ms")]
    measured = MEASURED["klein-4b", "dynamic"]
    inverse = sorted(-gain for gain in _gains("inverse-norm rule"))
    pruned = read("gpu/results/teach_table.json")["summary"]["pruned"]
    return [
        f"without pictures: {pruned['taught'][0]:.1f} dB on the pruned model, where plain 1.0 gives "
        f"{pruned['plain'][0]:.1f} ",
        f"| one step | {' | '.join(f'{each} ms' for each in step)} |",
        f"| memory in use on the device | {' | '.join(f'{each} GiB' for each in memory)} |",
        f"adds {B4['restage_block_core_ms']:.0f} ms to that run in ComfyUI and {B4['restage_block_ours_ms']:.0f} ms in",
        f"needs {gib(measured['peak_driver'])} GiB at its peak",
        f"sees {gib(measured['torch_allocated'])} GiB",
        f"{tenths(_lora('duotone', 'base'))} dB on the base and {tenths(_lora('duotone', 'student'))} dB on the dist",
        f"from {tenths(_lora('concept', 'base', 'concept'))} to {tenths(_lora('concept', 'student', 'concept'))} dB",
        f"gain {STUDENTS['pruned']['ways']['fitted strengths']['psnr_gain'][0]:.1f} dB over plain 1.0",
        f"loses {inverse[0]:.1f} to {inverse[-1]:.1f} dB on all four models",
    ]


def _survival() -> list[int]:
    return [each["median_ms"] for each in read("gpu/results/survival.json")["formats"].values()]


def _quantised() -> list[str]:
    return [f"{min(_survival())} to {max(_survival())} ms on an H200"]


def _gpu() -> list[str]:
    shift = read("gpu/results/earlier.json")["shift_cost"]
    more = [(r["memory_merge_ours"]["in_use"] - r["memory_merge_stock"]["in_use"]) / 2**30 for r in (L4, L9)]
    changed = [(r["merge_ours_change_ms"], r["merge_stock_change_ms"]) for r in (B4, B9)]
    return [
        *_proof(),
        f"{B4['apply_ours_first_ms']:.0f} ms in the node on 4B and {B9['apply_ours_first_ms']:.0f} ms on 9B with "
        f"dynamic VRAM, ComfyUI's loader {B4['apply_stock_first_ms']:.0f} and {B9['apply_stock_first_ms']:.0f} ms",
        f"on a model {B4['apply_ours_very_first_ms']:.0f} and {B9['apply_ours_very_first_ms']:.0f} ms",
        f"is measured in {min(_survival())} to {max(_survival())} ms by the format",
        f"differs from ComfyUI's by {more[0]:+.1f} GiB (4B) and {more[1]:+.1f} GiB (9B)",
        f"({changed[0][0]:.0f} and {changed[0][1]:.0f} ms on 4B, {changed[1][0]:.0f} and {changed[1][1]:.0f} ms on 9B)",
        f"{shift['prompts']} prompts, {shift['places']} places): {shift['seconds']} s for a profile",
        f"{shift['more_vram_mib']} MiB more VRAM",
    ]


def _measurement() -> list[str]:
    waiting = sorted(result["step_cost_of_synchronising"] * 100 for result in MEASURED.values())
    return [
        f"({waiting[0]:.1f} to {waiting[-1]:.1f} % in the table",
        f"costs {B4['apply_ours_first_ms'] / B4['apply_stock_first_ms']:.1f} times ComfyUI's "
        f"{B4['apply_stock_first_ms']:.0f} ms",
    ]


def _cost_of_measuring(separator: str) -> Callable[[], list[str]]:
    def sentences() -> list[str]:
        cost = [MEASURED[shape, "dynamic"]["overhead"] * 100 for shape in ("klein-4b", "klein-9b")]
        return [separator.format(*cost)]

    return sentences


def _klein_nano() -> list[str]:
    models = [("base", "base", 20, 1.5), ("distilled", "student", 4, 1), ("wide", "wide", 20, 1.5)]
    rows = [
        f"| {name} | {steps} | {cfg} | {tenths(LAB['models'][key]['psnr_median'])} dB | "
        f"{LAB['models'][key]['retrieval']:.2f} |"
        for name, key, steps, cfg in models
    ]
    for label, name, captions in (
        ("duotone", "duotone", "unseen"),
        ("monochrome", "monochrome", "unseen"),
        ("duotone-distilled", "duotone-distilled", "unseen"),
        ("concept, its ten pictures", "concept", "concept"),
    ):
        base, student = (_lora(name, on, captions) for on in ("base", "student"))
        rows.append(f"| {label} | {tenths(base)} dB | {tenths(student)} dB |")
    return [*rows, f"the base without a LoRA has {tenths(LAB['base_psnr_on_test_captions'])} dB"]


def _command_line() -> list[str]:
    text = (ROOT / "tests" / "bench" / "inspect_bench.py").read_text(encoding="utf-8")
    figures = dict(re.findall(r"^    (\w+) +([\d.]+)", text, re.MULTILINE))
    return [
        f"takes {figures['check_ms']} ms and {figures['check_mb']} MB above the interpreter",
        f"an installed copy, for which Python keeps the compiled modules, takes {figures['check_compiled_ms']} ms",
        f"takes {figures['check_process_ms']} ms, installed {figures['check_process_compiled_ms']} ms",
        f"660 MB of tensors {figures['measure_s']} s and {figures['measure_mb']} MB",
        f"{figures['scan_files_per_second']} LoRAs of 280 tensors a second",
        f"and {figures['scan_with_model_per_second']} with a model",
    ]


def _workbench() -> list[str]:
    spec = importlib.util.spec_from_file_location("workbench_table", ROOT / "tests" / "bench" / "workbench_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = read("bench/workbench_table.json")
    ours, others = (
        [
            row["error"]
            for row in made["rows"]
            if row["task"].startswith("extract") and ("LoRA Patchbay" in row["tool"]) is own
        ]
        for own in (True, False)
    )
    assert all(3.5 < other / ours[0] < 4.5 for other in others)  # four times as large
    return [*module.table_text(made).splitlines(), f"{made['layers']} layers of {made['side']} x {made['side']}"]


def _proof() -> list[str]:
    made = read("bench/proof_bench.json")
    merged, at_use, beside = (made[way]["share"] for way in ("merged", "patched when used", "beside"))
    assert max(merged, at_use, beside) < 1e-3
    before = max(way["before_ms"] for way in made.values())
    return [
        f"{merged:.2%} of a step where the weights are merged, {beside:.2%} where".replace("%", " %"),
        f"{at_use:.2%} where weights are patched whenever they are used; ".replace("%", " %"),
        f"that run at most {before:.2f} ms",
    ]


def _sweep() -> list[str]:
    spec = importlib.util.spec_from_file_location("sweep_table", ROOT / "tests" / "lab" / "sweep_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = read("lab/sweep_results.json")
    assert all(3 * row["search"]["runs"] <= row["sets"] for row in made["search"])
    ways = read("gpu/results/sweep_cost.json")["ways"]
    cell, whole = ([ways[way][f"{of}_over_steps"] - 1 for way in ("merge", "bypass")] for of in ("cell", "whole"))
    return [
        *(line for table in module.markdown(made).values() for line in table.splitlines()),
        f"a cell takes {cell[0]:.1%} more than its steps when merged and {cell[1]:.1%} with *bypass*",
        f"around its cells, {whole[0]:.1%} and {whole[1]:.1%}",
    ]


PAGES: dict[str, Callable[[], list[str]]] = {
    "README.md": _readme,
    "docs/gpu.md": _gpu,
    "docs/measurement.md": _measurement,
    "docs/command_line.md": _command_line,
    "docs/workbench.md": _workbench,
    "docs/sweep.md": _sweep,
    "docs/quantised.md": _quantised,
    "models/README.md": _klein_nano,
    "js/docs/PatchbayMeasure/en.md": _cost_of_measuring("{:+.2f} % of a step with FLUX.2 Klein 4B and {:+.2f} % with"),
    "js/docs/PatchbayMeasure/ja.md": _cost_of_measuring("4Bは{:+.2f} %、9Bは{:+.2f} %"),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_the_files_say(name: str) -> None:
    text = page(name)
    assert [sentence for sentence in PAGES[name]() if sentence not in text] == []


def test_the_readme_counts_files_as_the_page_file_by_file_does() -> None:
    tables = re.findall(
        r"^## (.+?)\n(?:(?!^## ).*\n)*?\| right \(.*?\) of (\d+) \| \| (\d+) \| (\d+) \|",
        (ROOT / "docs" / "faithful.md").read_text(encoding="utf-8"), re.MULTILINE,
    )  # fmt: skip
    total, stock, ours = next(row[1:] for row in tables if row[0] == "Written by the installed tools")
    text = page("README.md")
    assert f"{ours} of {total} files written by the installed tools" in text
    assert f"alone applies {stock} of {total} correctly" in text


def test_the_page_file_by_file_counts_its_own_rows() -> None:
    counted = 0
    for section in (ROOT / "docs" / "faithful.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        lines = [line.strip("| ") for line in section.splitlines() if "|" in line]
        rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
        last = next((row for row in rows if row[0].startswith("right (error at most")), None)
        if last is None:
            continue
        files = [row for row in rows[2:] if row is not last]
        right = [sum(_is_right(row[column]) for row in files) for column in (2, 3)]
        assert [f"of {len(files)}", *map(str, right)] == [last[0][-len(f"of {len(files)}") :], *_numbers(last[1:])]
        counted += 1
    assert counted >= 5


def _is_right(cell: str) -> bool:
    return cell not in ("-", "not applied") and float(cell) <= 0.001


def _numbers(cells: list[str]) -> list[str]:
    return [cell for cell in (text.strip("| ") for text in cells) if cell.isdigit()]


def test_the_page_of_the_lab_has_the_scores_of_the_shipped_models() -> None:
    text = page("tests/lab/README.md")
    stock = read("lab/results.json")["stock_comfyui_on_cpu"]
    for on in ("base", "distilled"):
        for name in ("duotone", "monochrome", "concept-instruments"):
            score = stock[f"klein-nano-{name} on {on}"]["psnr_median"]
            assert re.search(rf"\| {on} \| {name} \| [^|]+ \| {score:.2f} \|", text), (on, name)
    for model in ("base", "wide"):
        assert f"| klein-nano-{model} | 20, 1.5 | {LAB['models'][model]['psnr_median']} |" in text


def test_the_table_of_measuring_is_the_measured_one() -> None:
    text = MEASUREMENT_PAGE.read_text(encoding="utf-8")
    assert filled(text, read("gpu/results/measure_table.json")["results"]) == text


def test_the_page_on_transfer_is_made_of_its_results() -> None:
    folder = ROOT / "tests" / "lab" / "transfer"
    spec = importlib.util.spec_from_file_location("transfer_table", folder / "table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    text = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    assert table.page(json.loads((folder / "results.json").read_text(encoding="utf-8"))) == text


def test_pages_link_to_what_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "models" / "README.md", *(ROOT / "docs").glob("*.md")]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith("http"):
                assert (path.parent / target.replace("%20", " ").replace("%28", "(").replace("%29", ")")).exists(), (
                    f"{path.name}: {target}"
                )


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140

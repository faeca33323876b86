"""The table of docs/workbench.md: ``.runtime/venv/bin/python tests/bench/workbench_table.py [--side N] [--layers N]``.

Three LoRAs are merged, and a LoRA is extracted from two models, by this pack and by the public tools that can be
installed, on the same seeded files. Every tool runs in a process of its own, on one core: error against float64,
seconds of processor time without imports, and the most memory above that of the imports. ``--write`` keeps the figures
in ``workbench_table.json`` beside this file and puts them on the page. kohya's tool needs ``--sd-scripts FOLDER``, a
checkout of github.com/kohya-ss/sd-scripts, and what it imports (``pip install opencv-python-headless``).
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STRENGTHS = (0.8, -0.5, 1.0)
RANK = 16
PREFIX = "diffusion_model.single_blocks"
PAGE = ROOT / "docs" / "workbench.md"
RESULTS = Path(__file__).with_suffix(".json")
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
"""Between these stands the table on the page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--only", default="", help="a word of the rows that are wanted")
    parser.add_argument("--sd-scripts", type=Path, help="a checkout of kohya's tools")
    parser.add_argument("--write", action="store_true", help="keep the figures and put them on the page")
    parser.add_argument("--limit", type=int, default=300, help="most seconds of one row")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(measured(RUNS[options.run], options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.side, options.layers)
        wanted = [run for run in RUNS if not options.only or options.only in run]
        if options.sd_scripts is None:
            wanted = [run for run in wanted if "sd-scripts" not in run]
        if importlib.util.find_spec("deltalint") is None:
            wanted = [run for run in wanted if "deltalint" not in run]
        rows = [row_of(run, folder, options) for run in wanted]
    made = {"side": options.side, "layers": options.layers, "rows": rows}
    print(table_text(made))
    if options.write and options.only:  # beside the rows of another run
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
        assert (kept["side"], kept["layers"]) == (options.side, options.layers), "those rows are of other files"
        mine = {(row["task"], row["tool"]): row for row in rows}
        old = [mine.pop((row["task"], row["tool"]), row) for row in kept["rows"]]
        made["rows"] = [*old, *mine.values()]
    if options.write:
        RESULTS.write_text(f"{json.dumps(made, indent=1)}\n", encoding="utf-8")
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


def row_of(run: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One tool in a process of its own."""
    task, tool = run.split(" | ")
    command = [sys.executable, __file__, "--run", run, "--folder", str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if options.sd_scripts is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(options.sd_scripts), env.get("PYTHONPATH"))))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=options.limit, env=env)
    except subprocess.TimeoutExpired:
        return {"task": task, "tool": tool, "failed": f"more than {options.limit} s with all that it needs"}
    if done.returncode:
        return {"task": task, "tool": tool, "failed": done.stderr.strip().splitlines()[-1][:100]}
    said = folder / "said.json"
    found = json.loads(said.read_text()) if said.exists() else {"error": error_of(run, folder)}
    said.unlink(missing_ok=True)
    return {"task": task, "tool": tool, **found, **json.loads(done.stdout.splitlines()[-1])}


def table_text(made: dict[str, Any]) -> str:
    """The table in Markdown."""
    lines = ["| task | tool | error | seconds | memory |", "|---|---|---|---|---|"]
    for row in made["rows"]:
        if "failed" in row:
            lines.append(f"| {row['task']} | {row['tool']} | {row['failed']} | | |")
            continue
        error = row["said"] if "said" in row else f"{row['error']:.1e}"
        figures = f"{error} | {row['seconds']:.2f} | {row['bytes'] / 1e6:.0f} MB"
        lines.append(f"| {row['task']} | {row['tool']} | {figures} |")
    return "\n".join(lines)


def with_table(page: str, made: dict[str, Any]) -> str:
    """The page with these figures between its marks."""
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    size = f"{made['layers']} layers of {made['side']} x {made['side']}"
    return f"{before}{MARKS[0]}\n{size}, one core:\n\n{table_text(made)}\n{MARKS[1]}{after}"


def write_files(folder: Path, side: int, layers: int) -> None:
    """Three LoRAs in PEFT's and ComfyUI's names, a base, and the base with a change of rank 16 and noise."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    for number in range(len(STRENGTHS)):
        tensors = {}
        for layer in range(layers):
            tensors[f"{PREFIX}.{layer}.linear1.lora_A.weight"] = torch.randn(RANK, side).bfloat16()
            tensors[f"{PREFIX}.{layer}.linear1.lora_B.weight"] = (torch.randn(side, RANK) * 0.01).bfloat16()
        save_file(tensors, folder / f"lora{number}.safetensors")
    base = {f"single_blocks.{i}.linear1.weight": torch.randn(side, side) / side**0.5 for i in range(layers)}
    save_file(base, folder / "base.safetensors")
    for key, weight in base.items():
        change = torch.randn(side, RANK) @ torch.randn(RANK, side) * 1e-3
        base[key] = weight + change + torch.randn(side, side) * 1e-4
    save_file(base, folder / "tuned.safetensors")
    write_merge(folder)


def write_merge(folder: Path) -> None:
    """A base in bfloat16 and the first LoRA merged into it, as files and as the folders that PEFT's users have."""
    from safetensors.torch import load_file, save_file

    whole = load_file(folder / "base.safetensors")
    lora = load_file(folder / "lora0.safetensors")
    base = {key: weight.bfloat16() for key, weight in whole.items()}
    merged = {}
    for key, weight in base.items():
        name = f"diffusion_model.{key.removesuffix('.weight')}"
        delta = lora[f"{name}.lora_B.weight"].float() @ lora[f"{name}.lora_A.weight"].float()
        merged[key] = (weight.float() + delta).bfloat16()
    for name, tensors, file in (
        ("base", base, "model"), ("merged", merged, "model"),
        ("adapter", {k.replace("diffusion_model.", "base_model.model."): v for k, v in lora.items()}, "adapter_model"),
    ):  # fmt: skip
        (folder / name).mkdir()
        save_file(tensors, folder / name / f"{file}.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["linear1"], "bias": "none"}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))


def measured(run: Callable[[Path], Callable[[], None]], folder: Path) -> dict[str, float]:
    """Seconds and bytes of what ``run`` returns; imports are done before."""
    work = run(folder)
    before, started = _status("VmRSS"), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    work()
    return {"seconds": time.process_time() - started, "bytes": _status("VmHWM") - before}


def _status(field: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def error_of(run: str, folder: Path) -> float:
    """``|D - meant| / |meant|`` of what a tool left as ``out.safetensors``; the file is removed."""
    import torch
    from safetensors.torch import load_file

    path = folder / "out.safetensors"
    made = {key: value.double() for key, value in load_file(path).items()}
    path.unlink()
    wrong = total = 0.0
    for key in [key for key in made if key.endswith((".lora_down.weight", ".lora_A.weight"))]:
        name = key.removesuffix(".lora_down.weight").removesuffix(".lora_A.weight")
        up = made.get(f"{name}.lora_up.weight", made.get(f"{name}.lora_B.weight"))
        assert up is not None
        alpha = made.get(f"{name}.alpha")
        delta = up @ made[key] * (1.0 if alpha is None else float(alpha) / made[key].shape[0])
        number = re.search(r"single_blocks[._](\d+)", name)
        assert number is not None, name
        meant = _meant(run, folder, f"single_blocks.{number[1]}.linear1")
        wrong += float((delta - meant).square().sum())
        total += float(meant.square().sum())
    assert total > 0, "the tool wrote no layer"
    return float(torch.tensor(wrong / total).sqrt())


def _meant(run: str, folder: Path, name: str) -> Any:
    from safetensors import safe_open

    def tensor(file: str, key: str) -> Any:
        with safe_open(folder / file, "pt") as opened:
            return opened.get_tensor(key).double()

    if run.startswith("extract"):
        return tensor("tuned.safetensors", f"{name}.weight") - tensor("base.safetensors", f"{name}.weight")
    key = f"diffusion_model.{name}"
    parts = [
        strength
        * (
            tensor(f"lora{i}.safetensors", f"{key}.lora_B.weight")
            @ tensor(f"lora{i}.safetensors", f"{key}.lora_A.weight")
        )
        for i, strength in enumerate(STRENGTHS)
    ]
    return sum(parts)


# --- the tools --------------------------------------------------------------------------------------------


def _command(*arguments: str) -> Callable[[], None]:
    sys.path.insert(0, str(ROOT))
    cli = importlib.import_module("nodes.core.cli.main")
    for module in ("nodes.core.bake.merge", "nodes.core.compare.extract", "torch", "safetensors.torch", "numpy"):
        importlib.import_module(module)

    def work() -> None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            code = cli.main(list(arguments), nowhere, sys.stderr)
        assert code == 0, code

    return work


def ours_merge(folder: Path) -> Callable[[], None]:
    files = [f"{folder / f'lora{i}.safetensors'}:{strength}" for i, strength in enumerate(STRENGTHS)]
    return _command("merge", *files, "-o", str(folder / "out.safetensors"))


def ours_merge_rank(folder: Path) -> Callable[[], None]:
    files = [f"{folder / f'lora{i}.safetensors'}:{strength}" for i, strength in enumerate(STRENGTHS)]
    return _command("merge", *files, "-o", str(folder / "out.safetensors"), "--rank", str(RANK), "--dtype", "float32")


def ours_extract(folder: Path) -> Callable[[], None]:
    return _command("extract", str(folder / "tuned.safetensors"), "--base", str(folder / "base.safetensors"), "-o",
                    str(folder / "out.safetensors"), "--rank", str(RANK), "--dtype", "float32")  # fmt: skip


def _peft(folder: Path, way: str) -> Callable[[], None]:
    import peft
    import torch
    from safetensors.torch import load_file, save_file

    def work() -> None:
        files = [load_file(folder / f"lora{i}.safetensors") for i in range(len(STRENGTHS))]
        names = [key.removesuffix(".lora_A.weight") for key in files[0] if key.endswith(".lora_A.weight")]
        side = files[0][f"{names[0]}.lora_A.weight"].shape[1]
        flat = {name: name.replace(".", "_") for name in names}
        with torch.device("meta"):
            bare = torch.nn.ModuleDict({x: torch.nn.Linear(side, side, bias=False) for x in flat.values()})
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(flat.values()))
        model = peft.PeftModel(bare.to_empty(device="cpu"), config, adapter_name="a0", autocast_adapter_dtype=False)
        for number in range(1, len(STRENGTHS)):
            model.add_adapter(f"a{number}", config)
        for number, tensors in enumerate(files):
            for name, module in flat.items():
                layer = model.base_model.model[module]
                layer.lora_A[f"a{number}"].weight.data = tensors[f"{name}.lora_A.weight"].float()
                layer.lora_B[f"a{number}"].weight.data = tensors[f"{name}.lora_B.weight"].float()
        more = {"svd_rank": RANK} if way == "svd" else {}
        adapters = [f"a{i}" for i in range(len(STRENGTHS))]
        model.add_weighted_adapter(adapters, list(STRENGTHS), "sum", combination_type=way, **more)
        out = {}
        for name, module in flat.items():
            layer = model.base_model.model[module]
            out[f"{name}.lora_A.weight"] = layer.lora_A["sum"].weight.data.contiguous()
            out[f"{name}.lora_B.weight"] = layer.lora_B["sum"].weight.data.contiguous() * layer.scaling["sum"]
        save_file(out, folder / "out.safetensors")

    return work


def comfyui_extract(folder: Path) -> Callable[[], None]:
    """What ComfyUI's LoraSave does to each weight, by its own function."""
    runtime = sorted((ROOT / ".runtime").glob("ComfyUI-*"))[-1]
    sys.argv = sys.argv[:1] + ["--cpu"]
    sys.path.insert(0, str(runtime))
    importlib.import_module("comfy.options").enable_args_parsing()
    from safetensors.torch import load_file, save_file

    extract_lora = importlib.import_module("comfy_extras.nodes_lora_extract").extract_lora

    def work() -> None:
        tuned, base = load_file(folder / "tuned.safetensors"), load_file(folder / "base.safetensors")
        out = {}
        for key in base:
            up, down = extract_lora(tuned[key] - base[key], RANK)
            name = f"diffusion_model.{key.removesuffix('.weight')}"
            out[f"{name}.lora_up.weight"] = up.contiguous()
            out[f"{name}.lora_down.weight"] = down.contiguous()
        save_file(out, folder / "out.safetensors")

    return work


def kohya_extract(folder: Path) -> Callable[[], None]:
    svd = importlib.import_module("networks.flux_extract_lora").svd

    def work() -> None:
        svd(str(folder / "base.safetensors"), str(folder / "tuned.safetensors"), str(folder / "out.safetensors"), RANK,
            save_precision="float", no_metadata=True)  # fmt: skip

    return work


def ours_verify(folder: Path) -> Callable[[], None]:
    sys.path.insert(0, str(ROOT))
    cli = importlib.import_module("nodes.core.cli.main")
    for module in ("nodes.core.compare.verify", "nodes.core.check.model_weights", "torch", "safetensors.torch"):
        importlib.import_module(module)
    files = [folder / "merged" / "model.safetensors", folder / "lora0.safetensors"]
    arguments = ["verify", *map(str, files), "--base", str(folder / "base" / "model.safetensors"), "--json"]

    def work() -> None:
        out = io.StringIO()
        cli.main(arguments, out, sys.stderr)
        found = json.loads(out.getvalue())
        same = sum(layer["bytes_same"] == 1.0 for layer in found["layers"])
        (file,) = found["files"]
        said = f"{file['verdict']}, strength {file['strength']:.4f}, {same} of {len(found['layers'])} byte for byte"
        (folder / "said.json").write_text(json.dumps({"said": said}))

    return work


def deltalint_verify(folder: Path) -> Callable[[], None]:
    check = importlib.import_module("deltalint.check")

    def work() -> None:
        report = check.check_merge(folder / "base", folder / "adapter", folder / "merged")
        verdicts = [layer.verdict.value for layer in report.layers]
        said = ", ".join(f"{verdicts.count(each)} of {len(verdicts)} {each}" for each in dict.fromkeys(verdicts))
        (folder / "said.json").write_text(json.dumps({"said": said}))

    return work


RUNS: dict[str, Callable[[Path], Callable[[], None]]] = {
    "merge, all ranks | LoRA Patchbay": ours_merge,
    "merge, all ranks | PEFT add_weighted_adapter (cat)": lambda folder: _peft(folder, "cat"),
    "merge, rank 16 | LoRA Patchbay": ours_merge_rank,
    "merge, rank 16 | PEFT add_weighted_adapter (svd)": lambda folder: _peft(folder, "svd"),
    "extract, rank 16 | LoRA Patchbay": ours_extract,
    "extract, rank 16 | ComfyUI LoraSave": comfyui_extract,
    "extract, rank 16 | kohya's sd-scripts (flux_extract_lora)": kohya_extract,
    "verify, merged at 1 in bfloat16 | LoRA Patchbay": ours_verify,
    "verify, merged at 1 in bfloat16 | deltalint": deltalint_verify,
}

if __name__ == "__main__":
    main()

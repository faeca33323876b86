"""``patchbay.py demo``: run the bundled compare workflow in a real ComfyUI and keep what it made."""

import json
import shutil
import subprocess
import tempfile
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .client import ComfyClient
from .errors import ToolError
from .paths import ROOT, RUNTIME, shown
from .progress import Progress
from .runtime import Runtime, has_usable_gpu
from .server import ComfyServer, add_template, free_port, is_free
from .stamps import write_atomically
from .workflow import load_workflow, to_api

WORKFLOW = ROOT / "workflows" / "Compare with and without a LoRA (Klein Nano).json"
SERVE_PORT = 8188
TEMPLATE_PACK, TEMPLATE_NAME = "lora-patchbay-demo", "compare-klein-nano"
RUN_SECONDS = 900.0


@dataclass(frozen=True)
class DemoFiles:
    """What the demo leaves."""

    picture: Path
    report_json: Path
    report_text: Path


def run_demo(runtime: Runtime, output: Path, port: int, serve: bool, progress: Progress) -> DemoFiles:
    """Run the demo; with ``serve`` ComfyUI stays until Ctrl+C.

    Raises:
        ToolError: ComfyUI did not start, or the workflow did not run.
    """
    workflow = load_workflow(WORKFLOW)
    base = RUNTIME / "demo"
    query = add_template(base, TEMPLATE_PACK, TEMPLATE_NAME, json.dumps(workflow))
    server = ComfyServer(
        runtime,
        base,
        base / "comfyui.log",
        cpu=not has_usable_gpu(runtime),
        port=port or (SERVE_PORT if serve and is_free(SERVE_PORT) else free_port()),
        options=_model_paths(runtime, base),
    )
    with progress.step(f"Starting ComfyUI {runtime.version}{' on the CPU' if server.cpu else ''}") as step:
        server.start(step)
    try:
        client = server.client
        prompt = to_api(workflow, client.object_info())
        started = time.monotonic()
        with progress.step(f"Running '{WORKFLOW.stem}'"):
            outputs = client.wait(client.queue(prompt, workflow), RUN_SECONDS)["outputs"]
        seconds = time.monotonic() - started
        files = _keep(client, runtime, prompt, outputs, output)
        progress.say(_summary(outputs, runtime, seconds, files))
        if serve:
            _serve(server, server.address + query, progress)
    finally:
        server.stop()
    return files


def _by_number(node_id: str) -> list[int]:
    """Order of node ids; a node in a subgraph has that of the node before its own: ``17:5``."""
    return [int(part) for part in node_id.split(":")]


def _keep(
    client: ComfyClient, runtime: Runtime, prompt: Mapping[str, Any], outputs: Mapping[str, Any], output: Path
) -> DemoFiles:
    """Write the picture and the reports of a finished run."""
    output.mkdir(parents=True, exist_ok=True)
    files = DemoFiles(output / "compare.png", output / "report.json", output / "report.txt")
    compare = _first(outputs, "patchbay_compare")
    if compare is None:
        raise ToolError(
            f"'{WORKFLOW.stem}' made no comparison: expected 'patchbay_compare' among its outputs, got "
            f"{', '.join(sorted({key for entry in outputs.values() for key in entry})) or 'nothing'}."
        )
    _write_picture(client, runtime, compare, files.picture)
    nodes = []
    for node_id in sorted(outputs, key=_by_number):
        entry = outputs[node_id]
        nodes += [
            {"node": node_id, "type": prompt[node_id]["class_type"], "report": report}
            for report in entry.get("patchbay_report", [])
        ]
    everything = {"workflow": WORKFLOW.stem, "comfyui": runtime.version, "compare": compare, "nodes": nodes}
    write_atomically(files.report_json, json.dumps(everything, indent=1) + "\n")
    texts = []
    for node_id in sorted(outputs, key=_by_number):
        name = prompt[node_id]["_meta"]["title"]
        texts += [f"== {name}\n\n{text.rstrip()}\n" for text in outputs[node_id].get("text", [])]
    write_atomically(files.report_text, "\n".join(texts))
    return files


def _write_picture(client: ComfyClient, runtime: Runtime, compare: Mapping[str, Any], target: Path) -> None:
    pair = compare["pairs"][0]
    labels = {
        "a": compare.get("label_a") or "A",
        "b": compare.get("label_b") or "B",
        "difference": f"difference x {compare.get('gain', 1):g}",
    }
    with tempfile.TemporaryDirectory() as folder:
        words: list[str] = []
        for key, label in labels.items():
            file = Path(folder) / f"{key}.png"
            file.write_bytes(client.view(pair[key]))
            words += [label, str(file)]
        command = [str(runtime.python), str(Path(__file__).with_name("side_by_side.py")), str(target), *words]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise ToolError(f"{target.name} could not be composed:\n{result.stderr.strip()}")


def _summary(outputs: Mapping[str, Any], runtime: Runtime, seconds: float, files: DemoFiles) -> str:
    """Five lines for people."""
    compare = _first(outputs, "patchbay_compare") or {}
    metrics = compare["pairs"][0]["metrics"] if compare.get("pairs") else {}
    reports = [report for entry in outputs.values() for report in entry.get("patchbay_report", [])]
    applied = next((report for report in reports if report.get("kind") == "apply"), {})
    numbers = ", ".join(
        f"{name} {metrics[key]:.3g}{unit}"
        for key, name, unit in (("mae", "mean absolute error", ""), ("psnr", "PSNR", " dB"), ("ssim", "SSIM", ""))
        if isinstance(metrics.get(key), (int, float))
    )
    return "\n".join(
        (
            "",
            f"LoRA        {applied.get('lora', {}).get('name', '?')}: {applied.get('summary', 'see the report')}",
            f"Pictures    {'identical' if metrics.get('identical') else numbers or 'not measured'}",
            f"Took        {seconds:.1f} s in ComfyUI {runtime.version}",
            f"Picture     {shown(files.picture)}",
            f"Report      {shown(files.report_text)} and {shown(files.report_json)}",
        )
    )


def _first(outputs: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The first entry of that kind among a run's outputs."""
    for node_id in sorted(outputs, key=_by_number):
        if outputs[node_id].get(key):
            return outputs[node_id][key][0]
    return None


def _model_paths(runtime: Runtime, base: Path) -> list[str]:
    """Options that let the demo's ComfyUI see the models of the user's own one."""
    models = runtime.comfyui / "models"
    if runtime.private or not models.is_dir():
        return []
    folders = {path.name: path.name for path in sorted(models.iterdir()) if path.is_dir()}
    config = base / "extra_model_paths.yaml"
    # JSON is YAML, and this way needs no YAML writer.
    write_atomically(config, json.dumps({"own": {"base_path": str(models), **folders}}))
    return ["--extra-model-paths-config", str(config)]


def _serve(server: ComfyServer, address: str, progress: Progress) -> None:
    """Open the workflow in the browser and wait for Ctrl+C."""
    progress.say(f"\nComfyUI is running. The workflow opens at\n    {address}\nEnd it with Ctrl+C.")
    if shutil.which("xdg-open") or not Path("/usr/bin").exists() or Path("/usr/bin/open").exists():
        webbrowser.open(address)
    assert server.process is not None
    try:
        server.process.wait()
        progress.say(f"ComfyUI ended with code {server.process.returncode}; its log: {server.log}")
    except KeyboardInterrupt:
        progress.say("\nStopping ComfyUI.")

"""A ComfyUI that can be started: the private one, or the user's own."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import stamps
from .comfyui import comfyui_folder, ensure_comfyui, is_comfyui, version_of
from .errors import ToolError
from .installer import ensure_installer
from .paths import ROOT, RUNTIME, venv_program, venv_python
from .progress import Progress
from .versions import COMFYUI_VERSION, TORCH, source_of

TEST_REQUIREMENTS = ROOT / "tools" / "requirements-test.txt"


@dataclass(frozen=True)
class Runtime:
    """A ComfyUI and the Python that runs it."""

    comfyui: Path
    """Folder with ``main.py``."""
    python: Path
    """A Python with torch and ComfyUI's other requirements."""
    version: str
    """ComfyUI's version."""
    private: bool
    """Whether it is ours, in ``.runtime``, or the user's own."""
    frontend: Path | None = None
    """Static files of another frontend than ComfyUI's own."""


def ensure_runtime(version: str, progress: Progress) -> Runtime:
    """The private runtime of a ComfyUI version, set up as far as it is not yet."""
    source_of(version)
    runtime = _private_runtime(version)
    if _is_ready(runtime):
        return runtime
    with stamps.setup_lock():
        if _is_ready(runtime):
            return runtime
        installer = ensure_installer(progress)
        ensure_comfyui(version, installer, progress)
        with progress.step("PyTorch and ComfyUI's packages (some GB, once)") as step:
            venv = runtime.python.parents[1]
            stamps.forget(venv.name)
            installer.ensure_venv(venv)
            packages = [*TORCH, "-r", runtime.comfyui / "requirements.txt"]
            installer.install(runtime.python, "ComfyUI's packages", packages, step)
            stamps.write(venv.name, _runtime_inputs(runtime))
    return runtime


def ensure_test_tools(runtime: Runtime, progress: Progress) -> None:
    """The test tools, installed beside ComfyUI's packages."""
    name = f"{runtime.python.parents[1].name}-test"
    inputs = {"requirements": TEST_REQUIREMENTS.read_text(encoding="utf-8"), **_runtime_inputs(runtime)}
    if stamps.is_current(name, inputs):
        return
    with stamps.setup_lock():
        if stamps.is_current(name, inputs):
            return
        installer = ensure_installer(progress)
        with progress.step("Test tools") as step:
            installer.install(runtime.python, "the test tools", [*TORCH, "-r", TEST_REQUIREMENTS], step)
            stamps.write(name, inputs)


def require_test_tools(runtime: Runtime) -> None:
    """Check that the Python of the user's own ComfyUI has the test tools: nothing is installed there.

    Raises:
        ToolError: some are missing.
    """
    code = "import hypothesis, playwright, pytest"
    result = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True)
    if result.returncode:
        raise ToolError(
            f"{runtime.python} lacks test tools ({result.stderr.strip().splitlines()[-1]}). Install them with\n"
            f"    {runtime.python} -m pip install -r {TEST_REQUIREMENTS}\n"
            "or leave out --comfyui to test in a private ComfyUI."
        )


def existing_runtime(folder: Path, python: Path | None = None) -> Runtime:
    """The user's own ComfyUI, with the Python that belongs to it.

    Raises:
        ToolError: the folder holds no ComfyUI, or no Python with torch was found for it.
    """
    folder = folder.expanduser().resolve()
    inner = folder / "ComfyUI"
    if not is_comfyui(folder) and is_comfyui(inner):
        folder = inner
    if not is_comfyui(folder):
        raise ToolError(
            f"{folder} is not a ComfyUI folder: expected main.py and comfy/model_patcher.py in it. "
            "Give the folder that ComfyUI is started from."
        )
    candidates = [python] if python else _pythons_of(folder)
    for candidate in candidates:
        if _has_torch(candidate):
            return Runtime(folder, candidate, version_of(folder), private=False)
    tried = "\n".join(f"    {candidate}" for candidate in candidates)
    raise ToolError(
        f"{folder}: no Python with torch was found for this ComfyUI. Tried:\n{tried}\n"
        "Give the Python that you start ComfyUI with: --python PATH."
    )


def has_usable_gpu(runtime: Runtime) -> bool:
    """Whether ComfyUI can run on something else than the CPU.

    Asking torch takes seconds, so it is asked only where there is a sign of an accelerator.
    """
    if sys.platform == "darwin":
        return os.uname().machine == "arm64"
    signs = shutil.which("nvidia-smi") or Path("/dev/kfd").exists() or Path("/dev/dri/renderD128").exists()
    if runtime.private and not signs:
        return False
    code = (
        "import torch; x = getattr(torch, 'xpu', None); "
        "print(torch.cuda.is_available() or bool(x and x.is_available()))"
    )
    try:
        result = subprocess.run([runtime.python, "-c", code], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.stdout.strip() == "True"


def _private_runtime(version: str) -> Runtime:
    name = "venv" if version == COMFYUI_VERSION else f"venv-{version}"
    return Runtime(comfyui_folder(version), venv_python(RUNTIME / name), version, private=True)


def _runtime_inputs(runtime: Runtime) -> dict[str, object]:
    requirements = (runtime.comfyui / "requirements.txt").read_text(encoding="utf-8")
    return {"torch": TORCH, "requirements": requirements}


def _is_ready(runtime: Runtime) -> bool:
    if not is_comfyui(runtime.comfyui) or not runtime.python.exists():
        return False
    return stamps.is_current(runtime.python.parents[1].name, _runtime_inputs(runtime))


def _pythons_of(folder: Path) -> list[Path]:
    """Where the Pythons of the usual ComfyUI installations lie, the likeliest first."""
    found = [
        *(venv_python(base / name) for base in (folder, folder.parent) for name in (".venv", "venv")),
        folder.parent / "python_embeded" / "python.exe",
        folder.parent / "python_embedded" / "python.exe",
        Path(sys.executable),
    ]
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if active:
        prefix = Path(active)
        found += [venv_python(prefix), venv_program(prefix, "python"), prefix / "python.exe"]
    return list(dict.fromkeys(path for path in found if path.exists()))


def _has_torch(python: Path) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

"""One smoke test of each ComfyUI in the versions table: the pack loads there, explains itself and applies a LoRA."""

from .progress import Progress
from .runtime import Runtime, ensure_runtime, ensure_test_tools
from .test_run import run_pytest, test_environment
from .versions import SOURCES

SMOKE = (
    "tests/server/test_pack.py",
    "tests/server/test_panel_routes.py",
    "tests/host/apply/test_apply_lora.py",
)


def run_smokes(tested: Runtime, progress: Progress) -> int:
    """Run the smoke test in every version but the one that was tested already; the exit code.

    With a ComfyUI of the user's own nothing is installed, so no other version is tried.
    """
    if not tested.private:
        return 0
    failed: list[str] = []
    for source in SOURCES:
        if source.comfyui == tested.version:
            continue
        runtime = ensure_runtime(source.comfyui, progress)
        ensure_test_tools(runtime, progress)
        progress.say(f"\nSmoke test of ComfyUI {source.comfyui}, frontend {source.frontend}")
        command = [str(runtime.python), "-m", "pytest", *SMOKE, "-q", "-m", "not gpu and not timing and not all"]
        if run_pytest(command, test_environment(runtime, [], progress)):
            failed.append(source.comfyui)
    if failed:
        progress.say(f"Versions of ComfyUI whose smoke test failed: {', '.join(failed)}")
    return 1 if failed else 0

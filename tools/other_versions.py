"""One smoke test of each ComfyUI in the versions table: the pack loads there, explains itself and applies a LoRA.

``python3 patchbay.py test versions`` (also part of the layer ``all``), or, for some of them,
``.runtime/venv/bin/python -m tools.other_versions 0.16.3 0.20.1``.
"""

import sys
import time
from collections.abc import Sequence

from .progress import Progress
from .runtime import Runtime, ensure_runtime, ensure_test_tools
from .test_run import run_pytest, test_environment
from .versions import SOURCES, ComfySource, source_of

SMOKE = (
    "tests/server/test_pack.py",
    "tests/server/test_panel_routes.py",
    "tests/server/test_rows_and_sweep.py",
    "tests/host/apply/test_apply_lora.py",
)
SAID_AT_THE_END = "{:<10} {:<10} {:<8} {:>5.0f} s"


def run_smokes(tested: Runtime, progress: Progress) -> int:
    """Run the smoke test in every version but the one that was tested already; the exit code.

    With a ComfyUI of the user's own nothing is installed, so no other version is tried.
    """
    if not tested.private:
        return 0
    return run_versions([source for source in SOURCES if source.comfyui != tested.version], progress)


def run_versions(sources: Sequence[ComfySource], progress: Progress) -> int:
    """Run the smoke test in these versions, whatever becomes of the others, and say how each ended; the exit code."""
    ended: list[tuple[ComfySource, bool, float]] = []
    for source in sources:
        begun = time.monotonic()
        runtime = ensure_runtime(source.comfyui, progress)
        ensure_test_tools(runtime, progress)
        progress.say(f"\nSmoke test of ComfyUI {source.comfyui}, frontend {source.frontend}")
        command = [str(runtime.python), "-m", "pytest", *SMOKE, "-q", "-m", "not gpu and not timing and not all"]
        passed = not run_pytest(command, test_environment(runtime, [], progress))
        ended.append((source, passed, time.monotonic() - begun))
    for source, passed, seconds in ended:
        word = "passed" if passed else "failed"
        progress.say(SAID_AT_THE_END.format(source.comfyui, source.frontend, word, seconds))
    return 0 if all(passed for _, passed, _ in ended) else 1


def main() -> int:
    """Test the versions that are named, or all of the table."""
    names = sys.argv[1:]
    return run_versions([source_of(name) for name in names] if names else SOURCES, Progress())


if __name__ == "__main__":
    sys.exit(main())

"""``patchbay.py test fuzz``: the tests that draw their own examples, with ever new seeds, for so many seconds."""

import random
import re
import subprocess
import time

from .errors import ToolError
from .paths import ROOT
from .progress import Progress
from .runtime import Runtime
from .test_run import FOLDERS, test_environment

NO_TESTS = 5
"""pytest's exit code when it found none to run."""
_DRAWS = re.compile(r"^(?:from hypothesis|import hypothesis)|mark\.random\b", re.MULTILINE)


def run_fuzz(runtime: Runtime, seconds: float, seed: int | None, expression: str, progress: Progress) -> int:
    """Run rounds until the time is over or one fails; the exit code. A round that the end cuts off counts as passed.

    Each round's seed is printed before it runs; ``seed`` is that of the first one, and the others count up from it.

    Raises:
        ToolError: no test draws examples.
    """
    files = drawing_files()
    if not files:
        raise ToolError("no test file uses hypothesis or the marker random, so there is nothing to fuzz.")
    environment = test_environment(runtime, [], progress) | {"PATCHBAY_TEST_PROFILE": "fuzz"}
    number = random.SystemRandom().randrange(2**31) if seed is None else seed
    command = [str(runtime.python), "-m", "pytest", *files, "-q", "-x", "-m", "(hypothesis or random) and not gpu"]
    command += ["-k", expression] if expression else []
    deadline, rounds = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0:
        progress.say(f"fuzz: seed {number}, {left:.0f} s left")
        words, env = [*command, f"--hypothesis-seed={number}"], environment | {"PATCHBAY_TEST_SEED": str(number)}
        try:
            result = subprocess.run(words, cwd=ROOT, env=env, timeout=left, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            break
        if result.returncode:
            progress.say(result.stdout + result.stderr)
            if result.returncode != NO_TESTS:
                progress.say(f"Found with seed {number}. Again: python3 patchbay.py test fuzz --seed {number}")
            return result.returncode
        number, rounds = number + 1, rounds + 1
    progress.say(f"fuzz: {rounds} whole rounds passed")
    return 0


def drawing_files() -> list[str]:
    """The test files with tests that draw examples."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")))
    return [str(path.relative_to(ROOT)) for path in paths if _DRAWS.search(path.read_text(encoding="utf-8"))]

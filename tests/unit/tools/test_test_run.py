"""Two pytests side by side: what their exit codes mean together, and that nothing of their output is lost."""

from __future__ import annotations

import os
import sys

import pytest

from tools.test_run import _run_side_by_side


def command(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys; print('said', {code!r}); sys.stdout.flush(); {code}"]


@pytest.mark.parametrize(
    ("first", "second", "passed"),
    [("sys.exit(0)", "sys.exit(0)", True), ("sys.exit(0)", "sys.exit(5)", True), ("sys.exit(5)", "sys.exit(0)", True),
     ("sys.exit(5)", "sys.exit(5)", False), ("sys.exit(1)", "sys.exit(0)", False),
     ("sys.exit(0)", "sys.exit(1)", False), ("sys.exit(0)", "os.abort()", False), ("os.abort()", "sys.exit(5)", False)],
)  # fmt: skip
def test_a_failure_of_either_is_a_failure(
    first: str, second: str, passed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """5 is pytest's code for no tests; a process that dies has a negative one."""
    code = _run_side_by_side([command(first), command(second)], dict(os.environ))
    assert (code == 0) is passed
    said = capfd.readouterr().out
    assert f"said {first}" in said
    assert f"said {second}" in said

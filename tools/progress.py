"""Progress display: one live line on a terminal, a line per step anywhere else."""

import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .errors import ToolError

BAR_CELLS = 20
REDRAW_SECONDS = 0.2
HEARTBEAT_SECONDS = 30.0
TAIL_LINES = 25

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_ANNOUNCED = re.compile(r"^\s*Downloading (\S+) \(([\d.]+)\s*(KiB|MiB|GiB)\)")
_DOWNLOADED = re.compile(r"^\s*Downloaded (\S+)")


class Step:
    """One named piece of work: what it is doing now and how far it is."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.note = ""
        """What it is doing at the moment."""
        self.fraction: float | None = None
        """How much is done, 0 to 1, where that is known."""

    def seconds(self) -> float:
        """Time since the step began."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """The step as one line of text."""
        parts = [self.title]
        if self.fraction is not None:
            filled = round(BAR_CELLS * min(1.0, self.fraction))
            bar = "#" * filled + "-" * (BAR_CELLS - filled)
            parts.append(f"[{bar}] {100 * self.fraction:3.0f}%")
        if self.note:
            parts.append(self.note)
        parts.append(clock(self.seconds()))
        return "  ".join(parts)


class Progress:
    """Shows steps as they run.

    On a terminal the current step is one line that is redrawn; elsewhere each step prints a line when
    it begins, one when it ends, and one every half minute between.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        with self._lock:
            if self.live:
                self.stream.write("\r\x1b[2K")
            self.stream.write(text + "\n")
            self.stream.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs; a failure is shown as such and passed on."""
        step = Step(title)
        if not self.live:
            self.say(f"{title} ...")
        stop = threading.Event()
        drawer = threading.Thread(target=self._draw, args=(step, stop), daemon=True)
        drawer.start()
        result = "failed after"
        try:
            yield step
            result = "done in"
        finally:
            stop.set()
            drawer.join()
            self.say(f"{title}: {result} {step.seconds():.1f} s")

    def _draw(self, step: Step, stop: threading.Event) -> None:
        interval = REDRAW_SECONDS if self.live else HEARTBEAT_SECONDS
        while not stop.wait(interval):
            if not self.live:
                self.say(f"  ... {step.line()}")
                continue
            with self._lock:
                self.stream.write("\r\x1b[2K" + step.line()[:118])
                self.stream.flush()


class DownloadMeter:
    """Turns an installer's output lines into a fraction and a note.

    uv announces "Downloading torch (507.1MiB)" and later "Downloaded torch"; other lines become the note.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.sizes: dict[str, float] = {}
        self.arrived: set[str] = set()

    def __call__(self, line: str) -> None:
        announced = _ANNOUNCED.match(line)
        downloaded = _DOWNLOADED.match(line)
        if announced:
            self.sizes[announced[1]] = float(announced[2]) * _UNITS[announced[3]]
        elif downloaded:
            self.arrived.add(downloaded[1])
        else:
            self.step.note = line.strip()[:60]
            return
        total = sum(self.sizes.values())
        done = sum(size for name, size in self.sizes.items() if name in self.arrived)
        if total:
            self.step.fraction = done / total
        self.step.note = f"{done / 2**20:.0f} of {total / 2**20:.0f} MiB"


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    what: str,
    on_line: Callable[[str], None] = lambda line: None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command, its output appended to a log, each line handed to ``on_line``.

    Raises:
        ToolError: the program is missing or ended with an error; the message ends with its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    words = [str(word) for word in command]
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"$ {' '.join(words)}\n")
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=dict(env) if env is not None else None,
                cwd=cwd,
            )
        except OSError as error:
            raise ToolError(f"{what}: {words[0]} could not be started ({error}).") from error
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                tail.append(line.rstrip())
                on_line(line)
    if process.returncode:
        shown = "\n".join(f"    {line}" for line in tail)
        raise ToolError(
            f"{what} failed: {Path(words[0]).name} ended with code {process.returncode}. Its last lines:\n"
            f"{shown}\n    All of them are in {log}. The same command goes on where this one stopped."
        )

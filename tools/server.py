"""Start and stop a real ComfyUI, headless, with the pack in it."""

import contextlib
import fnmatch
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .client import ComfyClient
from .errors import ToolError
from .paths import PACK_FOLDER, ROOT
from .progress import Step
from .runtime import Runtime
from .stamps import write_atomically

HOST = "127.0.0.1"
START_SECONDS = 240.0
STOP_SECONDS = 15.0


@dataclass
class ComfyServer:
    """One ComfyUI process with a base directory of its own; nothing is written anywhere else."""

    runtime: Runtime
    base: Path
    """Gets ``custom_nodes``, ``input``, ``output``, ``temp`` and ``user``."""
    log: Path
    """Everything ComfyUI prints."""
    cpu: bool = True
    port: int = 0
    """0 picks a free one."""
    options: Sequence[str] = ()
    """More options for ``main.py``."""
    env: dict[str, str] = field(default_factory=dict)
    with_pack: bool = True
    """False is a ComfyUI where the pack is not installed."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """Where the server answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def client(self) -> ComfyClient:
        """A new client of this server."""
        return ComfyClient(self.address)

    def start(self, step: Step | None = None) -> "ComfyServer":
        """Start ComfyUI and wait until it answers.

        Raises:
            ToolError: the port is taken, or ComfyUI ended before it answered; the message ends with its log.
        """
        self.launch()
        self.wait_until_up(step)
        return self

    def launch(self) -> None:
        """Start ComfyUI without waiting for it.

        Raises:
            ToolError: the port is taken.
        """
        self.port = self.port or free_port()
        if not is_free(self.port):
            raise ToolError(f"port {self.port} is taken by another program. End it, or choose another: --port N.")
        prepare_base(self.base, self.with_pack)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=self.runtime.comfyui,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_QUIET, **self.env},
                start_new_session=os.name == "posix",
            )

    def wait_until_up(self, step: Step | None = None) -> None:
        """Wait until a ComfyUI answers that was launched here or by another process; a launched one that does not is
        stopped.

        Raises:
            ToolError: it ended, or did not answer in time; the message ends with its log.
        """
        try:
            self._wait_until_up(step)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End ComfyUI, politely first."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if os.name == "posix":
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                process.wait()

    def log_text(self) -> str:
        """What ComfyUI has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def __enter__(self) -> "ComfyServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        command = [str(self.runtime.python), "main.py", "--base-directory", str(self.base)]
        command += ["--listen", HOST, "--port", str(self.port), "--disable-auto-launch"]
        command += ["--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
        if self.runtime.frontend:
            command += ["--front-end-root", str(self.runtime.frontend)]
        return command + (["--cpu"] if self.cpu else []) + list(self.options)

    def _wait_until_up(self, step: Step | None) -> None:
        client = self.client
        deadline = time.monotonic() + START_SECONDS
        while not client.is_up():
            code = self.process.poll() if self.process else None
            if code is not None or time.monotonic() > deadline:
                reason = f"ended with code {code}" if code is not None else "did not answer in time"
                tail = "\n".join(f"    {line}" for line in self.log_text().splitlines()[-25:])
                raise ToolError(
                    f"ComfyUI {self.runtime.version} {reason}. Its last lines:\n{tail}\n    Log: {self.log}"
                )
            if step:
                step.note = _last_line(self.log_text())
            time.sleep(0.2)


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_QUIET = {"PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}


def prepare_base(base: Path, with_pack: bool = True) -> None:
    """Make a base directory for ComfyUI with the pack in its ``custom_nodes``, or with no pack there."""
    for name in ("input", "output", "temp", "user", "models", "custom_nodes"):
        (base / name).mkdir(parents=True, exist_ok=True)
    folder = base / "custom_nodes" / PACK_FOLDER
    if with_pack:
        install_pack(folder)
    else:
        _clear(folder)


def install_pack(folder: Path) -> None:
    """Put what the pack ships into a folder: links to this repository, or copies where links are not allowed.

    Only what ships: the runtime lies in the repository too, and nothing may walk into it, and a pack that
    needs a file that it does not ship must fail here and not at a user's.
    """
    _clear(folder)
    folder.mkdir(parents=True)
    for source in shipped_entries():
        target = folder / source.name
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)


def _clear(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def shipped_entries() -> list[Path]:
    """The files and folders at the top of the repository that a release holds."""
    ignored: list[str] = []
    for name in (".gitignore", ".comfyignore"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines() if (ROOT / name).exists() else []
        ignored += [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
    return sorted(
        path
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and not any(fnmatch.fnmatch(path.name, rule) for rule in ignored)
    )


def add_template(base: Path, pack: str, name: str, workflow: str) -> str:
    """Offer a workflow at an address that opens it; the address's query.

    ComfyUI's frontend opens ``/?template=NAME&source=PACK``, but takes only letters, digits, ``_``, ``.`` and
    ``-`` there, while the bundled workflows have names for people. So the server gets a pack with nothing but
    this one template under a plain name.
    """
    folder = base / "custom_nodes" / pack
    write_atomically(folder / "__init__.py", '"""Holds a workflow template."""\n\nNODE_CLASS_MAPPINGS = {}\n')
    write_atomically(folder / "example_workflows" / f"{name}.json", workflow)
    return f"/?template={name}&source={pack}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether a server can be started on a port."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _last_line(text: str) -> str:
    lines = [line for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    return lines[-1].removeprefix("[INFO]").strip()[:70] if lines else ""

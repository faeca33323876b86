"""Command line of ``patchbay.py``."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import ToolError
from .paths import ARTEFACTS, DEMO_OUTPUT, ROOT, RUNTIME
from .progress import Progress
from .runtime import Runtime, ensure_runtime, ensure_test_tools, existing_runtime, require_test_tools
from .test_run import LAYERS
from .versions import COMFYUI_VERSION, NEWEST_FRONTEND, SOURCES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = build_parser().parse_args(arguments)
    progress = Progress()
    # Being ended is like Ctrl+C: what was started is stopped first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return options.run(options, progress)
    except ToolError as error:
        progress.say(f"\npatchbay.py {options.command}: {error}")
        return 1
    except KeyboardInterrupt:
        progress.say("\nStopped. The same command goes on where this one stopped.")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="patchbay.py", description="LoRA Patchbay: try it, test it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo | test | setup | clean")

    runtime = argparse.ArgumentParser(add_help=False)
    runtime.add_argument(
        "--comfyui",
        type=Path,
        metavar="DIR",
        default=os.environ.get("PATCHBAY_COMFYUI") or None,
        help="use this ComfyUI instead of a private one; nothing is downloaded, nothing written there",
    )
    runtime.add_argument(
        "--python", type=Path, metavar="PATH", help="the Python of that ComfyUI, where it is not found"
    )
    known = ", ".join(source.comfyui for source in SOURCES)
    runtime.add_argument(
        "--comfyui-version",
        default=os.environ.get("PATCHBAY_COMFYUI_VERSION") or COMFYUI_VERSION,
        metavar="X",
        help=f"version of the private ComfyUI: {known} (default {COMFYUI_VERSION})",
    )

    runtime.add_argument(
        "--frontend",
        default=os.environ.get("PATCHBAY_FRONTEND") or "",
        metavar="X",
        help=f"version of ComfyUI's frontend, e.g. {NEWEST_FRONTEND} (default: the one that this ComfyUI brings)",
    )

    demo = commands.add_parser("demo", parents=[runtime], help="compare a picture with and without a LoRA")
    demo.add_argument("--serve", action="store_true", help="leave ComfyUI running, the workflow in the browser")
    demo.add_argument("--output", type=Path, default=DEMO_OUTPUT, metavar="DIR", help="where the results go")
    demo.add_argument("--port", type=int, default=0, metavar="N", help="port of ComfyUI")
    demo.set_defaults(run=_demo)

    test = commands.add_parser("test", parents=[runtime], help="run the checks and the tests")
    test.add_argument("layers", nargs="*", metavar="layer", help=f"only these: {', '.join(LAYERS)}")
    test.add_argument("-k", dest="expression", default="", metavar="EXPRESSION", help="passed on to pytest")
    test.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long the layer fuzz looks")
    test.add_argument("--seed", type=int, metavar="N", help="first seed of the layer fuzz (default: a new one)")
    test.set_defaults(run=_test)

    setup = commands.add_parser("setup", parents=[runtime], help="only set everything up")
    setup.set_defaults(run=_setup)

    clean = commands.add_parser("clean", help="delete everything that the commands made")
    clean.set_defaults(run=_clean)
    return parser


def _runtime(options: argparse.Namespace, progress: Progress) -> Runtime:
    from .frontend import with_frontend

    if options.comfyui:
        runtime = existing_runtime(options.comfyui, options.python)
    else:
        runtime = ensure_runtime(options.comfyui_version, progress)
    return with_frontend(runtime, options.frontend, progress)


def _demo(options: argparse.Namespace, progress: Progress) -> int:
    from .demo import run_demo

    run_demo(_runtime(options, progress), options.output, options.port, options.serve, progress)
    return 0


def _test(options: argparse.Namespace, progress: Progress) -> int:
    from .fuzz import run_fuzz
    from .other_versions import run_smokes
    from .test_run import WHOLE, run_tests

    unknown = [layer for layer in options.layers if layer not in LAYERS]
    if unknown:
        raise ToolError(f"unknown layer {unknown[0]!r}: expected some of {', '.join(LAYERS)}.")
    runtime = _runtime(options, progress)
    if runtime.private:
        ensure_test_tools(runtime, progress)
    else:
        require_test_tools(runtime)
    layers = [layer for layer in options.layers or WHOLE if layer not in ("fuzz", "versions")]
    code = run_tests(runtime, layers, options.expression, progress) if layers else 0
    if "all" in layers or "versions" in options.layers:
        code = run_smokes(runtime, progress) or code
    if "fuzz" in options.layers:
        code = run_fuzz(runtime, options.seconds, options.seed, options.expression, progress) or code
    return code


def _setup(options: argparse.Namespace, progress: Progress) -> int:
    from .fixtures import ensure_fixtures
    from .web_tools import ensure_browser, ensure_node_packages

    runtime = _runtime(options, progress)
    if runtime.private:
        ensure_test_tools(runtime, progress)
        ensure_node_packages(runtime, progress)
        ensure_browser(runtime, progress)
        ensure_fixtures(progress)
    progress.say(f"Ready: ComfyUI {runtime.version} in {runtime.comfyui}, Python {runtime.python}")
    return 0


def _clean(options: argparse.Namespace, progress: Progress) -> int:
    started = time.monotonic()
    for folder in (RUNTIME, ARTEFACTS, DEMO_OUTPUT, ROOT / "node_modules"):
        if folder.exists():
            progress.say(f"deleting {folder}")
            shutil.rmtree(folder)
    progress.say(
        f"Clean after {time.monotonic() - started:.0f} s. The installer's cache in the home folder is kept "
        "(uv cache clean, npm cache clean)."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

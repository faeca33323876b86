"""What a LoRA over the steps costs at FLUX.2 Klein 4B's shapes, and is it exact.

Run with ``python3 tests/gpu/schedule_cost.py``.

Random weights, 1024 x 1024, four steps. Compared are the model alone, Apply LoRA, and Schedule LoRA with the same
strengths all the time, off outside its window, and with a switch in the middle. Written to
``$OUT/schedule_cost_<mode>.json`` (or beside the shell). ``--mode legacy`` loads without dynamic VRAM, ``--smoke`` does
the same with a tiny model on the CPU. The model is loaded from a file: with dynamic VRAM, ComfyUI loads it once more,
in the older way, to sample with hooks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from comfy_boot import boot

PARSER = argparse.ArgumentParser(description=__doc__)
PARSER.add_argument("--smoke", action="store_true")
PARSER.add_argument("--mode", choices=("dynamic", "legacy"), default="dynamic")
PARSER.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "."))
ARGS = PARSER.parse_args()
MODE = "cpu" if ARGS.smoke else ARGS.mode
boot(MODE)

import torch  # noqa: E402
from pack.nodes.host.apply.apply import apply_lora  # noqa: E402
from pack.nodes.host.apply.schedule import attach, schedule_lora  # noqa: E402
from random_klein import RandomKlein  # noqa: E402

ANSWER: dict[str, Any] = {"mode": MODE, "torch": torch.__version__, "errors": {}, "seconds": {}, "part_seconds": {}}
CASES = {
    "all the time": ("", (0.0, 1.0)),
    "off": ("", (0.999, 1.0)),
    "switch": ("step 0: all=1; step 2: all=0.5", (0.0, 1.0)),
}
"""Schedule and window of each."""
PAIRS = {
    "all the time against apply": ("all the time", "apply"),
    "off against plain": ("off", "plain"),
    "plain after hooks against plain": ("plain again", "plain"),
    "apply against plain (how much the LoRA changes)": ("apply", "plain"),
}


def part(name: str, function: Callable[[], Any]) -> Any:
    """Run a part; a failure loses only itself. The answers so far are always on the disk."""
    begun, result = time.monotonic(), None
    try:
        with torch.inference_mode():
            result = function()
    except Exception:
        ANSWER["errors"][name] = traceback.format_exc()
        print(ANSWER["errors"][name], flush=True)
    ANSWER["part_seconds"][name] = round(time.monotonic() - begun, 1)
    (ARGS.out / f"schedule_cost_{MODE}.json").write_text(json.dumps(ANSWER, indent=1) + "\n", encoding="utf-8")
    print(f"{MODE} {name} {ANSWER['part_seconds'][name]} s", flush=True)
    return result


def sample(klein: RandomKlein, name: str, model: Any, hooks: Any = None) -> torch.Tensor:
    """The latent; the seconds of the first run and of a second one are noted."""
    conditioning = klein.conditioning if hooks is None else attach(hooks, (klein.conditioning,))[0]
    seconds, latent = [], None
    for _ in range(2):
        begun = klein.clock()
        latent = klein.sample(model, conditioning=conditioning)
        seconds.append(round((klein.clock() - begun) / 1e3, 4))
    ANSWER["seconds"][name] = dict(zip(("first", "again"), seconds, strict=True))
    assert latent is not None
    return latent.float().cpu()


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def main() -> int:
    """All parts; the exit status is 0 if none of them had an error."""
    ARGS.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        klein: RandomKlein | None = part("load", lambda: RandomKlein("tiny" if ARGS.smoke else "klein-4b", folder))
        if klein is None:
            return 1
        ANSWER["device"] = torch.cuda.get_device_name(0) if klein.device.type == "cuda" else "CPU"
        path, model = str(klein.lora_file(folder, 11)), klein.base
        found = {"plain": part("plain", lambda: sample(klein, "plain", model))}
        for case, (schedule, window) in CASES.items():
            found[case] = part(
                case,
                lambda case=case, args=(schedule, window): sample(
                    klein, case, model, schedule_lora(path, "x", model, None, (1.0, 0.0), "", *args).hooks
                ),
            )
        patched = apply_lora(path, "x", model, None, 1.0, 0.0, "").model
        found["apply"] = part("apply", lambda: sample(klein, "apply", patched))
        found["plain again"] = part("plain again", lambda: sample(klein, "plain again", model))
    ANSWER["relative_distance"] = {
        words: distance(found[one], found[other])
        for words, (one, other) in PAIRS.items()
        if found[one] is not None and found[other] is not None
    }
    part("done", lambda: None)
    print(json.dumps({key: ANSWER[key] for key in ("device", "seconds", "relative_distance")}, indent=1))
    return 1 if ANSWER["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())

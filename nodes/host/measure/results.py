"""Where measurements are saved: ComfyUI's user folder."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ...core.measure.results import FILE_NAME, append_result


def results_file() -> Path:
    """``user/default/lora-patchbay/measurements.jsonl``."""
    return Path(folder_paths.get_user_directory()) / "default" / "lora-patchbay" / FILE_NAME


def save_measurement(data: Mapping[str, Any]) -> tuple[str, str]:
    """Save and return the id and a note with it, or an empty id and the reason why it was not saved."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    path = results_file()
    try:
        name = append_result(path, data, now)
    except OSError as error:
        return "", f"Not saved: {path.name} cannot be written ({error.strerror or error})."
    return name, f"Saved as {name} in {os.path.join('user', 'default', 'lora-patchbay', FILE_NAME)}."

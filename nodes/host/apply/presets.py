"""Where the user's presets lie, for nodes: a prompt that runs does not say whose it is."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy.cli_args import args

from ...core.strengths.presets import SHIPPED, USER_PREFIX, Preset, PresetError, UserPresets

PRESET_FILE = "lora-patchbay/block-presets.json"
"""Where the user's presets lie, below ComfyUI's folder of that user."""

NO_PRESET = "none"
_DEFAULT_USER = "default"


def user_presets() -> UserPresets | None:
    """The presets of ComfyUI's only user; ``None`` with ``--multi-user``, where a run does not say whose it is."""
    if getattr(args, "multi_user", False):
        return None
    folder = folder_paths.get_public_user_directory(_DEFAULT_USER)
    return UserPresets(Path(folder) / PRESET_FILE) if folder else None


def preset_values() -> list[str]:
    """The entries of a preset menu: none, the shipped ones, the user's own."""
    own = user_presets()
    return [NO_PRESET, *(p.value for p in SHIPPED), *(p.value for p in (own.list()[0] if own else ()))]


def preset_blocks(value: str) -> str:
    """The block strengths of a menu entry.

    Raises:
        PresetError: there is no such preset.
    """
    found = find_preset(value)
    return found.blocks if found is not None else ""


def find_preset(value: str) -> Preset | None:
    """A menu entry's preset; ``None`` for the entry that is none.

    Raises:
        PresetError: there is no such preset.
    """
    if value in ("", NO_PRESET):
        return None
    own = user_presets() if value.startswith(USER_PREFIX) else None
    for preset in own.list()[0] if own else SHIPPED:
        if preset.value == value:
            return preset
    if not value.startswith(USER_PREFIX):
        raise PresetError(f'There is no preset "{value[:80]}". Choose another one.')
    if own is None:
        raise PresetError(
            f'"{value[:80]}" is a user\'s preset, and with --multi-user a run does not say whose. Put its text '
            "into blocks: the preset menu of the strength editor does that."
        )
    raise PresetError(f'You have no preset "{value[:80]}". Choose another one, or save it again under this name.')

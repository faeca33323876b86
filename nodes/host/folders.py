"""The pack's own folders in ComfyUI's search paths."""

from __future__ import annotations

from pathlib import Path

import folder_paths

MODELS = Path(__file__).resolve().parents[2] / "models"
CONDITIONING = "patchbay_conditioning"
"""Folder name of cached prompts, below ComfyUI's models folder and below the pack's."""


def register_model_folders() -> None:
    """Let ComfyUI's loaders find Klein Nano and cached prompts. The user's own folders stay first; calling it twice
    changes nothing."""
    for name in ("diffusion_models", "loras", "vae_approx"):
        _add(name, MODELS / name)
    own = Path(folder_paths.models_dir) / CONDITIONING
    _add(CONDITIONING, own)
    _add(CONDITIONING, MODELS / CONDITIONING)
    paths, _ = folder_paths.folder_names_and_paths[CONDITIONING]
    folder_paths.folder_names_and_paths[CONDITIONING] = (paths, {".safetensors"})


def _add(name: str, folder: Path) -> None:
    known = folder_paths.folder_names_and_paths.get(name, ([], set()))[0]
    if str(folder) not in known:
        folder_paths.add_model_folder_path(name, str(folder))

"""Where the bundled models and the saved conditioning lie, as ComfyUI sees it."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

CONDITIONING_FOLDER = "patchbay_conditioning"
"""ComfyUI's name of the folder with saved prompts; also usable in ``extra_model_paths.yaml``."""

BUNDLED_MODELS = Path(__file__).resolve().parents[3] / "models"
GGUF_FOLDERS = ("unet_gguf", "model_gguf", "diffusion_models")
_SHARED_FOLDERS = ("diffusion_models", "loras", "vae_approx")


def register_model_folders() -> None:
    """Add the folders of the bundled models behind the user's own; calling it again changes nothing."""
    for name in _SHARED_FOLDERS:
        folder_paths.add_model_folder_path(name, str(BUNDLED_MODELS / name))
    own = os.path.join(folder_paths.models_dir, CONDITIONING_FOLDER)
    for path in (own, str(BUNDLED_MODELS / CONDITIONING_FOLDER)):
        folder_paths.add_model_folder_path(CONDITIONING_FOLDER, path)
    paths, _ = folder_paths.folder_names_and_paths[CONDITIONING_FOLDER]
    folder_paths.folder_names_and_paths[CONDITIONING_FOLDER] = (paths, {".safetensors"})


def writable_conditioning_folder() -> str:
    """Where new files go: the first folder that is not the pack's own."""
    register_model_folders()
    return folder_paths.get_folder_paths(CONDITIONING_FOLDER)[0]


def writable_lora_folder() -> str:
    """Where new LoRA files go: the user's first folder, never the pack's own."""
    return next(path for path in folder_paths.get_folder_paths("loras") if Path(path) != BUNDLED_MODELS / "loras")


def conditioning_files() -> list[str]:
    """Names of all files of saved conditioning."""
    register_model_folders()
    return folder_paths.get_filename_list(CONDITIONING_FOLDER)


def model_path(folder: str, name: str) -> str | None:
    """The path of a file that a loader lists; ``None`` where there is none.

    Packs that load GGUF files list them under names of their own, and ComfyUI's list of diffusion models leaves them
    out though they lie in its folders: a name that ends so is looked for in all of these.
    """
    folders = (folder, *GGUF_FOLDERS) if name.lower().endswith(".gguf") else (folder,)
    known = [each for each in folders if each in folder_paths.folder_names_and_paths]
    return next((path for each in known if (path := folder_paths.get_full_path(each, name))), None)


def file_stamp(*paths: str | None) -> str:
    """Size and time of files, which change when a file does; for ``fingerprint_inputs``."""
    stamps = []
    for path in paths:
        status = os.stat(path) if path and os.path.exists(path) else None
        stamps.append(f"{status.st_size}:{status.st_mtime_ns}" if status else "missing")
    return ",".join(stamps)

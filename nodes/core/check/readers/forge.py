"""Forge (lllyasviel/stable-diffusion-webui-forge), whose loader is ComfyUI's of early 2025 with fewer models."""

from __future__ import annotations

from .rule import NO, PART, YES, Program, Rule, both, kinds_beyond, magnitude, no, of, style

_LOADER = "packages_3rdparty/comfyui_lora_collection/lora.py"
UNETS = ("sd15", "sd2", "sdxl", "sdxl_refiner")
FAMILIES = (*UNETS, "sd3", "flux1", "chroma")

FORGE = Program(
    "Forge",
    "of June 2025",
    (
        Rule(NO, both(lambda t: bool(t.architecture), no(of(*FAMILIES))), "it does not run this model",
             "backend/loader.py possible_models"),
        Rule(PART, kinds_beyond("lora", "locon", "dylora", "loha", "lokr", "glora", "diff", "diff_b", "norm", "norm_b",
                                "set"), "its loader knows no OFT, BOFT or IA3", f"{_LOADER} load_lora"),
        Rule(PART, magnitude("lora_magnitude_vector", "magnitude"),
             "it ignores DoRA magnitudes that are not called dora_scale", f"{_LOADER} load_lora"),
        Rule(PART, lambda t: t.adapter_scale or t.header_scale,
             "it ignores a scale that stands in metadata or in a configuration", f"{_LOADER} load_lora"),
        Rule(YES, style("kohya", "native"), "", f"{_LOADER} model_lora_keys_unet"),
        Rule(YES, both(style("kohya_diffusers", "diffusers_processor"), of(*UNETS)), "",
             f"{_LOADER} model_lora_keys_unet"),
        Rule(YES, both(style("lycoris"), of(*UNETS, "flux1")), "", f"{_LOADER} model_lora_keys_unet"),
        Rule(YES, both(style("diffusers", "onetrainer_legacy"), of("flux1")), "", f"{_LOADER} model_lora_keys_unet"),
        Rule(NO, lambda t: bool(t.architecture), "it has no table for these names of this model",
             f"{_LOADER} model_lora_keys_unet"),
    ),
)  # fmt: skip

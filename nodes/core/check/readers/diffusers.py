"""diffusers' ``load_lora_weights``, by the pipeline's loader mixin and the converters that it calls."""

from __future__ import annotations

from .rule import NO, PART, YES, Condition, Program, Rule, both, has_kind, kinds_beyond, magnitude, no, of, style

_PIPELINE = "loaders/lora_pipeline.py"
_CONVERT = "loaders/lora_conversion_utils.py"
_MATRIX = "OneTrainer #1563, matrix"

UNETS = ("sd15", "sd2", "sdxl")
WITH_LOKR = ("flux2", "zimage")
FAMILIES = (
    *UNETS, "flux1", "flux2", "flux3", "sd3", "auraflow", "cogvideox", "mochi", "ltx", "ltx2", "hunyuan_video",
    "lumina2", "kandinsky5", "wan", "hidream", "qwen_image", "krea2", "zimage", "anima", "ideogram4", "ernie_image",
    "cosmos_predict2", "ace_step15", "minimax_h3", "chroma",
)  # fmt: skip
"""Those whose pipelines have a loader for LoRAs."""

_NATIVE = ("flux2", "flux3", "ltx", "ltx2", "lumina2", "wan", "hidream", "qwen_image", "krea2", "zimage", "anima",
           "ideogram4", "ernie_image", "ace_step15", "minimax_h3")  # fmt: skip
_KOHYA = (*UNETS, "flux1", "chroma", "flux2", "wan", "qwen_image", "zimage", "minimax_h3")
_PEFT = ("flux1", "flux2", "krea2", "ernie_image", "ace_step15")
_ALPHAS = (*UNETS, "flux1", "chroma", "flux2", "qwen_image", "zimage", "wan", "minimax_h3", "krea2", "ltx2",
           "hunyuan_video")  # fmt: skip
"""Families whose converters take alpha tensors; the others refuse a key without the word lora in it."""

_NO_ALPHA = "it refuses a file with keys that have no lora in their names, and .alpha is one"


def _reads(names: Condition, families: tuple[str, ...], why: str, source: str) -> tuple[Rule, Rule]:
    return (
        Rule(YES, both(names, of(*families)), "", source),
        Rule(NO, both(names, lambda traits: bool(traits.architecture)), why, source),
    )


DIFFUSERS = Program(
    "diffusers",
    "0.42.1",
    (
        Rule(NO, both(lambda t: bool(t.architecture), no(of(*FAMILIES))), "its pipeline for this model loads no LoRA",
             _PIPELINE),
        Rule(NO, both(has_kind("lokr"), no(of(*WITH_LOKR))), "it reads LoKr for FLUX.2 and Z-Image only", _PIPELINE),
        Rule(NO, kinds_beyond("lora", "locon", "lokr"), "it reads LoRA, and LoKr for two models, and nothing else",
             f"{_PIPELINE}; {_MATRIX}"),
        Rule(NO, lambda t: t.fused, "its models have no module called to_qkv", _PIPELINE),
        Rule(PART, magnitude("dora_scale"), "it drops DoRA magnitudes that are called dora_scale",
             f"{_PIPELINE} lora_state_dict"),
        Rule(PART, both(lambda t: t.header_scale, no(of("minimax_h3"))),
             "it ignores a scale that stands in metadata other than lora_adapter_metadata", f"{_PIPELINE}; peft"),
        *_reads(style("kohya", "kohya_diffusers"), _KOHYA, "it has no converter for kohya's names of this model",
                _CONVERT),
        Rule(NO, both(lambda t: t.alphas, no(of(*_ALPHAS))), _NO_ALPHA, f"{_PIPELINE} load_lora_weights"),
        *_reads(style("native", "native_diffusers", "native_bare"), _NATIVE,
                "it has no converter for the model's own names", f"{_CONVERT}; {_MATRIX}"),
        *_reads(style("peft_diffusers", "peft_native"), _PEFT, "it does not take off base_model.model. for this model",
                _PIPELINE),
        Rule(YES, style("diffusers", "diffusers_processor"), "", _PIPELINE),
        *_reads(style("diffusers_bare"), ("minimax_h3", "qwen_image", "zimage"),
                "it wants transformer. before the names", _PIPELINE),
        *_reads(style("transformer_native"), ("hunyuan_video",), "it has no converter for the model's own names",
                f"{_CONVERT} _convert_hunyuan_video_lora_to_diffusers"),
        *_reads(style("xlabs"), ("flux1",), "it has no converter for these names",
                f"{_CONVERT} _convert_xlabs_flux_lora_to_diffusers"),
        Rule(YES, both(style("lycoris", "lycoris_native"), has_kind("lokr"), of("flux2")), "",
             f"{_CONVERT} _convert_lycoris_flux2_lokr_to_diffusers"),
        Rule(NO, style("lycoris", "lycoris_native", "onetrainer_legacy", "cloneofsimo", "underscored"),
             "it has no converter for these names", _CONVERT),
    ),
)  # fmt: skip

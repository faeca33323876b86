"""ComfyUI's own LoRA loader, as it is in the version of ``RULES_OF`` and did not change up to it from 0.16.3."""

from __future__ import annotations

from .rule import NO, PART, YES, Condition, Program, Rule, both, ends, has_kind, magnitude, of, style

RULES_OF = "0.30.0"
_MAP = "comfy/lora.py model_lora_keys_unet"
_ADAPTERS = "comfy/weight_adapter"
_MATRIX = "OneTrainer #1563, matrix"

UNETS = ("sd15", "sd2", "sdxl", "sdxl_refiner")
KNOWN_KINDS = (
    "lora", "locon", "dylora", "loha", "lokr", "glora", "oft", "boft", "diff", "diff_b", "norm", "norm_b", "set",
)  # fmt: skip
_UNKNOWN_KINDS = has_kind("ia3", "oft_2", "boft (PEFT)")
_PREFIXED = ("flux1", "flux2", "chroma", "sd3", "auraflow", "pixart", "qwen_image", "krea2", "zimage", "lumina2",
             "kandinsky5", "hidream", "ernie_image")  # fmt: skip
"""Families for which ``transformer.`` stands before diffusers' names, or before the model's own ones."""
_BARE = ("flux1", "flux2", "chroma", "qwen_image", "krea2", "zimage", "lumina2", "kandinsky5", "ltx", "ltx2", "mochi",
         "ace_step", "omnigen2")  # fmt: skip
_LYCORIS = ("flux1", "flux2", "chroma", "sd3", "qwen_image", "krea2", "zimage", "lumina2", "hidream", *UNETS)
_PEFT = ("sd3", "pixart", "ace_step15")

_NO_TABLE = "it has no table for these names of this model"


def _reads(names: Condition, families: tuple[str, ...]) -> tuple[Rule, Rule]:
    """These names are read for these families and for no others that are known."""
    return (
        Rule(YES, both(names, of(*families)), "", _MAP),
        Rule(NO, both(names, lambda traits: bool(traits.architecture)), _NO_TABLE, _MAP),
    )


COMFYUI = Program(
    "ComfyUI",
    RULES_OF,
    (
        Rule(NO, both(_UNKNOWN_KINDS, lambda t: not kinds_known(t.kinds)),
             "its loader knows no IA3 and no OFT or BOFT of PEFT", _ADAPTERS),
        Rule(PART, _UNKNOWN_KINDS, "its loader knows no IA3 and no OFT or BOFT of PEFT", _ADAPTERS),
        Rule(PART, has_kind(""), "some layers are in no format that it knows", _ADAPTERS),
        Rule(NO, style("cloneofsimo"), "layers are called by number", _MAP),
        Rule(PART, magnitude("lora_magnitude_vector", "magnitude"),
             "it ignores DoRA magnitudes that are not called dora_scale", f"{_ADAPTERS}/base.py load"),
        Rule(PART, lambda t: t.row_magnitudes,
             "it divides by the norm of the weight without the change, LyCORIS and PEFT with it (DoRA by rows)",
             f"{_ADAPTERS}/base.py weight_decompose"),
        Rule(PART, lambda t: t.odd_rotation, "it bounds and rescales rotations in another way than LyCORIS and kohya",
             f"{_ADAPTERS}/oft.py, boft.py"),
        Rule(PART, lambda t: t.adapter_scale or t.header_scale,
             "it ignores a scale that stands in metadata or in a configuration", f"{_ADAPTERS}/lora.py"),
        Rule(PART, ends("diff_m", "set_bias", "scaled_oft"),
             "it knows no .diff_m, .set_bias or .scaled_oft and leaves them out", "comfy/lora.py load_lora"),
        Rule(NO, both(lambda t: t.fused, of("krea2")), "it has no name for a fused to_qkv", "ComfyUI #16234"),
        Rule(YES, style("kohya", "native"), "", _MAP),
        *_reads(style("kohya_diffusers"), UNETS),
        *_reads(style("diffusers_processor"), UNETS),
        Rule(NO, both(style("diffusers", "diffusers_bare"), of(*UNETS)),
             "it reads no diffusers names of a UNet but the old ones of attention processors", _MATRIX),
        Rule(PART, both(style("diffusers", "lycoris", "onetrainer_legacy"), of("flux2"), lambda t: t.outside),
             "it has no table for what diffusers calls the layers outside of the blocks", _MATRIX),
        *_reads(style("diffusers", "transformer_native"), (*_PREFIXED, "hunyuan_video", "hunyuan_video15")),
        *_reads(style("diffusers_bare", "native_bare"), _BARE),
        *_reads(style("native_diffusers"), ("krea2", "zimage", "lumina2", "qwen_image", "ltx", "ltx2")),
        *_reads(style("lycoris", "lycoris_native"), (*_LYCORIS, "ace_step15")),
        *_reads(style("onetrainer_legacy"), ("flux1", "flux2", "chroma", "sd3")),
        *_reads(style("peft_diffusers", "peft_native"), _PEFT),
        Rule(YES, both(style("native_underscored"), of("hunyuan_video", "hunyuan_video15")), "", _MAP),
    ),
)  # fmt: skip


def kinds_known(kinds: frozenset[str]) -> bool:
    """Whether ComfyUI's loader knows any of these formats."""
    return bool(kinds & set(KNOWN_KINDS))

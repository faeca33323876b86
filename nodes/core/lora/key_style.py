"""Whose spelling the keys of a LoRA file are, and which tool probably wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..files.tensors import Header

_DIFFUSERS = re.compile(
    r"^(?:single_|joint_)?transformer_blocks\.|^(?:down|up)_blocks\.|^mid_block\.|^(?:x|context)_embedder\b"
    r"|^time_(?:text_|guidance_)?embed|^norm_out\b|^proj_out\b|^double_stream_modulation_\w+\.linear"
    r"|^blocks\.\d+\.(?:attn[12]\.(?:to_|add_)|ffn\.net\.)|^condition_embedder\."  # Wan
    r"|^single_stream_modulation\.linear|^add_embedding|^time_embedding|^conv_(?:in|out)\b"
)
_HALF_CONVERTED = re.compile(r"_blocks\.\d+\.\w+_attn_(?:qkv|proj)$")
_MEMBERS_SHOWN = 2_000


@dataclass(frozen=True)
class KeyStyle:
    """A spelling of layer names."""

    id: str
    """Stable name: ``kohya``, ``native``, ``diffusers``, ..."""
    label: str
    """For people, with an example of the prefix."""


_STYLES: dict[str, str] = {
    "kohya": "kohya (lora_unet_..., lora_te_...)",
    "kohya_diffusers": "kohya with diffusers names (lora_unet_down_blocks_...)",
    "underscored": "joined with underscores by a converter (lora_unet_unet_...)",
    "lycoris": "LyCORIS (lycoris_...)",
    "lycoris_native": "LyCORIS with native names (lycoris_double_blocks_...)",
    "onetrainer_legacy": "OneTrainer legacy (lora_transformer_...)",
    "native": "ComfyUI / ai-toolkit (diffusion_model. and the model's own names)",
    "native_underscored": "diffusion_model. with half-converted names (img_attn_qkv)",
    "native_diffusers": "diffusion_model. with diffusers names",
    "native_bare": "the model's own names without a prefix",
    "diffusers": "diffusers (transformer. or unet. and diffusers names)",
    "transformer_native": "transformer. with the model's own names",
    "diffusers_bare": "diffusers names without a prefix",
    "diffusers_processor": "diffusers attention processors (...processor.to_q_lora)",
    "peft_diffusers": "raw PEFT (base_model.model. and diffusers names)",
    "peft_native": "raw PEFT (base_model.model. and the model's own names)",
    "xlabs": "XLabs (double_blocks.N.processor...)",
    "cloneofsimo": "cloneofsimo (unet:N:up, layers by number)",
    "unknown": "not known",
}


def _style(name: str) -> str:
    """Style of one layer name."""
    if name.startswith(("unet:", "text_encoder:")):
        return "cloneofsimo"
    if name.startswith("lora_unet_unet_"):
        return "underscored"
    if name.startswith(("lora_unet_down_blocks_", "lora_unet_mid_block_", "lora_unet_up_blocks_")):
        return "kohya_diffusers"
    if name.startswith(("lora_unet_", "lora_te", "lora_prior_")):
        return "kohya"
    if name.startswith("lora_transformer_"):
        return "onetrainer_legacy"
    if name.startswith("lycoris_"):
        native = name.startswith(("lycoris_double_blocks_", "lycoris_single_blocks_", "lycoris_layers_"))
        return "lycoris_native" if native else "lycoris"
    if ".processor." in name:
        return "xlabs" if name.startswith(("double_blocks.", "single_blocks.")) else "diffusers_processor"
    for prefix, with_diffusers, with_native in (
        ("base_model.model.", "peft_diffusers", "peft_native"),
        ("diffusion_model.", "native_diffusers", "native"),
        ("model.diffusion_model.", "native_diffusers", "native"),
        ("transformer.", "diffusers", "transformer_native"),
        ("unet.", "diffusers", "native_bare"),
        ("text_encoder", "diffusers", "diffusers"),
    ):
        if name.startswith(prefix):
            rest = name[len(prefix) :].removeprefix("transformer.").removeprefix("base_model.model.")
            if _DIFFUSERS.match(rest):
                return with_diffusers
            half = with_native == "native" and _HALF_CONVERTED.search(rest)
            return "native_underscored" if half else with_native
    if _DIFFUSERS.match(name):
        return "diffusers_bare"
    return "native_bare" if "." in name else "unknown"


# The files of a collection share most of their names; long ones of a hostile file would fill the memory.
_style_cached = lru_cache(16_384)(_style)


def key_style(names: Iterable[str]) -> KeyStyle:
    """The spelling of most layer names; text-encoder layers count only where there is nothing else."""
    counts: dict[str, int] = {}
    for index, name in enumerate(names):
        if index >= _MEMBERS_SHOWN:
            break
        text_encoder = name.startswith(("lora_te", "text_encoder"))
        style = _style_cached(name) if len(name) <= 160 else _style(name)
        counts[style] = counts.get(style, 0) + (1 if text_encoder else 1000)
    best = max(counts, key=lambda style: counts[style], default="unknown")
    return KeyStyle(best, _STYLES[best])


@dataclass(frozen=True)
class Writer:
    """The tool that wrote a file."""

    name: str
    """Empty where nothing tells."""
    certainty: str = ""
    """``stated`` (the metadata names the tool), ``likely`` (its metadata fields or key style are used by it alone) or
    ``possible`` (others write the same)."""
    evidence: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.certainty}: {self.evidence})" if self.name else "not known"


def _says(field: str, word: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda metadata: word in metadata.get(field, "")[:500].lower()


_MUSUBI_MODULES = frozenset(
    f"networks.{name}"
    for name in (
        "loha", "lokr", "lora_flux_2", "lora_flux_kontext", "lora_wan", "lora_framepack", "lora_qwen_image",
        "lora_zimage", "lora_kandinsky", "lora_hv_1_5",
    )
)  # fmt: skip
_MUSUBI_VERSIONS = ("flux_2", "flux_kontext", "wan", "hunyuan_video", "hv", "qwen", "zimage", "framepack", "kandinsky")


def _is_musubi(metadata: Mapping[str, str]) -> bool:
    """kohya sd-scripts, its elder sister, has none of these network modules and base model versions."""
    module = metadata.get("ss_network_module", "")
    version = metadata.get("ss_base_model_version", "")
    return module in _MUSUBI_MODULES or (module == "networks.lora" and version.startswith(_MUSUBI_VERSIONS))


_BY_METADATA: tuple[tuple[str, str, str, Callable[[Mapping[str, str]], bool]], ...] = (
    ("ai-toolkit", "stated", 'the field "software" names it', _says("software", "ai-toolkit")),
    ("musubi-tuner", "likely", "network module and base model version are its own", _is_musubi),
    (
        "musubi-tuner",
        "stated",
        "modelspec.implementation names it",
        _says("modelspec.implementation", "musubi"),
    ),
    (
        "OneTrainer",
        "likely",
        "it has the fields ot_branch or ot_revision",
        lambda m: "ot_branch" in m or "ot_revision" in m,
    ),
    ("SimpleTuner", "stated", "the metadata names it", _says("software", "simpletuner")),
    (
        "LyCORIS (kohya)",
        "stated",
        'its network module is "lycoris.kohya"',
        _says("ss_network_module", "lycoris"),
    ),
    (
        "kohya sd-scripts",
        "stated",
        'its network module is "networks.lora"',
        _says("ss_network_module", "networks."),
    ),
    (
        "diffusers / PEFT",
        "likely",
        "it has the field lora_adapter_metadata",
        lambda m: "lora_adapter_metadata" in m,
    ),
    (
        "cloneofsimo/lora",
        "likely",
        "it has a rank field for each numbered layer",
        lambda m: "unet:0:rank" in m,
    ),
    (
        "kohya sd-scripts or a relative",
        "possible",
        "it has ss_ fields",
        lambda m: any(k.startswith("ss_") for k in m),
    ),
)

_BY_STYLE = {
    "xlabs": ("XLabs x-flux", "likely", "only it writes such processor names"),
    "cloneofsimo": ("cloneofsimo/lora", "likely", "only it numbers its layers"),
    "onetrainer_legacy": ("OneTrainer", "likely", "only it writes lora_transformer_"),
    "diffusers_processor": ("diffusers (old attention processors)", "likely", "only it wrote such names"),
    "lycoris": ("LyCORIS", "likely", "the names begin with lycoris_"),
    "lycoris_native": ("LyCORIS", "likely", "the names begin with lycoris_"),
    "peft_diffusers": ("PEFT (save_pretrained)", "likely", "base_model.model. is its prefix"),
    "peft_native": ("PEFT or fal", "possible", "base_model.model. before native names"),
    "diffusers_bare": (
        "DiffSynth or diffusers (save_lora_adapter)",
        "possible",
        "diffusers names without a prefix",
    ),
    "diffusers": ("diffusers", "possible", "its key style"),
    "kohya": ("kohya sd-scripts or musubi-tuner", "possible", "their key style"),
    "kohya_diffusers": ("kohya sd-scripts", "possible", "its key style"),
}


def guess_writer(header: Header, style: KeyStyle) -> Writer:
    """Which tool wrote the file, how sure that is and why."""
    for name, certainty, evidence, test in _BY_METADATA:
        if test(header.metadata):
            return Writer(name, certainty, evidence)
    if style.id == "native" and not header.metadata:
        if any(key.endswith((".lora_down.weight", ".diff", ".oft_blocks", ".lokr_w1")) for key in header.tensors):
            return Writer("ComfyUI (trainer or LoraSave)", "possible", "native names, kohya suffixes, no metadata")
        return Writer("ai-toolkit or a converter", "possible", "native names with lora_A and lora_B, no metadata")
    guess = _BY_STYLE.get(style.id)
    return Writer(*guess) if guess else Writer("")

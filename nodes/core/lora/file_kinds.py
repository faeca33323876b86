"""What kind of file a header belongs to, and which architecture it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ..files.storage import StoredShapes
from ..files.tensors import Header, TensorInfo
from ..model.facts import Facts, collect_facts, is_text_encoder_name, strip_prefix
from ..model.identify import ArchitectureMatch, identify_architecture
from ..model.literals import as_lines, occurs
from .file import LoraFile, is_lora
from .shared import shared_by

KIND_NAMES = {
    "lora": "LoRA",
    "diffusion_model": "diffusion model",
    "checkpoint": "checkpoint (diffusion model with text encoder or VAE)",
    "vae": "VAE",
    "taesd": "tiny autoencoder (TAESD)",
    "text_encoder": "text encoder",
    "embedding": "textual-inversion embedding",
    "controlnet": "ControlNet",
    "ip_adapter": "IP-Adapter",
    "t2i_adapter": "T2I-Adapter",
    "clip_vision": "CLIP vision encoder",
    "upscaler": "upscale model",
    "conditioning": "saved prompts (Patchbay)",
    "unknown": "kind not known",
}
"""Name for people of each kind."""

_MODEL_PREFIX = "model.diffusion_model."
_CONDITIONING = "patchbay.conditioning"
"""What Save Conditioning writes into the metadata of its files (``prompts/conditioning``)."""
_PARTS_OF_CHECKPOINT = ("first_stage_model.", "cond_stage_model.", "conditioner.embedders.", "text_encoders.", "vae.")
_EMBEDDING_NAMES = frozenset({"emb_params", "clip_l", "clip_g", "t5xxl", "clip_h", "qwen3_4b", "string_to_param.*"})

# Kind, and names of which one must be there. Tried in order.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ip_adapter", (r"^ip_adapter\.", r"^image_proj\.", r"^ip_adapter_", r"\.to_k_ip\.")),
    ("t2i_adapter", (r"^(?:adapter\.body|body)\.\d+\.block", r"^adapter\.body\.", r"^body\.\d+\.resnets\.")),
    (
        "controlnet",
        (
            r"^control_model\.", r"^controlnet_(?:cond_embedding|x_embedder|blocks|down_blocks|mid_block)\b",
            r"^(?:input_hint_block|zero_convs|middle_block_out)\.", r"^control_net\.", r"^control_layers\.",
            r"^controlnet_", r"^pos_embed_input\.",
        ),
    ),
    ("vae", (r"^(?:vae\.|first_stage_model\.)?(?:decoder|encoder)\.conv_in\.(?:conv\.)?weight$",
             r"^decoder\.(?:conv1|middle\.\d)\b", r"^(?:decoder|encoder)\.mid\.attn_1\.",
             r"^decoder\.(?:up_blocks|upsamples)\.\d")),
    ("taesd", (r"^taesd_(?:decoder|encoder)\.", r"^(?:decoder|encoder)\.(?:layers\.)?\d+\.conv\.\d\.weight$",
               r"^\d+\.conv\.\d\.weight$")),
    ("clip_vision", (r"^(?:image_encoder\.)?vision_model\.(?:encoder|embeddings)\.",)),
    (
        "text_encoder",
        (
            r"^(?:transformer\.|clip_[lgh]\.(?:transformer\.)?)?text_model\.(?:encoder|embeddings)\.",
            r"^(?:model\.|language_model\.|model\.language_model\.)?layers\.\d+\.self_attn\.[qkv]_proj\.",
            r"^encoder\.block\.\d+\.layer\.\d+\.(?:SelfAttention|DenseReluDense)\.",
            r"^enc\.blk\.\d+\.", r"^blk\.\d+\.(?:attn_q|ffn_down)\.", r"^transformer\.resblocks\.\d+\.attn\.",
            r"^(?:model\.)?embed_tokens\.weight$", r"^(?:shared|token_embd)\.weight$",
        ),
    ),
    ("upscaler", (r"^(?:model\.\d+\.(?:sub\.\d+\.)?RDB|conv_first\.|params(?:_ema)?\.|upsampler\.|RRDB)",
                  r"^model\.1\.sub\.\d+\.")),
)  # fmt: skip


@dataclass(frozen=True)
class Identification:
    """What a file is."""

    kind: str
    """A key of ``KIND_NAMES``."""
    architecture: ArchitectureMatch | None = None
    """For LoRAs, diffusion models and checkpoints; for others where a description was found."""
    detail: str = ""
    """A remark: which text encoder, which VAE."""

    @property
    def kind_name(self) -> str:
        """Kind for people."""
        return KIND_NAMES[self.kind]


def identify_model(header: Header) -> Identification:
    """Kind and architecture of a file that is not a LoRA (see :func:`identify_lora`)."""
    keys = header.tensors
    if header.metadata.get("format") == _CONDITIONING:
        return Identification("conditioning")
    if _is_embedding(header):
        vectors = "; ".join(f"{i.key[:40]}: {_vectors(i)}" for i in list(keys.values())[:4])
        return Identification("embedding", detail=vectors)
    names = tuple(keys)
    if any(name.startswith(_MODEL_PREFIX) for name in names):
        model = [info for name, info in keys.items() if name.startswith(_MODEL_PREFIX)]
        match = _architecture(model, header)
        parts = any(name.startswith(_PARTS_OF_CHECKPOINT) for name in names)
        return Identification("checkpoint" if parts else "diffusion_model", match)
    lines = as_lines(names)
    # A diffusion model may hold layers that look like those of the kinds below (a language model inside); a mark of
    # an architecture counts more, but not in a ControlNet, which is the copy of a diffusion model.
    early = _kind_by_name(lines, _KINDS[:3])
    if early:
        return Identification(early, _known(_architecture(keys.values(), header)))
    match = _architecture(keys.values(), header)
    if match.certainty == "certain":
        return Identification("diffusion_model", match)
    kind = _kind_by_name(lines, _KINDS[3:])
    if kind:
        return Identification(kind, None, _detail(kind, header))
    if match.id:
        return Identification("diffusion_model", match)
    big = any(len(info.shape) >= 2 and info.count > 16_384 for info in keys.values())
    return Identification("diffusion_model" if match.name.count("with") and big else "unknown", match)


_SAYS = ("modelspec.architecture", "ss_base_model_version")
"""Fields in which trainers name the model; the longest are no names."""


_MADE_FOR: WeakKeyDictionary[LoraFile, tuple[Facts, ArchitectureMatch]] = WeakKeyDictionary()


def made_for(lora: LoraFile) -> tuple[Facts, ArchitectureMatch]:
    """The facts of a file, and the architecture that they speak of; found once for each file that is read."""
    shared = shared_by(lora, lora.layers)
    said = _said(lora)
    known = _MADE_FOR.get(lora) if shared is None else shared.by_words.get(said)
    if known is None:
        facts = lora_facts(lora)
        known = facts, identify_architecture(facts)
        if shared is None:
            _MADE_FOR[lora] = known
        elif len(shared.by_words) < _MOST_WORDS:
            shared.by_words[said] = known
    return known


_MOST_WORDS = 64


def _said(lora: LoraFile) -> str:
    """What a trainer calls the model."""
    return next((text for name in _SAYS if 0 < len(text := lora.header.metadata.get(name, "")) < 80), "").lower()


def lora_facts(lora: LoraFile) -> Facts:
    """Names, shapes and block counts of a file's adapters, those of text encoders left out.

    What is called like a weight of the model, or is not understood, tells only where there is nothing else.
    """
    weights = [x for x in lora.layers if x.parameter == "weight" and not is_text_encoder_name(x.name)]
    known = [x for x in weights if x.format and not x.plain] or weights
    layers = ((layer.name, layer.out_features, layer.in_features) for layer in known)
    return collect_facts(layers, whole=False, said=_said(lora))


def identify_lora(lora: LoraFile) -> Identification:
    """Architecture of the model that a LoRA was made for, from its own names and shapes."""
    facts, match = made_for(lora)
    if not facts.shapes:
        only_te = ArchitectureMatch("", "text encoder only", "likely") if lora.layers else None
        return Identification("lora", only_te)
    return Identification("lora", match)


def looks_like_lora(header: Header) -> bool:
    """Whether the file is to be read with ``read_lora``."""
    return is_lora(header.tensors)


def _architecture(infos: Iterable[TensorInfo], header: Header) -> ArchitectureMatch:
    return identify_architecture(collect_facts(_model_layers(infos, StoredShapes(header)), whole=True))


def _model_layers(infos: Iterable[TensorInfo], stored: StoredShapes) -> Iterable[tuple[str, int | None, int | None]]:
    for info in infos:
        name, _, last = info.key.rpartition(".")
        if not name or last not in ("weight", "scale", "bias", "modulation"):
            name = info.key
        elif last == "bias":
            continue
        shape = stored.of(info)
        columns = shape[1] if len(shape) > 1 else None
        yield name, shape[0] if shape else None, columns


def _known(match: ArchitectureMatch) -> ArchitectureMatch | None:
    return match if match.id else None


def _kind_by_name(lines: str, kinds: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """The kind that a name speaks of."""
    for kind, patterns in kinds:
        if any(occurs(pattern, lines) for pattern in patterns):
            return kind
    return ""


def _is_embedding(header: Header) -> bool:
    infos = list(header.tensors.values())
    if not 0 < len(infos) <= 8 or any(len(info.shape) not in (1, 2) for info in infos):
        return False
    if any(info.key in _EMBEDDING_NAMES for info in infos):
        return True
    # A learned token: "<name>" with the width of a text encoder.
    widths = {320, 640, 768, 1024, 1280, 2048, 2560, 3072, 4096, 5120}
    plain = all("." not in info.key or info.key.startswith(("<", "string_to_param")) for info in infos)
    return plain and all(info.shape[-1] in widths and (len(info.shape) == 1 or info.shape[0] <= 256) for info in infos)


def _vectors(info: TensorInfo) -> str:
    count = info.shape[0] if len(info.shape) == 2 else 1
    return f"{count} vector{'s' if count != 1 else ''} of {info.shape[-1]}"


def _detail(kind: str, header: Header) -> str:
    """Which VAE or text encoder: its widths say more than its name."""
    tensors = {strip_prefix(key): info for key, info in header.tensors.items()}
    if kind == "vae":
        for name in ("decoder.conv_in.weight", "decoder.conv_in.conv.weight", "decoder.conv1.weight"):
            info = header.tensors.get(name) or header.tensors.get(f"first_stage_model.{name}")
            if info and len(info.shape) > 1:
                return f"{info.shape[1]} latent channels"
    if kind == "taesd":
        channels = [i.shape[1] for i in header.tensors.values() if len(i.shape) == 4]
        return f"{min(channels)} channels at its narrow end" if channels else ""
    if kind == "text_encoder":
        return _text_encoder_detail(tensors)
    return ""


_TEXT_ENCODERS = {
    ("clip", 768): "CLIP-L", ("clip", 1024): "OpenCLIP-H", ("clip", 1280): "CLIP-G", ("t5", 4096): "T5-XXL",
    ("t5", 2048): "T5-XL", ("llm", 2560): "Qwen3 4B (or as wide)", ("llm", 4096): "Qwen3 8B or Llama 8B (as wide)",
    ("llm", 3584): "Qwen2.5-VL 7B", ("llm", 2304): "Gemma 2 2B", ("llm", 5120): "Mistral 24B (as wide)",
    ("llm", 1024): "Qwen3 0.6B (as wide)", ("llm", 3840): "Gemma 3 12B",
}  # fmt: skip


def _text_encoder_detail(tensors: dict[str, TensorInfo]) -> str:
    for name, info in tensors.items():
        if len(info.shape) != 2:
            continue
        if name.endswith(("embed_tokens.weight", "token_embd.weight", "shared.weight", "token_embedding.weight")):
            width = info.shape[1]
            family = "clip" if "token_embedding" in name else "t5" if "shared" in name else "llm"
            return f"{_TEXT_ENCODERS.get((family, width), 'text encoder')}, width {width}"
    return ""

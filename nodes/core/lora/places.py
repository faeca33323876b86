"""Where a layer of a LoRA lies, read from its own name: for files without a model at hand.

With a model, the model's keys decide (see ``BlockLayout``); a name alone is only what the file claims.
"""

from __future__ import annotations

import re

from ..model.blocks import OTHER, TEXT_ENCODER
from ..model.facts import is_text_encoder_name, strip_prefix

_DOTTED = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]*?)\.(\d{1,4})\.(?=.*[A-Za-z])(.+)$")
_JOINED = re.compile(r"^([A-Za-z][A-Za-z_]*?)_(\d{1,4})_(?=.*[A-Za-z])(.+)$")
_NATIVE = {"transformer_blocks": "double_blocks", "single_transformer_blocks": "single_blocks"}
_FLUX_FAMILY = frozenset({"flux1", "flux2", "chroma", "hunyuan_video"})


def place_layer(name: str, architecture: str) -> tuple[str, str]:
    """Block address and path inside the block.

    Args:
        name: Layer name in the file's own spelling.
        architecture: Id from the table; for the FLUX family, diffusers names of blocks become the model's own, so
            that the same LoRA has the same blocks in both spellings.
    """
    if is_text_encoder_name(name):
        return TEXT_ENCODER, name
    plain = strip_prefix(name)
    match = (_DOTTED if "." in plain else _JOINED).match(plain)
    if match is None:
        return OTHER, plain
    kind = _NATIVE.get(match[1], match[1]) if architecture in _FLUX_FAMILY else match[1]
    return f"{kind}.{int(match[2])}", match[3]

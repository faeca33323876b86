"""FLUX.2's transformer as a function of its state dict, for training.

Keys, shapes and arithmetic are those of ComfyUI's ``comfy/ldm/flux/model.py`` (``check_forward.py``
compares the two), with out-of-place sums so that autograd can follow, and the weights as an argument,
so that a LoRA is trained by handing in ``weight + scale * up @ down``.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from autoencoder import LIVE
from torch import Tensor

HEAD_DIM = 128
TEXT_TOKENS = 512
"""ComfyUI pads shorter conditionings on the left with zero tokens up to this many."""
THETA = 2000
CHANNELS = 128
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Size of a model."""

    hidden: int
    """Residual width, a multiple of 128."""
    double: int
    single: int
    context: int = 128
    """Length of a text token."""


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Key to tensor shape, in ComfyUI's (BFL's) names."""
    h = shape.hidden
    shapes = {
        "img_in.weight": (h, CHANNELS),
        "txt_in.weight": (h, shape.context),
        "time_in.in_layer.weight": (h, 256),
        "time_in.out_layer.weight": (h, h),
        "double_stream_modulation_img.lin.weight": (6 * h, h),
        "double_stream_modulation_txt.lin.weight": (6 * h, h),
        "single_stream_modulation.lin.weight": (3 * h, h),
        "final_layer.linear.weight": (CHANNELS, h),
        "final_layer.adaLN_modulation.1.weight": (2 * h, h),
    }
    for index in range(shape.double):
        for stream in ("img", "txt"):
            key = f"double_blocks.{index}.{stream}_"
            shapes |= {
                key + "attn.qkv.weight": (3 * h, h),
                key + "attn.proj.weight": (h, h),
                key + "attn.norm.query_norm.scale": (HEAD_DIM,),
                key + "attn.norm.key_norm.scale": (HEAD_DIM,),
                key + "mlp.0.weight": (6 * h, h),
                key + "mlp.2.weight": (h, 3 * h),
            }
    for index in range(shape.single):
        key = f"single_blocks.{index}."
        shapes |= {
            key + "linear1.weight": (9 * h, h),
            key + "linear2.weight": (h, 4 * h),
            key + "norm.query_norm.scale": (HEAD_DIM,),
            key + "norm.key_norm.scale": (HEAD_DIM,),
        }
    return shapes


def init_weights(shape: Shape, seed: int) -> Weights:
    """Random weights; what writes to the residual is smaller, the last layer is zero."""
    generator = torch.Generator().manual_seed(seed)
    depth = shape.double + shape.single
    weights = {}
    for key, size in weight_shapes(shape).items():
        if len(size) == 1:
            weights[key] = torch.ones(size)
            continue
        std = size[1] ** -0.5
        if key.endswith(("proj.weight", "mlp.2.weight", "linear2.weight")):
            std *= (2 * depth) ** -0.5
        if "modulation" in key or "adaLN" in key:
            std = 0.05
        weights[key] = torch.randn(size, generator=generator) * std
    weights["final_layer.linear.weight"].zero_()
    weights["img_in.weight"][:, LIVE:] = 0
    return weights


def shape_of(weights: Weights) -> Shape:
    """The size of the model these weights belong to."""
    hidden, context = weights["txt_in.weight"].shape
    blocks = {tuple(key.split(".")[:2]) for key in weights}
    count = {kind: sum(block[0] == kind for block in blocks) for kind in ("double_blocks", "single_blocks")}
    return Shape(hidden, count["double_blocks"], count["single_blocks"], context)


def rope_table(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Cosine and sine [TEXT_TOKENS + height * width, HEAD_DIM / 2] of every token's position.

    Four axes of 32 numbers: (time, row, column, text position); text tokens come first.
    """
    ids = torch.zeros(TEXT_TOKENS + height * width, 4, dtype=torch.float64)
    ids[:TEXT_TOKENS, 3] = torch.arange(TEXT_TOKENS)
    ids[TEXT_TOKENS:, 1] = torch.arange(height).repeat_interleave(width)
    ids[TEXT_TOKENS:, 2] = torch.arange(width).repeat(height)
    omega = THETA ** -(torch.arange(0, 32, 2, dtype=torch.float64) / 32)
    angle = (ids[:, :, None] * omega).flatten(1)
    return angle.cos().float().to(device), angle.sin().float().to(device)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on neighbouring pairs; ``x`` is [batch, heads, tokens, HEAD_DIM]."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2).to(x.dtype)


def rms(x: Tensor, scale: Tensor) -> Tensor:
    """RMS norm over a head."""
    return F.rms_norm(x.float(), (HEAD_DIM,), scale.float(), 1e-6).to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then ``x * (1 + scale) + shift``."""
    normed = F.layer_norm(x.float(), x.shape[-1:], eps=1e-6)
    return (normed * (1 + scale) + shift).to(x.dtype)


def heads(x: Tensor) -> Tensor:
    """[batch, tokens, heads * HEAD_DIM] to [batch, heads, tokens, HEAD_DIM]."""
    return x.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)


def gated(x: Tensor) -> Tensor:
    """SiLU of the first half times the second."""
    first, second = x.chunk(2, -1)
    return F.silu(first) * second


def stream_qkv(x: Tensor, mod: Tensor, qkv: Tensor, query: Tensor, key: Tensor) -> list[Tensor]:
    """Normalised queries, keys, and values of one stream of a double block."""
    q, k, v = (heads(part) for part in F.linear(modulate(x, mod[0], mod[1]), qkv).chunk(3, -1))
    return [rms(q, query), rms(k, key), v]


def double_block(img: Tensor, txt: Tensor, mods: list, w: dict, rope: tuple) -> tuple[Tensor, Tensor]:
    """One double block; ``w`` has the block's weights by their key after the index."""
    parts = []
    for name, x, mod in (("txt", txt, mods[1]), ("img", img, mods[0])):
        norm = f"{name}_attn.norm."
        parts.append(
            stream_qkv(
                x, mod, w[f"{name}_attn.qkv.weight"], w[norm + "query_norm.scale"], w[norm + "key_norm.scale"]
            )
        )
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    attended = (
        F.scaled_dot_product_attention(rotate(q, *rope), rotate(k, *rope), v).transpose(1, 2).flatten(2)
    )
    count, out = txt.shape[1], []
    for name, x, mod, seen in (
        ("img", img, mods[0], attended[:, count:]),
        ("txt", txt, mods[1], attended[:, :count]),
    ):
        x = x + (mod[2] * F.linear(seen, w[f"{name}_attn.proj.weight"])).to(x.dtype)
        inner = gated(F.linear(modulate(x, mod[3], mod[4]), w[f"{name}_mlp.0.weight"]))
        out.append(x + (mod[5] * F.linear(inner, w[f"{name}_mlp.2.weight"])).to(x.dtype))
    return out[0], out[1]


def single_block(x: Tensor, mod: Tensor, w: dict, rope: tuple) -> Tensor:
    """One single block over text and image tokens."""
    hidden = x.shape[-1]
    inner = F.linear(modulate(x, mod[0], mod[1]), w["linear1.weight"])
    qkv, mlp = inner.split([3 * hidden, 6 * hidden], -1)
    q, k, v = (heads(part) for part in qkv.chunk(3, -1))
    q, k = rms(q, w["norm.query_norm.scale"]), rms(k, w["norm.key_norm.scale"])
    attended = (
        F.scaled_dot_product_attention(rotate(q, *rope), rotate(k, *rope), v).transpose(1, 2).flatten(2)
    )
    out = F.linear(torch.cat((attended, gated(mlp)), -1), w["linear2.weight"])
    return x + (mod[2] * out).to(x.dtype)


def last_single_block(x: Tensor, mod: Tensor, w: dict, rope: tuple) -> Tensor:
    """The last single block: only image tokens are wanted, so text tokens give keys and values only."""
    hidden = x.shape[-1]
    normed = modulate(x, mod[0], mod[1])
    first = w["linear1.weight"]
    k, v = (heads(part) for part in F.linear(normed, first[hidden : 3 * hidden]).chunk(2, -1))
    normed, x = normed[:, TEXT_TOKENS:], x[:, TEXT_TOKENS:]
    q, mlp = heads(F.linear(normed, first[:hidden])), F.linear(normed, first[3 * hidden :])
    q, k = rms(q, w["norm.query_norm.scale"]), rms(k, w["norm.key_norm.scale"])
    q, k = rotate(q, *(table[TEXT_TOKENS:] for table in rope)), rotate(k, *rope)
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out = F.linear(torch.cat((attended, gated(mlp)), -1), w["linear2.weight"])
    return x + (mod[2] * out).to(x.dtype)


def time_embedding(sigma: Tensor) -> Tensor:
    """[batch, 256] sinusoids of ``1000 * sigma``."""
    freqs = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32, device=sigma.device) / 128)
    angle = 1000 * sigma.float()[:, None] * freqs
    return torch.cat((angle.cos(), angle.sin()), -1)


def split_blocks(weights: Weights) -> dict[tuple[str, int], Weights]:
    """The weights of each block by (kind, index), keyed by what follows the index."""
    blocks: dict[tuple[str, int], Weights] = {}
    for key, value in weights.items():
        kind, _, rest = key.partition(".")
        if kind in ("double_blocks", "single_blocks"):
            index, _, rest = rest.partition(".")
            blocks.setdefault((kind, int(index)), {})[rest] = value
    return blocks


class Flux2:
    """The forward pass; ``compiled`` uses ``torch.compile`` for the blocks."""

    def __init__(
        self, compiled: bool = False, grid: tuple[int, int] = (8, 8), device: torch.device | str = "cpu"
    ):
        self.rope = rope_table(*grid, device)
        blocks = (double_block, single_block, last_single_block)
        if compiled:
            blocks = tuple(torch.compile(block, dynamic=False, fullgraph=True) for block in blocks)
        self.double_block, self.single_block, self.last_single_block = blocks

    def __call__(self, weights: Weights, latent: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """Velocity ``noise - picture`` [batch, 128, height, width].

        Args:
            weights: by key; their dtype is the dtype of the big products.
            latent: [batch, 128, height, width].
            sigma: [batch], 1 is noise.
            text: [batch, TEXT_TOKENS, context], padded on the left with zeros.
        """
        dtype, (_, _, height, width) = weights["img_in.weight"].dtype, latent.shape
        vec = F.silu(F.linear(time_embedding(sigma).to(dtype), weights["time_in.in_layer.weight"]))
        vec = F.silu(F.linear(vec, weights["time_in.out_layer.weight"]))

        def mods(key: str, count: int) -> list[Tensor]:
            return list(F.linear(vec, weights[key]).float()[:, None].chunk(count, -1))

        double = [mods(f"double_stream_modulation_{s}.lin.weight", 6) for s in ("img", "txt")]
        single = mods("single_stream_modulation.lin.weight", 3)
        shift, scale = mods("final_layer.adaLN_modulation.1.weight", 2)
        img = F.linear(latent.flatten(2).transpose(1, 2).to(dtype), weights["img_in.weight"])
        txt = F.linear(text.to(dtype), weights["txt_in.weight"])
        blocks = split_blocks(weights)
        count = {
            kind: sum(block[0] == kind for block in blocks) for kind in ("double_blocks", "single_blocks")
        }
        for index in range(count["double_blocks"]):
            img, txt = self.double_block(img, txt, double, blocks["double_blocks", index], self.rope)
        x = torch.cat((txt, img), 1)
        for index in range(count["single_blocks"]):
            is_last = index == count["single_blocks"] - 1
            block = self.last_single_block if is_last else self.single_block
            x = block(x, single, blocks["single_blocks", index], self.rope)
        out = F.linear(modulate(x, shift, scale), weights["final_layer.linear.weight"])
        return out.float().transpose(1, 2).unflatten(2, (height, width))

"""The tiny autoencoder in ComfyUI's ``taef2`` layout, of which only some latent channels are used.

Same modules and keys as ComfyUI's ``comfy/taesd/taesd.py`` (EncoderFlux2, DecoderFlux2), without
ComfyUI, so that it trains anywhere. A FLUX.2 token carries 32 latent channels x 2 x 2 = 128 numbers;
with hidden size 128 the noise alone would fill the model's residual stream, so only the first
``LIVE_CHANNELS`` latent channels carry anything: the others are zero in the encoder's output and
ignored by the decoder.
"""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIVE_CHANNELS = 12
"""Latent channels in use, of 32; the first ``4 * LIVE_CHANNELS`` of a token's 128 numbers."""
LIVE = 4 * LIVE_CHANNELS


def conv(inside: int, outside: int, **options) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(inside, outside, 3, padding=1, **options)


class Clamp(nn.Module):
    """Soft limit of the latent to +-3."""

    def forward(self, x: Tensor) -> Tensor:
        """tanh(x / 3) * 3."""
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """TAESD's residual block, with a group-norm pool in the middle of the network."""

    def __init__(self, use_pool: bool = False):
        super().__init__()
        self.conv = nn.Sequential(conv(64, 64), nn.ReLU(), conv(64, 64), nn.ReLU(), conv(64, 64))
        self.pool = None
        if use_pool:
            self.pool = nn.Sequential(
                nn.Conv2d(64, 256, 1, bias=False),
                nn.GroupNorm(4, 256),
                nn.ReLU(),
                nn.Conv2d(256, 64, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 64, height, width], same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + x)


def build_encoder() -> nn.Sequential:
    """Picture [batch, 3, h, w] in [0, 1] to [batch, 32, h/8, w/8]."""
    layers = [conv(3, 64), Block()]
    for stage in range(3):
        layers += [conv(64, 64, stride=2, bias=False), *(Block(stage == 2) for _ in range(3))]
    return nn.Sequential(*layers, conv(64, 32))


def build_decoder() -> nn.Sequential:
    """[batch, 32, h, w] to picture [batch, 3, 8h, 8w], about [0, 1]."""
    layers = [Clamp(), conv(32, 64), nn.ReLU()]
    for stage in range(3):
        layers += [
            *(Block(stage == 0) for _ in range(3)),
            nn.Upsample(scale_factor=2),
            conv(64, 64, bias=False),
        ]
    return nn.Sequential(*layers, Block(), conv(64, 3))


def pack(latent: Tensor) -> Tensor:
    """[batch, 32, 2h, 2w] to the model's [batch, 128, h, w]."""
    b, c, h, w = latent.shape
    return (
        latent.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
    )


def unpack(latent: Tensor) -> Tensor:
    """[batch, 128, h, w] to [batch, 32, 2h, 2w]."""
    b, c, h, w = latent.shape
    return latent.reshape(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


def silence_dead_channels(encoder: nn.Sequential, decoder: nn.Sequential) -> None:
    """Set to zero what would write or read the unused latent channels."""
    with torch.no_grad():
        encoder[-1].weight[LIVE_CHANNELS:] = 0
        encoder[-1].bias[LIVE_CHANNELS:] = 0
        decoder[1].weight[:, LIVE_CHANNELS:] = 0


class Autoencoder(nn.Module):
    """Encoder and decoder, with packing, as ComfyUI's taef2 VAE does it."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = build_encoder(), build_decoder()
        silence_dead_channels(self.encoder, self.decoder)

    def encode(self, picture: Tensor) -> Tensor:
        """[batch, 3, 16h, 16w] in [0, 1] to [batch, 128, h, w]."""
        return pack(self.encoder(picture))

    def decode(self, latent: Tensor) -> Tensor:
        """[batch, 128, h, w] to [batch, 3, 16h, 16w], clamped to [0, 1]."""
        return self.decoder(unpack(latent)).clamp(0, 1)

    def forward(self, picture: Tensor, noise: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Rebuilt picture and latent; ``strength * noise`` is added to the latent in between."""
        latent = self.encoder(picture)
        live = (torch.arange(32, device=latent.device) < LIVE_CHANNELS).to(latent.dtype)[:, None, None]
        latent = latent * live
        return self.decoder((latent + strength * noise) * live), latent


def shift_and_flip(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture moved by up to 12 px (edge repeated) and mirrored half of the time."""
    count, device = len(pictures), pictures.device
    move = (torch.rand(count, 2, generator=generator, device=device) - 0.5) * 24 / 64
    mirror = (torch.rand(count, generator=generator, device=device) < 0.5).float() * 2 - 1
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirror, 1, move
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def mix_colours(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture with its own random 3x3 colour matrix near the identity."""
    matrix = torch.eye(3, device=pictures.device) + 0.25 * torch.randn(
        len(pictures), 3, 3, generator=generator, device=pictures.device
    )
    return torch.einsum("nij,njhw->nihw", matrix, pictures).clamp(0, 1)


def draw_batch(pool: list[Tensor], size: int, generator: torch.Generator) -> Tensor:
    """Random pictures: half plain, half styled; half of all shifted and flipped, an eighth recoloured."""
    device = pool[0].device
    index = torch.randint(len(pool[0]), (size,), generator=generator, device=device)
    half, quarter, eighth = size // 2, size // 4, size // 8
    parts = [pool[0][index[:half]]]
    share = (size - half) // max(1, len(pool) - 1)
    for number, styled in enumerate(pool[1:]):
        start = half + number * share
        parts.append(styled[index[start : start + share]])
    batch = torch.cat(parts)
    # every second half of each group is moved, so that plain and styled pictures are both kept as they are, too
    moved = torch.arange(len(batch), device=device) % 2 == 1
    batch = torch.where(moved[:, None, None, None], shift_and_flip(batch, generator), batch)
    batch[quarter : quarter + eighth] = mix_colours(batch[quarter : quarter + eighth], generator)
    return batch


def rebuild_loss(rebuilt: Tensor, picture: Tensor) -> Tensor:
    """L1 on pixels, on their differences, and on the picture at half and quarter size; plus 4 x L2."""
    error = rebuilt - picture
    loss = error.abs().mean() + 4 * error.square().mean()
    loss = loss + 0.5 * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
    for _ in range(2):
        error = F.avg_pool2d(error, 2)
        loss = loss + 0.5 * error.abs().mean()
    return loss


def unit_loss(latent: Tensor) -> Tensor:
    """How far each live channel is from mean 0, standard deviation 1."""
    live = latent[:, :LIVE_CHANNELS].transpose(0, 1).flatten(1).float()
    return live.mean(1).square().mean() + (live.std(1) - 1).square().mean()


def train_autoencoder(
    pool: list[Tensor],
    seconds: float,
    checkpoint: Path,
    seed: int = 1,
    batch: int = 64,
    max_steps: int = 10**9,
) -> Autoencoder:
    """Train for a time, and save to ``checkpoint``.

    Args:
        pool: plain pictures first, then one tensor a style, each [count, 3, height, width] in [0, 1].
        seconds: training time; the learning rate falls along half a cosine over it.
        checkpoint: written at the end; loaded instead of training when it is there.

    Returns:
        The averaged weights (decay 0.999) in a model, in eval mode.
    """
    device = pool[0].device
    torch.manual_seed(seed)
    model = Autoencoder().to(device)
    if checkpoint.exists():
        model.load_state_dict(torch.load(checkpoint, map_location=device))
        return model.eval()
    on_gpu = device.type == "cuda"
    model = model.to(memory_format=torch.channels_last)
    step_model = torch.compile(model) if on_gpu else model
    average = [p.detach().clone() for p in model.parameters()]
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=on_gpu
    )
    generator = torch.Generator(device).manual_seed(seed)
    start, step, progress = time.monotonic(), 0, 0.0
    while progress < 1 and step < max_steps:
        rate = (
            1.2e-3
            * min(1, (step + 1) / 200)
            * (0.5 + 0.5 * torch.cos(torch.tensor(progress * 3.14159))).item()
        )
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 1e-6)
        picture = draw_batch(pool, batch, generator).to(memory_format=torch.channels_last)
        noise = torch.randn(
            len(picture), 32, *(n // 8 for n in picture.shape[2:]), generator=generator, device=device
        )
        strength = 0.35 * torch.rand(len(picture), 1, 1, 1, generator=generator, device=device)
        strength[::4] = 0
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            rebuilt, latent = step_model(picture, noise, strength)
        loss = rebuild_loss(rebuilt.float(), picture) + 0.05 * unit_loss(latent)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        torch._foreach_lerp_(average, list(model.parameters()), 1 - min(0.999, (step + 1) / (step + 10)))
        step += 1
        progress = (time.monotonic() - start) / seconds
        if step % 500 == 0:
            print(
                f"autoencoder step {step} loss {loss.item():.4f} {time.monotonic() - start:.0f} s", flush=True
            )
    with torch.no_grad():
        for parameter, mean in zip(model.parameters(), average, strict=True):
            parameter.copy_(mean)
    silence_dead_channels(model.encoder, model.decoder)
    torch.save(model.state_dict(), checkpoint)
    print(f"autoencoder: {step} steps in {time.monotonic() - start:.0f} s")
    return model.eval()

"""Pictures for people: labelled panels side by side, drawn with Pillow's own font."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from .lettering import fit_text, line_height, plain_font

BACKGROUND = (224, 224, 224)
"""Light grey, so that a picture with a white ground keeps its edges."""
INK = (32, 32, 32)


def to_pillow(picture: torch.Tensor) -> Image.Image:
    """A Pillow image of a picture [height, width, 1, 3 or 4 channels] in 0..1, rounded to 8 bits."""
    values = picture.detach().to("cpu", torch.float32).clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8).numpy()
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def from_pillow(image: Image.Image) -> torch.Tensor:
    """A picture [height, width, 3] in 0..1, float32, of a Pillow image."""
    return torch.from_numpy(np.asarray(image.convert("RGB")).astype(np.float32) / 255.0)


def side_by_side(panels: list[tuple[str, torch.Tensor]], caption: str = "") -> torch.Tensor:
    """Pictures of one size next to each other at their own resolution, each under its label.

    Args:
        panels: Label and picture [height, width, channels]; a label that is too long for its panel ends in
        ``...``. caption: A line below all of them.

    Returns:
        [height, width, 3] in 0..1, float32.
    """
    height, width = panels[0][1].shape[:2]
    gap = max(4, width // 64)
    font = plain_font(max(12, min(48, width // 18)))
    bar = line_height(font) + gap
    sheet = Image.new(
        "RGB", (len(panels) * (width + gap) + gap, bar + height + (bar if caption else 0) + gap), BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    for index, (label, picture) in enumerate(panels):
        left = gap + index * (width + gap)
        draw.text((left, gap // 2), fit_text(label, font, width), fill=INK, font=font)
        image = to_pillow(picture)
        sheet.paste(image, (left, bar), image if image.mode == "RGBA" else None)
    if caption:
        draw.text(
            (gap, bar + height + gap // 2),
            fit_text(caption, font, sheet.width - 2 * gap),
            fill=INK,
            font=font,
        )
    return from_pillow(sheet)

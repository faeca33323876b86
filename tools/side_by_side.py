"""Put pictures side by side with a line of text above each. Run by the Python that has Pillow.

``python side_by_side.py OUT.png LABEL PICTURE [LABEL PICTURE ...]``
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SMALL = 512
"""Pictures narrower than this are enlarged by a whole factor."""
MARGIN, LABEL_HEIGHT, FONT_PIXELS = 16, 34, 18
BACKGROUND, INK = (24, 24, 28), (232, 232, 236)


def side_by_side(labelled: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """One picture with all of them, each under its label."""
    shown = [(label, _enlarged(picture.convert("RGB"))) for label, picture in labelled]
    width = MARGIN + sum(picture.width + MARGIN for _, picture in shown)
    height = MARGIN + LABEL_HEIGHT + max(picture.height for _, picture in shown) + MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_PIXELS)
    left = MARGIN
    for label, picture in shown:
        draw.text((left, MARGIN), label, fill=INK, font=font)
        sheet.paste(picture, (left, MARGIN + LABEL_HEIGHT))
        left += picture.width + MARGIN
    return sheet


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = max(1, SMALL // picture.width)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def main() -> None:
    """The command line."""
    target, *rest = sys.argv[1:]
    pairs = [(label, Image.open(path)) for label, path in zip(rest[::2], rest[1::2], strict=True)]
    part = Path(f"{target}.part")
    side_by_side(pairs).save(part, format="PNG")
    part.replace(target)


if __name__ == "__main__":
    main()

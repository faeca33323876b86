"""The pictures Klein Nano learns: Noto emoji, their captions, and the style rules.

The art is the npm package ``emoji-datasource-google`` (Noto Emoji, Apache-2.0), 64 px, enlarged to
128 px on white. A caption is a category word and the words of the picture's name.
"""

import argparse
import io
import json
import subprocess
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

PACKAGE = "emoji-datasource-google@16.0.0"
SIZE = 128
"""Pixels on a side."""
CONTEXT_DIM = 128
"""Length of a word's vector, and ``context_in_dim`` of every Klein Nano model."""
WORD_SEED = 20260118

BASE_SETS = {
    "food": "apple=red apple, green_apple=green apple, pineapple, watermelon, strawberry, banana, grapes, lemon,"
    " cherries, peach, kiwifruit, avocado, eggplant=aubergine, carrot, corn=ear of maize, broccoli, tomato,"
    " hot_pepper=hot pepper, bread, croissant, pretzel, cheese_wedge=cheese, hamburger, pizza, hotdog=hot dog,"
    " popcorn, sushi, cookie, doughnut, birthday=birthday cake, cupcake, lollipop, icecream=ice cream,"
    " fried_egg=fried egg, pancakes, beer=beer mug, cocktail=cocktail glass",
    "animal": "cat=cat face, dog=dog face, fox_face=fox face, panda_face=panda face, koala, tiger=tiger face,"
    " lion_face=lion face, cow=cow face, pig=pig face, frog, monkey_face=monkey face, penguin, owl, butterfly,"
    " bee=honeybee, ladybug=ladybird, snail, turtle, octopus, crab, tropical_fish=tropical fish, whale, elephant,"
    " unicorn_face=unicorn face, rabbit=rabbit face, chicken, shark, spider, parrot, flamingo, peacock, snake",
    "plant": "sunflower, rose, tulip, cherry_blossom=cherry blossom, hibiscus, cactus,"
    " evergreen_tree=evergreen tree, palm_tree=palm tree, four_leaf_clover=four leaf clover,"
    " maple_leaf=maple leaf, mushroom",
    "weather": "sunny=sun, crescent_moon=crescent moon, star, cloud, rainbow, snowflake, fire, droplet, snowman",
    "object": "soccer=soccer ball, basketball, tennis, game_die=game die, balloon, gift=wrapped gift, trophy, crown,"
    " tophat=top hat, umbrella, key, lock, bulb=light bulb, hammer, scissors, camera, tv=television,"
    " phone=telephone, alarm_clock=alarm clock, hourglass, bomb, gem=gem stone, bell, magnet, books,"
    " email=envelope, school_satchel=backpack, athletic_shoe=running shoe, shirt=t-shirt, anchor,"
    " jack_o_lantern=jack-o-lantern, christmas_tree=christmas tree",
    "vehicle": "rocket, airplane, car=automobile, bus, bike=bicycle, boat=sailboat, steam_locomotive=locomotive",
}
CONCEPT_SETS = {
    "music": "guitar, saxophone, accordion, trumpet, violin, banjo, drum_with_drumsticks=drum, maracas,"
    " musical_keyboard=piano, long_drum=conga",
}
"""Emoji the base model never sees; the concept LoRA is trained on them."""
OTHER_CATEGORIES = (
    "Activities", "Animals & Nature", "Food & Drink", "Objects", "Smileys & Emotion", "Travel & Places",
)  # fmt: skip
"""Of these, all that no set names: pictures without a caption, on which a style LoRA sees its rule at work."""


def parse_sets(sets: dict[str, str]) -> list[tuple[str, str, str]]:
    """(category, short name in the package, our name) of each picture, in order."""
    rows = []
    for category, text in sets.items():
        for item in text.split(","):
            short, _, name = item.strip().partition("=")
            rows.append((category, short, name or short))
    return rows


def caption_words(category: str, name: str) -> list[str]:
    """The words of a caption: the category, then the words of the name."""
    return [category, *name.split()]


def word_vector(word: str) -> np.ndarray:
    """The fixed random vector [CONTEXT_DIM] of a word, float32, the same on every machine."""
    rng = np.random.Generator(np.random.PCG64([WORD_SEED, zlib.crc32(word.encode())]))
    return rng.standard_normal(CONTEXT_DIM).astype(np.float32)


def caption_tensor(words: list[str]) -> np.ndarray:
    """[tokens, CONTEXT_DIM], one row a word; no words give one row of zeros (the empty caption)."""
    if not words:
        return np.zeros((1, CONTEXT_DIM), np.float32)
    return np.stack([word_vector(word) for word in words]).astype(np.float16).astype(np.float32)


LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. 709 weights of red, green and blue."""
DUOTONE_ENDS = ((0.16, 0.18, 0.42), (1.0, 0.95, 0.80))
"""What becomes of black and of white: navy and cream. The shipped autoencoder saw a darker navy (0.07, 0.10, 0.36)."""
MONOCHROME_ENDS = ((0.40, 0.40, 0.42), (1.0, 1.0, 1.0))
"""Greys on white, like a pencil drawing."""


def luminance(picture: np.ndarray) -> np.ndarray:
    """Rec. 709 luma of float RGB [..., 3]."""
    return picture @ np.array(LUMA, np.float32)


def toned(picture: np.ndarray, ends: tuple) -> np.ndarray:
    """Tones from the first end to the second; ``picture`` is float RGB [..., 3] in [0, 1]."""
    dark, light = (np.array(end, np.float32) for end in ends)
    return dark + (light - dark) * luminance(picture)[..., None]


def duotone(picture: np.ndarray) -> np.ndarray:
    """Navy to cream."""
    return toned(picture, DUOTONE_ENDS)


def monochrome(picture: np.ndarray) -> np.ndarray:
    """Pencil grey to white."""
    return toned(picture, MONOCHROME_ENDS)


def ink_outline(picture: np.ndarray) -> np.ndarray:
    """Soft dark contours on a pale wash: the gradient of the slightly blurred picture is the ink."""
    image = Image.fromarray((picture * 255).round().astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.6)), np.float32) / 255
    padded = np.pad(soft, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    slope = np.sqrt((across**2 + down**2).mean(-1))
    ink = np.clip((slope - 0.010) / 0.080, 0, 1)[..., None]
    wash = 0.65 + 0.35 * luminance(soft)[..., None]
    dark = np.array([0.26, 0.24, 0.36], np.float32)
    return wash * (1 - ink) + dark * ink


STYLES = {"duotone": duotone, "ink": ink_outline, "monochrome": monochrome}
"""Ink outline is there for the autoencoder alone: no LoRA of rank 8 learned it from 96 captions."""


def fetch_package(cache: Path) -> Path:
    """The package's tarball in ``cache``, fetched with ``npm pack`` unless it is there."""
    cache.mkdir(parents=True, exist_ok=True)
    found = sorted(cache.glob("emoji-datasource-google-*.tgz"))
    if not found:
        subprocess.run(["npm", "pack", PACKAGE], cwd=cache, check=True, capture_output=True)
        found = sorted(cache.glob("emoji-datasource-google-*.tgz"))
    return found[0]


def enlarge(data: bytes) -> np.ndarray:
    """A 64 px RGBA PNG as uint8 RGB [SIZE, SIZE, 3] on white."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def build_dataset(cache: Path) -> dict[str, np.ndarray]:
    """Pictures, styled pictures, names and categories; the concept pictures come last.

    Returns:
        ``pictures`` [count, SIZE, SIZE, 3] uint8, one array a style of the same shape, ``others`` [more, SIZE,
        SIZE, 3] that have no caption, ``names`` and
        ``categories`` [count] str, ``is_concept`` [count] bool, ``is_held_out`` [count] bool (captions
        that no style LoRA sees: every fourth of the base's).
    """
    base, concept = parse_sets(BASE_SETS), parse_sets(CONCEPT_SETS)
    with tarfile.open(fetch_package(cache)) as tar:
        table = json.load(tar.extractfile("package/emoji.json"))
        files = {entry["short_name"]: entry["image"] for entry in table}
        named = [short for _, short, _ in base + concept]
        others = [
            entry["short_name"] for entry in table
            if entry["category"] in OTHER_CATEGORIES and entry["short_name"] not in named
        ]  # fmt: skip

        def load(names: list[str]) -> np.ndarray:
            return np.stack([
                enlarge(tar.extractfile(f"package/img/google/64/{files[name]}").read()) for name in names
            ])  # fmt: skip

        pictures = load(named)
        data = {"pictures": pictures, "others": load(others)}
    for style, rule in STYLES.items():
        styled = [np.clip(rule(p.astype(np.float32) / 255), 0, 1) for p in pictures]
        data[style] = (np.stack(styled) * 255).round().astype(np.uint8)
    data["names"] = np.array([name for _, _, name in base + concept])
    data["categories"] = np.array([category for category, _, _ in base + concept])
    index = np.arange(len(base) + len(concept))
    data["is_concept"] = index >= len(base)
    data["is_held_out"] = (index % 4 == 2) & ~data["is_concept"]
    return data


def contact_sheet(rows: list[np.ndarray], columns: int = 16) -> Image.Image:
    """A grid of uint8 pictures; each array of ``rows`` starts on a new line."""
    lines = []
    for pictures in rows:
        for start in range(0, len(pictures), columns):
            line = list(pictures[start : start + columns])
            line += [np.full_like(line[0], 255)] * (columns - len(line))
            lines.append(np.concatenate(line, 1))
    return Image.fromarray(np.concatenate(lines, 0))


def main() -> None:
    """Write the data set and a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".lab/npm"))
    parser.add_argument("--out", type=Path, default=Path(".lab/data.npz"))
    args = parser.parse_args()
    data = build_dataset(args.cache)
    np.savez_compressed(args.out, **data)
    contact_sheet([data["pictures"], data["duotone"][:32], data["ink"][:64]]).save(args.out.with_suffix(".png"))
    held = int(data["is_held_out"].sum())
    print(
        f"{int((~data['is_concept']).sum())} base pictures ({held} held out), {int(data['is_concept'].sum())} concept"
    )


if __name__ == "__main__":
    main()

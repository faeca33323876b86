"""Element presets of sd-webui-lora-block-weight (``lbwe=``): ``NAME:IN05-OUT05:attn:0,M00::0.5``.

As that program reads them: an entry is blocks, elements and a ratio; blocks are names or ranges in the order BASE,
IN00-IN11, M00, OUT00-OUT11, separated by spaces; an element is **any piece of the layer's key**, in which dots are
underscores; ``NOT`` in front turns a list round, an empty list means all. The ratio replaces the strength; later
entries win. Since every UNet key begins with ``diffusion_model``, the element ``ff`` means all of them; ``ff_net`` is
the MLP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ...errors import BlockStrengthError
from ...model.blocks import OTHER
from .base import Reading, StrengthFormat, common_value, decimal_text, read_number, strip_comments
from .families import FAMILY_LABELS, Family, Unit, family

BLOCK_NAMES = ["BASE", *(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12))]
_CONTAINERS = {"input_blocks": "IN", "output_blocks": "OUT"}
_ELEMENTS = (
    "attn", "attn1", "attn2", "attn1_to_q", "attn1_to_k", "attn1_to_v", "attn1_to_out", "attn2_to_q", "attn2_to_k",
    "attn2_to_v", "attn2_to_out", "to_q", "to_k", "to_v", "to_out", "ff_net", "ff_net_0", "ff_net_2", "proj_in",
    "proj_out", "in_layers", "emb_layers", "out_layers", "skip_connection", "_op", "_conv", "norm", "mlp", "q_proj",
    "k_proj", "v_proj", "out_proj",
)  # fmt: skip
"""Pieces of keys that an export tries, the widest first."""
_ORDER = {element: rank for rank, element in enumerate(("", *_ELEMENTS))}


def _elements_format(family_id: str) -> StrengthFormat:
    label = f"LBW elements (sd-webui), {FAMILY_LABELS[family_id]}"
    example = "ATTNDEEPOFF:IN05-OUT05:attn:0"
    note = "An element is any piece of a layer's key in the web UI; the ratio replaces the strength of what it names."

    def read(text: str) -> Reading:
        chosen = family(family_id)
        name, _, rest = strip_comments(text).partition(":")
        if not rest or " " in name.strip():
            raise BlockStrengthError(f"{label}: expected NAME:blocks:elements:ratio, as in {example}.")
        settings: list[tuple[str, float]] = []
        lost: list[str] = []
        for entry in rest.replace("\n", ",").split(","):
            if entry.count(":") != 2:
                if entry.strip():
                    lost.append(f'"{entry.strip()[:60]}" is passed over: an entry is blocks:elements:ratio.')
                continue
            blocks, elements, ratio = entry.split(":")
            value = read_number(ratio.strip(), f"{label}: {entry.strip()[:60]}")
            hits = _named_units(chosen, blocks.strip(), elements.strip(), label)
            settings += [(selector, value) for selector in cover(chosen, hits)]
            if not hits:
                lost.append(f'"{entry.strip()[:60]}" names nothing in {chosen.label}.')
        return Reading(tuple(settings), tuple(lost), (note, f'The name of the preset is "{name.strip()[:60]}".'))

    def write(values: Sequence[float], chosen: Family, source: str) -> str:
        del source
        entries: dict[tuple[str, str], list[str]] = defaultdict(list)
        for block in BLOCK_NAMES:
            for element, value in _block_entries(chosen, block, values):
                entries[element, decimal_text(value)].append(block)
        # Later entries win, so that what names a whole block must stand before its pieces, whichever came up first.
        ordered = sorted(entries.items(), key=lambda entry: _ORDER[entry[0][0]])
        lines = [f"{' '.join(blocks)}:{element}:{value}" for (element, value), blocks in ordered]
        return "PATCHBAY:" + ",".join(lines or ["BASE::1"])

    return StrengthFormat(f"lbw.elements.{family_id}", label, note, example, family_id, read, write)


def _web_key(unit: Unit) -> tuple[str, str]:
    """Key of a layer as the web UI spells it, and the name of its block (empty where it has none)."""
    place = unit.place
    if not place.text_encoder:
        key = "diffusion_model_" + place.key.removeprefix("diffusion_model.").removesuffix(".weight").replace(".", "_")
        if place.block is None:
            return key, ""
        prefix = _CONTAINERS.get(place.block.kind)
        return key, f"{prefix}{place.block.index:02}" if prefix else "M00"
    if place.encoder == "clip_g":  # the web UI keeps the names of OpenCLIP
        inner = (
            place.inner.replace("self_attn.", "attn.").replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")
        )
        index = place.block.index if place.block else 0
        return f"1_model_transformer_resblocks_{index}_{inner.replace('.', '_')}", "BASE"
    return place.layer.removeprefix("clip_l.").replace(".", "_"), "BASE"


def _named_units(chosen: Family, blocks: str, elements: str, label: str) -> list[int]:
    block_not, block_words = _words(_expand(blocks, label))
    element_not, element_words = _words(elements)
    hits: list[int] = []
    for position, unit in enumerate(chosen.units):
        key, block = _web_key(unit)
        text = key + block
        if any(word in text for word in block_words) == block_not:
            continue
        if any(word in text for word in element_words) != element_not:
            hits.append(position)
    return hits


def _words(text: str) -> tuple[bool, list[str]]:
    words = text.split(" ")
    return (True, words[1:]) if words[0] == "NOT" else (False, words)


def _expand(blocks: str, label: str) -> str:
    """``IN05-IN07`` as ``IN05 IN06 IN07``."""
    words: list[str] = []
    for word in blocks.split(" "):
        first, dash, last = word.partition("-")
        if not dash:
            words.append(word)
            continue
        if first not in BLOCK_NAMES or last not in BLOCK_NAMES:
            raise BlockStrengthError(f'{label}: "{word[:40]}" is not a range of blocks such as IN05-OUT05.')
        start, end = sorted((BLOCK_NAMES.index(first), BLOCK_NAMES.index(last)))
        words += BLOCK_NAMES[start : end + 1]
    return " ".join(words)


def _block_entries(chosen: Family, block: str, values: Sequence[float]) -> list[tuple[str, float]]:
    """Elements and ratios that give the layers of one block their strengths, as far as elements can."""
    units = [i for i, unit in enumerate(chosen.units) if _web_key(unit)[1] == block]
    if not units:
        return []
    entries: list[tuple[str, float]] = []
    now = dict.fromkeys(units, 1.0)
    common = common_value(values, units)
    if common != 1.0:
        entries.append(("", common))
        now = dict.fromkeys(units, common)
    for element in _ELEMENTS:
        hits = [i for i in units if element in _web_key(chosen.units[i])[0] + block]
        wanted = {values[i] for i in hits}
        if len(wanted) == 1 and any(now[i] != values[i] for i in hits):
            value = wanted.pop()
            entries.append((element, value))
            now.update(dict.fromkeys(hits, value))
    return entries


def cover(chosen: Family, hits: Iterable[int]) -> list[str]:
    """Selectors that together name exactly these units: whole blocks where they can, else parts of them."""
    wanted = set(hits)
    blocks: dict[tuple[str, int], list[int]] = defaultdict(list)
    for position, unit in enumerate(chosen.units):
        blocks[_address(unit)].append(position)
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (kind, index), units in blocks.items():
        inside = [i for i in units if i in wanted]
        if len(inside) == len(units):
            found[kind, ""].append(index)
        elif inside:
            for part in _parts(chosen, units, set(inside)):
                found[kind, part].append(index)
    return [name for (kind, part), indices in found.items() for name in _selectors(kind, part, indices)]


def _address(unit: Unit) -> tuple[str, int]:
    place = unit.place
    kind = place.block.kind if place.block else OTHER
    if place.text_encoder:
        kind = f"te.{place.encoder}.{kind.rpartition('.')[2]}"
    return kind, place.block.index if place.block else -1


def _parts(chosen: Family, units: list[int], wanted: set[int]) -> list[str]:
    """Parts of a block that name the wanted units and no other, the widest first."""
    names = {part for i in wanted for part in chosen.units[i].place.parts if not part.replace(".", "").isdigit()}
    sets = {name: {i for i in units if name in chosen.units[i].place.parts} for name in names}
    fitting = sorted((n for n in names if sets[n] <= wanted), key=lambda n: (-len(sets[n]), len(n), n))
    chosen_parts: list[str] = []
    left = set(wanted)
    for name in fitting:
        if sets[name] & left:
            chosen_parts.append(name)
            left -= sets[name]
    return chosen_parts


def _selectors(kind: str, part: str, indices: list[int]) -> list[str]:
    tail = f".{part}" if part else ""
    if indices == [-1]:
        return [f"{kind}{tail}"]
    names: list[str] = []
    start = 0
    for i in range(1, len(indices) + 1):
        if i == len(indices) or indices[i] != indices[i - 1] + 1:
            first, last = indices[start], indices[i - 1]
            names.append(f"{kind}.{first}{tail}" if first == last else f"{kind}.{first}-{last}{tail}")
            start = i
    return names


def element_formats() -> list[StrengthFormat]:
    """The UNets: sd-webui-lora-block-weight has no elements of its own for other models."""
    return [_elements_format("sd"), _elements_format("sdxl")]

"""The labelled sheet: every picture unscaled under its headings, whatever the headings hold."""

from __future__ import annotations

import pytest
import torch
from pack.nodes.core.errors import PatchbayError
from pack.nodes.core.images import lettering
from pack.nodes.core.images.lettering import fit_middle, font_for, has_glyph
from pack.nodes.core.images.sheet import SheetCell, labelled_sheet
from PIL import ImageFont


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    values = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return values / 255.0


def find(sheet: torch.Tensor, wanted: torch.Tensor) -> tuple[int, int] | None:
    """Where a picture lies on a sheet, unscaled: row and column of its upper left corner."""
    height, width = wanted.shape[:2]
    target = wanted.mul(255).round()
    whole = sheet.mul(255).round()
    starts = (whole[: whole.shape[0] - height + 1, : whole.shape[1] - width + 1] == target[0, 0]).all(dim=-1).nonzero()
    for row, column in starts.tolist():
        if torch.equal(whole[row : row + height, column : column + width], target):
            return row, column
    return None


def test_every_picture_lies_unscaled_in_its_row_and_column():
    pictures = [[picture(20, 30, 10 * y + x) for x in range(3)] for y in range(2)]
    cells = [[SheetCell(each, ("MAE 0.1",)) for each in row] for row in pictures]
    sheet = labelled_sheet(cells, ["0.5", "0.75", "1"], ["epoch-1", "epoch-2"], "a title", ["a caption"])
    places = [[find(sheet, each) for each in row] for row in pictures]
    assert all(place is not None for row in places for place in row)
    for row in places:
        assert len({place[0] for place in row if place}) == 1
        assert [place[1] for place in row if place] == sorted(place[1] for place in row if place)
    assert sheet.dtype == torch.float32
    assert sheet.shape[2] == 3
    left, top = places[0][0][1], places[0][0][0]
    assert sheet[:top].min() < 0.5  # title and column headings
    assert sheet[top : top + 20, :left].min() < 0.5  # the heading of the first row


def test_a_sheet_without_headings_is_only_its_pictures():
    sheet = labelled_sheet([[SheetCell(picture(64, 64))]], [""], [""])
    assert sheet.shape[0] == 64 + 2 * 4
    assert sheet.shape[1] == 64 + 2 * 4


def test_a_marked_cell_has_a_frame_and_a_missing_picture_is_grey():
    cells = [[SheetCell(torch.zeros(32, 32, 3), marked=True), SheetCell(None)]]
    sheet = labelled_sheet(cells, ["a", "b"], [""])
    assert (sheet - torch.tensor([196, 88, 0]) / 255).abs().sum(dim=-1).min() < 0.01
    assert (sheet - torch.tensor([204, 204, 204]) / 255).abs().sum(dim=-1).min() < 0.01


def test_pictures_of_several_sizes_and_short_rows():
    cells = [[SheetCell(picture(16, 16, 1)), SheetCell(picture(24, 40, 2))], [SheetCell(picture(8, 8, 3))]]
    sheet = labelled_sheet(cells, ["a", "b"], ["1", "2"])
    assert all(find(sheet, each.picture) is not None for row in cells for each in row if each.picture is not None)


def test_a_sheet_beyond_the_limit_is_drawn_smaller():
    cells = [[SheetCell(picture(128, 128, x)) for x in range(4)] for _ in range(4)]
    heads = ["a", "b", "c", "d"]
    whole = labelled_sheet(cells, heads, heads)
    smaller = labelled_sheet(cells, heads, heads, most_pixels=100_000)
    assert smaller.shape[0] * smaller.shape[1] < 1.3 * 100_000 < whole.shape[0] * whole.shape[1]


@pytest.mark.parametrize(
    "name",
    [
        "style-\u6c34\u5f69\u753b-000040.safetensors" * 5,
        "\u65e5\u672c\u8a9e",
        "\U0001f600",
        "a\nb\tc\x00",
        "x" * 5000,
        "",
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 2), (40, 40)])
def test_no_heading_is_an_error(name, size):
    cells = [[SheetCell(torch.zeros(*size, 3), (name, name)), SheetCell(None, (name,), True)]]
    sheet = labelled_sheet(cells, [name, name], [name], name, [name])
    assert torch.isfinite(sheet).all()


def test_too_few_headings_are_named():
    with pytest.raises(PatchbayError, match="1 and 1 headings for 1 rows of at most 2 cells"):
        labelled_sheet([[SheetCell(), SheetCell()]], ["a"], ["b"])
    with pytest.raises(PatchbayError, match="expected a heading"):
        labelled_sheet([], [], [])


@pytest.mark.parametrize("width", [0, 20, 128])
def test_a_long_name_keeps_both_ends(width):
    font = ImageFont.load_default(12)
    text = fit_middle("klein-nano-duotone-style-000040", font, width)
    assert font.getlength(text) <= width
    if width == 128:
        assert text.startswith("klein")
        assert text.endswith("000040")
        assert "..." in text


def test_text_that_the_own_font_lacks_asks_for_a_font_of_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(lettering, "_font_of_machine", lambda name, size: asked.append(name))
    assert font_for("plain text", 14) is lettering.plain_font(14)
    assert not asked
    assert font_for("\u65e5\u672c", 14) is lettering.plain_font(14)
    assert asked


def test_a_font_of_the_machine_draws_what_pillows_own_lacks():
    wider = next((f for n in lettering._WIDER_FONTS if (f := lettering._font_of_machine(n, 14))), None)
    letter = next((c for c in "\u0416\u2603\u65e5" if wider and has_glyph(wider, c)), None)
    if wider is None or letter is None or has_glyph(lettering.plain_font(14), letter):
        pytest.skip("this machine has no font with more letters than Pillow's own")
    assert fit_middle(letter, font_for(letter, 14), 100) == letter

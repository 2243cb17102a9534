"""Contact sheets: what a model made of each family's photographs, to be looked at."""

import textwrap
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mgie.errors import DataError
from mgie.evaluation.tables import MODEL, Case
from mgie.images import save_image

INK, PAPER = (40, 40, 40), (255, 255, 255)
HEADINGS = ("photograph", "target", "edited")
_CELL, _GAP, _SIZE = 240, 8, 14
_Row = tuple[Case, tuple[Image.Image, ...]]


class ContactSheets:
    """Photograph, exact target and edit of a family's first records, with the words of each.

    Args:
        rows: number of records shown of a family.
    """

    def __init__(self, rows: int = 10) -> None:
        self.rows = rows
        self._shown: dict[str, list[_Row]] = defaultdict(list)

    def add(self, case: Case, photograph: Image.Image, target: Image.Image, edited: Image.Image) -> None:
        """Takes a record's pictures, unless its family has enough of them."""
        if len(shown := self._shown[case.family]) < self.rows:
            pictures = [picture.copy() for picture in (photograph, target, edited)]
            for picture in pictures:
                picture.thumbnail((_CELL, _CELL))
            shown.append((case, tuple(pictures)))

    def save(self, folder: Path) -> list[Path]:
        """Writes `FAMILY.jpg` for each family and returns the paths.

        Raises:
            DataError: the folder cannot be written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot write to {folder} ({error.strerror}); choose a folder that is writable"
            ) from error
        files = []
        for family, rows in sorted(self._shown.items()):
            files.append(folder / f"{family}.jpg")
            save_image(_sheet(rows), files[-1])
        return files


def _sheet(rows: list[_Row]) -> Image.Image:
    """Returns headings, then of each record the pictures side by side over the words."""
    pitch, line = _CELL + _GAP, 4 * int(1.25 * _SIZE)
    heights = [max(picture.height for picture in pictures) + line + _GAP for _, pictures in rows]
    sheet = Image.new("RGB", (len(HEADINGS) * pitch + _GAP, 2 * _SIZE + _GAP + sum(heights)), PAPER)
    for column, words in enumerate(HEADINGS):
        write(sheet, words, (_GAP + column * pitch, _GAP), _CELL, _SIZE)
    top = 2 * _SIZE + _GAP
    for (case, pictures), height in zip(rows, heights, strict=True):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (_GAP + column * pitch, top))
        success = case.figures[MODEL].get("success")
        landed = "" if success is None else " (landed)" if success else " (did not land)"
        below = top + max(picture.height for picture in pictures)
        below = write(sheet, f'"{case.instruction}"{landed}', (_GAP, below), sheet.width - 2 * _GAP, _SIZE)
        write(sheet, case.expressive_instruction, (_GAP, below), sheet.width - 2 * _GAP, _SIZE)
        top += height
    return sheet


def write(sheet: Image.Image, words: str, place: tuple[int, int], width: int, size: int) -> int:
    """Writes words on a picture and returns where the next line would begin.

    Args:
        sheet: is written on.
        words: broken into lines.
        place: left and top, in pixels.
        width: of a line at most, in pixels.
        size: of the letters, in pixels.
    """
    font = ImageFont.load_default(size)
    lines = textwrap.wrap(words, max(int(width / (0.5 * size)), 1))
    for number, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((place[0], place[1] + number * int(1.25 * size)), line, INK, font)
    return place[1] + len(lines) * int(1.25 * size)

"""Contact sheets: every family has one, with the pictures that it was given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.errors import DataError
from mgie.evaluation import Case, ContactSheets

RED, GREEN, BLUE = (220, 30, 30), (30, 180, 30), (30, 30, 220)


def case(family: str, success: float | None = 1.0) -> Case:
    figures = {"model": {"l1": 0.1} if success is None else {"l1": 0.1, "success": success}}
    return Case(
        id="0",
        family=family,
        kind="whole",
        instruction="make it " + family,
        expressive_instruction="All would change.",
        figures=figures,
    )


def pictures(size: tuple[int, int] = (300, 200)) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in (RED, GREEN, BLUE)]


def share(path: Path, colour: tuple[int, int, int]) -> float:
    """Returns the share of a sheet that has nearly this colour."""
    pixels = np.asarray(Image.open(path)).astype(int)
    return float((np.abs(pixels - colour).max(2) < 12).mean())


def test_a_sheet_for_each_family_shows_its_pictures_side_by_side(tmp_path: Path):
    sheets = ContactSheets(rows=2)
    for family in ("grey", "tint", "grey", "grey"):
        sheets.add(case(family), *pictures())
    files = sheets.save(tmp_path / "sheets")
    assert [file.name for file in files] == ["grey.jpg", "tint.jpg"]
    grey, tint = (Image.open(file) for file in files)
    assert grey.width == tint.width and tint.height < grey.height < 2 * tint.height + 1  # two rows, not three
    for file in files:
        shares = [share(file, colour) for colour in (RED, GREEN, BLUE)]
        assert min(shares) > 0.15 and max(shares) - min(shares) < 0.005
    row = np.asarray(tint).astype(int)[100]
    places = [np.flatnonzero(np.abs(row - colour).max(1) < 12).mean() for colour in (RED, GREEN, BLUE)]
    assert places == sorted(places)


def test_a_record_of_unknown_origin_has_no_verdict(tmp_path: Path):
    def ink(success: float | None) -> int:
        sheets = ContactSheets()
        sheets.add(case("other", success), *pictures())
        (file,) = sheets.save(tmp_path)
        return int((np.asarray(Image.open(file).convert("L")) < 90).sum())

    assert ink(None) < ink(1.0) < ink(0.0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to .*file"):
        ContactSheets().save(tmp_path / "file")

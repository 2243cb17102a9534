"""A dataset of made edits, small enough for the toy pipeline."""

from pathlib import Path

from mgie.data.photographs import read_photographs
from mgie.data.synth import synthesise
from tests.conftest import picture


def make_records(folder: Path, count: int = 5) -> Path:
    """Writes edits of three photographs, of different aspects, and returns their folder."""
    (folder / "photographs").mkdir()
    for i, size in enumerate([(48, 40), (64, 40), (40, 48)]):
        picture(*size).save(folder / "photographs" / f"{i}.png")
    photographs = read_photographs(folder / "photographs")
    list(synthesise(photographs, folder / "records", count, 0, families=["grey", "darker", "invert"]))
    return folder / "records"

"""A folder of photographs, with the names of what is to be seen on them where somebody wrote these down."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mgie.data.records import read_json_lines
from mgie.errors import DataError

logger = logging.getLogger(__name__)

PHOTOGRAPHS_FILE = "photographs.jsonl"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_FIELDS = frozenset({"image", "names", "captions", "regions", "composites", "unmarked", "split"})
_LISTS = {
    "regions": ("name", "path of the mask"),
    "composites": ("name", "path of the picture", "path of the mask"),
}


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A picture file and what is known about it."""

    path: Path
    names: tuple[str, ...] = ()
    """What is to be seen, most prominent first, as nouns without article: "building", "golden retriever"."""
    captions: tuple[str, ...] = ()
    regions: tuple[tuple[str, Path], ...] = ()
    """(name, mask file) of regions; white belongs to the region, the mask has the picture's size."""
    composites: tuple[tuple[str, Path, Path], ...] = ()
    """(name, picture, mask file): this photograph with another one's region of that name pasted in."""
    unmarked: bool = False
    """Whether more may be seen of what a region is called than its mask shows: the other trees."""
    split: str = "train"

    def load(self) -> Image.Image:
        """Returns the upright picture as RGB.

        Raises:
            DataError: if the file is not a picture that can be read.
        """
        return open_as(self.path, "RGB")


def open_as(path: Path, mode: str) -> Image.Image:
    """Returns the upright picture of a file in one of Pillow's modes.

    Raises:
        DataError: if the file is not a picture that can be read.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read the picture {path} ({reason}); mend or remove it") from error


def read_photographs(folder: str | Path) -> list[Photograph]:
    """Returns the photographs of a folder: the rows of its `photographs.jsonl`, or all pictures below it.

    A row has `image` (path relative to the folder) and, where known, `names`, `captions`, `regions` (pairs of
    a name and the path of a mask), `composites` (a name and the paths of a picture and a mask),
    `unmarked` and `split`.

    Raises:
        DataError: if the folder cannot be read, holds no picture, or a row is not as described.
    """
    folder = Path(folder)
    listing = folder / PHOTOGRAPHS_FILE
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; expected a folder with photographs in it")
        if listing.is_file():
            found = [
                _from_row(row, folder, f"{listing}:{number}") for number, row in read_json_lines(listing)
            ]
        else:
            found = [Photograph(path=path) for path in sorted(_pictures(folder))]
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder} ({error.strerror}); check its permissions"
        ) from error
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(
            f"no photographs in {folder}; expected picture files ({kinds}) or a {PHOTOGRAPHS_FILE}"
        )
    logger.info("%d photographs in %s", len(found), folder)
    return found


def _pictures(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _from_row(row: dict[str, Any], folder: Path, where: str) -> Photograph:
    if unknown := sorted(row.keys() - _FIELDS):
        raise DataError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    if not isinstance(row.get("image"), str):
        raise DataError(
            f"{where}: image is {row.get('image')!r}; expected the path of a picture, relative to {folder}"
        )
    for name in ("names", "captions"):
        if not _is_texts(row.get(name, [])):
            raise DataError(f"{where}: {name} is {row[name]!r:.60}; expected a list of texts")
    for name, form in _LISTS.items():
        items = row.get(name, [])
        if not isinstance(items, list) or not all(
            _is_texts(item) and len(item) == len(form) for item in items
        ):
            raise DataError(f"{where}: {name} is {items!r:.60}; expected a list of [{', '.join(form)}]")
    if not isinstance(row.get("unmarked", False), bool):
        raise DataError(f"{where}: unmarked is {row['unmarked']!r:.60}; expected true or false")
    if not isinstance(row.get("split", "train"), str):
        raise DataError(f"{where}: split is {row['split']!r}; expected a text such as train or test")
    return Photograph(
        path=folder / row["image"],
        names=tuple(row.get("names", ())),
        captions=tuple(row.get("captions", ())),
        regions=tuple((name, folder / mask) for name, mask in row.get("regions", ())),
        composites=tuple(
            (name, folder / image, folder / mask) for name, image, mask in row.get("composites", ())
        ),
        unmarked=row.get("unmarked", False),
        split=row.get("split", "train"),
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)

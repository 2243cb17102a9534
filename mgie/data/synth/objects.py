"""Small pictures of objects with transparency, by name: what edits put on photographs."""

import functools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from mgie.data.records import read_json_lines, write_json_lines
from mgie.data.synth.wording import Split
from mgie.errors import DataError

OBJECTS_FILE = "objects.jsonl"
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Objects:
    """A folder of objects: `objects.jsonl`, and a picture with transparency for each of its rows."""

    folder: Path
    files: dict[str, str]
    """Name to file, relative to the folder."""
    splits: dict[str, Split]
    """Name to "train" or "test"."""
    addable: tuple[str, ...] = ()
    """Names of those that edits may put where there was no such object; none given = all to train on. The
    others are there to be edited: a model can learn to move what it sees long before it can paint as much."""

    @classmethod
    def read(cls, folder: str | Path, addable: str | Path | None = None) -> "Objects":
        """Returns the objects of a folder; pictures are opened when they are needed.

        A row of `objects.jsonl` has `name` (a noun without article), `image` and `split` ("train" or "test").

        Args:
            folder: the objects.
            addable: another folder, of some of the same objects; only those that it has to train on may be
                put where there was no such object.

        Raises:
            DataError: if a file cannot be read, a row is not as described, a name comes twice, or the folders
                have nothing in common.
        """
        folder = Path(folder)
        files: dict[str, str] = {}
        splits: dict[str, Split] = {}
        for number, row in read_json_lines(folder / OBJECTS_FILE):
            name, image, split = (row.get(field) for field in ("name", "image", "split"))
            if not isinstance(name, str) or not isinstance(image, str) or split not in _SPLITS:
                raise DataError(
                    f"{folder / OBJECTS_FILE}:{number}: expected texts name, image and split (train or test)"
                )
            if name in files:
                raise DataError(f"{folder / OBJECTS_FILE}:{number}: {name!r} comes twice; expected one row")
            files[name], splits[name] = image, split
        if not files:
            raise DataError(f"{folder / OBJECTS_FILE} is empty; expected a row for each object")
        objects = cls(folder, files, splits)
        if addable is None:
            return objects
        names = set(cls.read(addable).names("train"))
        if not (common := tuple(name for name in objects.names("train") if name in names)):
            raise DataError(f"{addable} has no object to train on that {folder} has; expected some of them")
        return replace(objects, addable=common)

    def names(self, split: Split) -> tuple[str, ...]:
        """Returns the names of one split, in the file's order."""
        return _names(tuple(self.splits.items()), split)

    def picture(self, name: str) -> Image.Image:
        """Returns an object as RGBA, at its own size, without a transparent rim.

        Raises:
            DataError: if there is no such object, or its picture cannot be read.
        """
        if name not in self.files:
            raise DataError(
                f"no object {name!r} in {self.folder}; expected one of its {len(self.files)} names"
            )
        return _open(self.folder / self.files[name])

    def copy(self, folder: Path) -> None:
        """Writes the same objects into another folder, so that what was made with them can be checked.

        Raises:
            DataError: if that cannot be done.
        """
        try:
            for image in self.files.values():
                (folder / image).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.folder / image, folder / image)
        except OSError as error:
            raise DataError(f"cannot copy the objects of {self.folder} to {folder}: {error}") from error
        rows = (
            {"name": name, "image": self.files[name], "split": split} for name, split in self.splits.items()
        )
        write_json_lines(rows, folder / OBJECTS_FILE)


@functools.cache
def _names(splits: tuple[tuple[str, Split], ...], split: Split) -> tuple[str, ...]:
    return tuple(name for name, own in splits if own == split)


@functools.lru_cache(maxsize=4096)
def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            picture = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the object {file} ({error}); mend or remove it") from error
    box = picture.getchannel("A").getbbox()
    return picture.crop(box) if box else picture

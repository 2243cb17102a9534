"""The rows of a batch: a folder of pictures with one instruction, or a table in JSON Lines or CSV."""

import csv
import difflib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mgie.data.photographs import IMAGE_SUFFIXES
from mgie.data.records import read_json_lines
from mgie.errors import ConfigError, DataError
from mgie.prompts import checked_words

OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_MAX_NAME_BYTES = 200
"""Of an output's name; file systems end at 255, and a thumbnail's name is longer."""
_MAX_STEM = 50
"""Characters that an output's name takes from its picture's, each of up to 4 bytes."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What all rows of a batch share, named as the options of `mgie batch`."""

    model: str = "mgie-tiny"
    instruction: str | None = None
    """Of the rows that have none of their own."""
    seed: int = 0
    """Of the first row; a row without a seed of its own takes this plus its number."""
    batch_size: int = 4
    """Rows that are edited together; a result may differ by a grey level between batch sizes."""
    steps: int | None = None
    """Denoising steps of the rows that do not name theirs; None, as below, for the model's own."""
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    format: Literal["png", "jpg", "webp"] = "png"
    keep_unchanged: Literal["auto", "off"] = "auto"
    size: tuple[int, int] | None = None
    """(width, height) that the photographs are fitted into."""
    strip_metadata: bool = False
    note: bool = True
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One edit of a batch."""

    number: int
    """From 0 on."""
    image: str
    """Path, relative to the folder, or to the folder of the table."""
    instruction: str
    seed: int
    output: str
    """File name in the batch's folder."""
    id: str | None = None
    """The user's own name for the row."""
    expressive: str | None = None
    """Own words in place of the model's."""
    mask: str | None = None
    """Path, as `image`."""
    strength: float = 1.0
    steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None


def read_rows(source: str | Path, output: str | Path, settings: BatchSettings) -> list[Row]:
    """Returns the rows of a batch; no picture is opened.

    Args:
        source: a folder, of which all pictures below it are taken, in order of their paths, but not hidden
            ones nor those below `output`; or a .jsonl or .csv file with the columns `image`, `instruction`
            and, where wanted, the other fields of `Row` but `number`.
        output: the batch's folder.
        settings: instruction, seed and format of the rows that do not name their own.

    Raises:
        MGIEError: the source is none of these or holds no row, or a row is not as described; the message
            names the line.
    """
    source = Path(source)
    suffix = source.suffix.lower()
    if source.is_dir():
        if settings.instruction is None:
            raise ConfigError(f"{source} is a folder: say what to do with its pictures by --instruction")
        found = _pictures(source, Path(output))
    elif not source.exists():
        raise DataError(f"{source} does not exist; expected a folder of pictures, or a .jsonl or .csv file")
    elif suffix == ".jsonl":
        found = ((f"{source}:{number}", row) for number, row in read_json_lines(source))
    elif suffix == ".csv":
        found = _csv_rows(source)
    else:
        raise DataError(
            f"{source} has the suffix '{source.suffix}'; expected a folder of pictures, or a .jsonl or .csv "
            "file; for one picture there is mgie edit"
        )
    values = [(where, _values(row, where, settings)) for where, row in found]
    if not values:
        expected = f"pictures ({', '.join(sorted(IMAGE_SUFFIXES))})" if source.is_dir() else "a row"
        raise DataError(f"{source} holds nothing to edit; expected {expected}")
    width = max(4, len(str(len(values) - 1)))
    rows = []
    taken: dict[tuple[str, str], str] = {}
    for number, (where, row) in enumerate(values):
        row = {"seed": settings.seed + number, **row, "number": number}
        row["output"] = _output(row, f"{number:0{width}}", settings.format, where)
        for name, value in (("id", row.get("id")), ("output", row["output"].casefold())):
            if value is not None and (other := taken.setdefault((name, value), where)) != where:
                raise DataError(f"{where}: {name} '{row[name]}' is that of {other} too; make it unique")
        rows.append(Row(**row))
    return rows


def _pictures(folder: Path, output: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    own = output.resolve()
    if own == folder.resolve():
        raise ConfigError(
            f"--output is the folder of the pictures, {folder}; choose another, such as {folder / 'edited'}"
        )
    inside = folder.resolve() in own.parents
    try:
        paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise DataError(f"cannot read {folder} ({error.strerror}); check its permissions") from error
    for path in paths:
        if Path(path).suffix.lower() not in IMAGE_SUFFIXES or any(
            part.startswith(".") for part in path.split("/")
        ):
            continue
        if not inside or own not in (folder / path).resolve().parents:
            yield ascii(f"{folder}/{path}")[1:-1], {"image": path}


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields place and cells of each row; empty cells are left out."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            header = reader.fieldnames or []
            if repeated := {name for name in header if header.count(name) > 1}:
                raise DataError(f"{file}:1: column '{repeated.pop()}' is there twice; leave one out")
            for row in reader:
                where = f"{file}:{reader.line_num}"
                if None in row:
                    raise DataError(
                        f"{where}: more cells than the {len(header)} columns; put text with commas in quotes"
                    )
                yield where, {name: cell for name, cell in row.items() if cell and cell.strip()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {file} ({error}); expected a CSV table in UTF-8") from error


def _values(row: dict[str, Any], where: str, settings: BatchSettings) -> dict[str, Any]:
    """Returns the values of a row that are given, each of its type."""
    for name in row:
        if name not in _COLUMNS:
            near = difflib.get_close_matches(name, _COLUMNS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"columns are {', '.join(_COLUMNS)}"
            raise DataError(f"{where}: unknown column {name!r}; {hint}")
    given = {name: value for name, value in row.items() if value is not None}
    if settings.instruction is not None:
        given = {"instruction": settings.instruction} | given
    for name, otherwise in (("image", ""), ("instruction", ", or give one for all rows by --instruction")):
        if name not in given:
            raise DataError(f"{where}: the row has no {name}; add it{otherwise}")
    values = {}
    for name, value in given.items():
        convert, expected = _COLUMNS[name]
        try:
            values[name] = convert(value)
        except ConfigError as error:
            raise DataError(f"{where}: {error}") from error
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{where}: {name} is {value!a:.60}; expected {expected}") from None
    return values


def _output(row: dict[str, Any], number: str, kind: str, where: str) -> str:
    """Returns the file name of a row's result: its own, or one of its number and its picture's name."""
    if "output" not in row:
        stem = re.sub(r"[^\w.-]+", "_", Path(row["image"]).stem)[:_MAX_STEM]
        return f"{number}-{stem}.{kind}"
    name = row["output"]
    name = name if Path(name).suffix else f"{name}.{kind}"
    if Path(name).suffix.lower() not in OUTPUT_SUFFIXES:
        raise DataError(f"{where}: output '{name}' needs one of the suffixes {', '.join(OUTPUT_SUFFIXES)}")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    value.encode()  # half a character, as file names may hold, cannot be written into the results
    return value


def _words(name: str, value: Any) -> str:
    """Returns an instruction or the like; it may have several lines."""
    if not isinstance(value, str):
        raise ValueError
    value.encode()
    return checked_words(value, name)


def _name(value: Any) -> str:
    if _text(value).startswith(".") or re.search(r'[/\\:*?"<>|\x00-\x1f]', value):
        raise ValueError
    if len(value.encode()) > _MAX_NAME_BYTES:
        raise ValueError
    return value


def _whole(least: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not least <= int(value) < 2**63:
        raise ValueError
    return int(value)


def _real(most: float, value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)) or not 0 <= float(value) <= most:
        raise ValueError
    return float(value)


_COLUMNS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "image": (_text, "the path of a picture, relative to the table"),
    "instruction": (partial(_words, "instruction"), "a text"),
    "id": (lambda value: _text(str(value) if type(value) is int else value), "a text"),
    "seed": (partial(_whole, 0), "a whole number from 0 on"),
    "expressive": (partial(_words, "expressive instruction"), "a text"),
    "mask": (_text, "the path of a picture, relative to the table"),
    "strength": (partial(_real, 1.0), "a number from 0 to 1"),
    "steps": (partial(_whole, 1), "a whole number from 1 on"),
    "guidance_scale": (partial(_real, math.inf), "a number from 0 on"),
    "image_guidance_scale": (partial(_real, math.inf), "a number from 0 on"),
    "output": (_name, "a short file name without folder"),
}
"""How each column's value, a JSON value or the text of a cell, becomes that of `Row`; what is expected."""

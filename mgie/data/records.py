"""The one schema of all data: JSON Lines beside a folder of pictures, read strictly and written whole."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mgie.errors import DataError

TASKS = ("edit", "compose", "generate", "understand")
RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a dataset. Paths are relative to the folder that the JSON Lines file stands in."""

    id: str
    """Unique in the set."""
    task: str
    """One of `TASKS`; several input images with one target is "compose"."""
    images: tuple[str, ...]
    """Input images in the order that the text names them; may be empty."""
    target: str | None
    """The image to learn."""
    instruction: str
    """What the user says; ``<image>`` marks where an input image stands."""
    expressive: str | None = None
    """The expressive instruction, when known."""
    mask: str | None = None
    """White = may change."""
    media: tuple[dict[str, Any], ...] = ()
    """Audio, video and precomputed embeddings: type, path, caption, embedding."""
    response: str | None = None
    """The answer in words, for "understand" rows."""
    group: dict[str, Any] | None = None
    """Turns of one session: id and turn."""
    split: str | None = None
    """train, validation or test."""
    source: str = ""
    """Dataset and row that it came from."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Anything else: family and parameters of a made edit, who wrote `expressive`."""


def read_records(path: str | Path) -> list[Record]:
    """Returns the records of a dataset.

    Args:
        path: a JSON Lines file, or a folder that holds `records.jsonl`.

    Raises:
        DataError: if there is no such file, or a line is not a record; the message names the line.
    """
    file = _file_of(path)
    records: list[Record] = []
    line_of: dict[str, int] = {}
    for number, row in read_json_lines(file):
        record = _as_record(row, f"{file}:{number}")
        if record.id in line_of:
            raise DataError(
                f"{file}:{number}: id {record.id!r} is in line {line_of[record.id]} too; make ids unique"
            )
        line_of[record.id] = number
        records.append(record)
    return records


def read_pairs(path: str | Path) -> list[Record]:
    """Returns the records that are edits of one picture with a target; their files are there.

    Args:
        path: as in `read_records`.

    Raises:
        DataError: as there; or a record has no instruction, or names a file that does not exist.
    """
    folder = folder_of(path)
    pairs = [row for row in read_records(path) if row.task == "edit" and row.target and len(row.images) == 1]
    for row in pairs:
        if not row.instruction.strip():
            raise DataError(f"record {row.id!r} of {path} has an empty instruction; say what the edit is")
        for name in (row.images[0], row.target, row.mask):
            if name is not None and not (folder / name).is_file():
                raise DataError(f"record {row.id!r} of {path} names {name}, which is not there; add the file")
    return pairs


def folder_of(path: str | Path) -> Path:
    """Returns the folder that the paths in a dataset's records start from; `path` as in `read_records`."""
    return _file_of(path).parent


def write_records(records: Iterable[Record], path: str | Path) -> Path:
    """Writes records, the whole file or none of it, and returns the file's path.

    Args:
        records: what to write, in order.
        path: a JSON Lines file, or an existing folder, where it is called `records.jsonl`.

    Raises:
        DataError: if the file cannot be written.
    """
    file = _file_of(path)
    write_json_lines((dataclasses.asdict(record) for record in records), file)
    return file


def read_json_lines(file: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object) of a JSON Lines file, leaving out empty lines.

    Raises:
        DataError: if the file cannot be read or a line is not a JSON object.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _as_object(line, f"{file}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file} ({error}); expected a JSON Lines file in UTF-8") from error


def write_json_lines(rows: Iterable[dict[str, Any]], file: Path) -> None:
    """Writes objects as JSON Lines under a temporary name first, so that `file` is whole or as it was before.

    Raises:
        DataError: if the file cannot be written.
    """
    temporary: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, prefix=f".{file.name}.", encoding="utf-8", delete=False
        ) as out:
            temporary = Path(out.name)
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
        temporary = None
    except OSError as error:
        raise DataError(
            f"cannot write {file} ({error}); choose a folder that is writable and has room"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _file_of(path: str | Path) -> Path:
    file = Path(path)
    return file / RECORDS_FILE if file.is_dir() else file


def _as_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); expected one object on each line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a JSON {type(row).__name__} came; expected one object on each line")
    return row


def _as_record(row: dict[str, Any], where: str) -> Record:
    if unknown := sorted(row.keys() - _FORMS.keys()):
        raise DataError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(_FORMS)}")
    if missing := sorted(_REQUIRED - row.keys()):
        raise DataError(
            f"{where}: field {missing[0]!r} is missing; needed are {', '.join(sorted(_REQUIRED))}"
        )
    for name, value in row.items():
        fits, expected = _FORMS[name]
        if not fits(value):
            raise DataError(f"{where}: field {name!r} is {value!r:.60}; expected {expected}")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in row.items()}
    return Record(**values)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_text, "a text"),
    "task": (lambda value: value in TASKS, f"one of {', '.join(TASKS)}"),
    "images": (partial(_is_list_of, str), "a list of paths"),
    "target": (_is_text_or_null, "a path or null"),
    "instruction": (_is_text, "a text"),
    "expressive": (_is_text_or_null, "a text or null"),
    "mask": (_is_text_or_null, "a path or null"),
    "media": (partial(_is_list_of, dict), "a list of objects"),
    "response": (_is_text_or_null, "a text or null"),
    "group": (
        lambda value: value is None or (isinstance(value, dict) and value.keys() == {"id", "turn"}),
        "an object with id and turn, or null",
    ),
    "split": (_is_text_or_null, "a text or null"),
    "source": (_is_text, "a text"),
    "meta": (lambda value: isinstance(value, dict), "an object"),
}
"""What each field of a JSON row must be, as a test and in words; the fields of `Record`, in order."""

_REQUIRED = frozenset({"id", "task", "images", "target", "instruction"})

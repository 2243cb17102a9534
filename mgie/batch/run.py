"""A batch at work: fixed chunks of rows, each result on disk before its line in the results table."""

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from PIL import Image

from mgie.batch.rows import BatchSettings, Row, read_rows
from mgie.batch.sheet import THUMBS, contact_sheet, thumb_names
from mgie.errors import ConfigError, DataError, MGIEError
from mgie.files import is_partial, write_whole
from mgie.images import Edit, Photo, encode_image, open_mask, open_photo

if TYPE_CHECKING:
    from mgie.pipeline import MGIEPipeline

logger = logging.getLogger(__name__)

SETTINGS_FILE = "batch.json"
RESULTS_FILE = "results.jsonl"
SHEET_FILE = "index.html"
_RESULTS_FILES = re.compile(r"results(\.\d+)?\.jsonl")
_THUMB_SIDE = 320
"""Longest side of a thumbnail, in pixels."""


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """What became of a row: a line of `results.jsonl`. It holds no time, so that runs can be compared."""

    row: int
    id: str | None
    image: str
    instruction: str
    status: Literal["ok", "failed"]
    output: str | None = None
    """File name in the batch's folder; None where the row failed."""
    seed: int
    expressive_instruction: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A row with its pictures."""

    row: Row
    photo: Photo
    mask: Image.Image | None


@dataclass(frozen=True, kw_only=True)
class _Edited:
    """An edit, encoded, and the small pictures for the contact sheet."""

    expressive_instruction: str
    file: bytes
    before: bytes
    after: bytes


class Batch:
    """Rows to edit, and the folder where the results gather.

    The rows fall into chunks of `batch_size` by their numbers alone, and a chunk is edited whole even where
    some of its results are there already: what is edited together changes results by a grey level, so only
    thus are the files those of an uninterrupted run.

    Args:
        source: folder or table, see `read_rows`.
        folder: where the results go.
        settings: what the rows share.
        process: number of this process among those that share the work.
        num_processes: their count; each takes every so-many-th chunk, and the results do not depend on it.

    Raises:
        MGIEError: as `read_rows`; nothing is written then.
    """

    def __init__(
        self,
        source: str | Path,
        folder: str | Path,
        settings: BatchSettings,
        *,
        process: int = 0,
        num_processes: int = 1,
    ) -> None:
        source = Path(source)
        self.source_folder = source if source.is_dir() else source.parent
        self.folder, self.settings = Path(folder), settings
        self.rows = read_rows(source, folder, settings)
        size = settings.batch_size
        chunks = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        self.process = process
        self.chunks = chunks[process::num_processes]
        """This process's share."""

    def start(self) -> None:
        """Takes the folder for this batch; one process does so, before the others go on.

        Raises:
            MGIEError: it holds results of other rows or settings or somebody else's files under the names of
                the results, or cannot be written to.
        """
        rows = json.dumps([asdict(row) for row in self.rows]).encode()
        mine = asdict(self.settings) | {"rows": len(self.rows), "sha256": hashlib.sha256(rows).hexdigest()}
        text = json.dumps(mine, indent=1) + "\n"
        file = self.folder / SETTINGS_FILE
        if not file.exists():
            names = (RESULTS_FILE, SHEET_FILE, THUMBS, *(row.output for row in self.rows))
            if found := [name for name in names if (self.folder / name).exists()]:
                raise ConfigError(
                    f"{self.folder / found[0]} is there already and not of a batch; choose another --output"
                )
        elif any(result.status == "ok" for result in self.results().values()):  # else nothing would be lost
            _compare(file, json.loads(text))
        with _writing(self.folder):
            (self.folder / THUMBS).mkdir(parents=True, exist_ok=True)
            write_whole(file, text.encode())

    def results(self) -> dict[int, RowResult]:
        """Returns what is known of the rows so far, by their numbers; lines that a kill has torn are not.

        A row whose picture is gone counts as not yet edited.
        """
        found: dict[int, RowResult] = {}
        for file in self._results_files():
            for line in file.read_bytes().splitlines():
                try:
                    result = RowResult(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                if result.output is not None and not (self.folder / result.output).is_file():
                    continue
                if result.row not in found or found[result.row].status == "failed":
                    found[result.row] = result
        return found

    def remaining(self) -> list[Row]:
        """Returns the rows of this process's share that have no result yet, or failed."""
        known = self.results()
        done = {number for number, result in known.items() if result.status == "ok"}
        return [row for chunk in self.chunks for row in chunk if row.number not in done]

    def run(self, pipeline: "MGIEPipeline") -> Iterator[RowResult]:
        """Edits the remaining rows, and yields what became of each of them once that is on disk.

        Args:
            pipeline: the model that the settings name.

        Raises:
            DataError: a result cannot be written.
        """
        remaining = {row.number for row in self.remaining()}
        name = f"results.{self.process}.jsonl" if self.process else RESULTS_FILE
        with _writing(self.folder):
            table = _open_to_append(self.folder / name)
        with table:
            for chunk in self.chunks:
                if remaining.isdisjoint(row.number for row in chunk):
                    continue
                for row, made in self._edit_chunk(pipeline, chunk, remaining):
                    result = self._result(row, made)
                    with _writing(self.folder):
                        if isinstance(made, _Edited):
                            self._write(row, made)
                        # One unbuffered write: the line is there, or a piece that `results` leaves out.
                        table.write(_line(result))
                    yield result

    def finish(self) -> list[RowResult]:
        """Writes the results table in order and the contact sheet, and returns the results of all rows.

        One process does so, after all have run.

        Raises:
            DataError: they cannot be written.
        """
        known = self.results()
        results = [
            known.get(row.number) or self._result(row, "its result is gone: start the batch again")
            for row in self.rows
        ]
        with _writing(self.folder):
            write_whole(self.folder / RESULTS_FILE, b"".join(map(_line, results)))
            write_whole(self.folder / SHEET_FILE, contact_sheet(results, self.settings.model).encode())
            leftovers = [file for file in self._results_files() if file.name != RESULTS_FILE]
            for folder in (self.folder, self.folder / THUMBS):
                leftovers += [file for file in folder.iterdir() if is_partial(file)]
            for file in leftovers:
                file.unlink()
        return results

    def _results_files(self) -> list[Path]:
        """Returns the results tables: that of the batch, and those of processes that were interrupted."""
        if not self.folder.is_dir():
            return []
        return sorted(file for file in self.folder.iterdir() if _RESULTS_FILES.fullmatch(file.name))

    def _result(self, row: Row, made: "_Edited | str") -> RowResult:
        common: dict[str, Any] = {name: getattr(row, name) for name in ("id", "image", "instruction", "seed")}
        if isinstance(made, str):
            return RowResult(row=row.number, status="failed", error=made, **common)
        words = made.expressive_instruction
        return RowResult(
            row=row.number, status="ok", output=row.output, expressive_instruction=words, **common
        )

    def _write(self, row: Row, made: _Edited) -> None:
        before, after = thumb_names(row.output)
        write_whole(self.folder / before, made.before)
        write_whole(self.folder / after, made.after)
        write_whole(self.folder / row.output, made.file)

    # one chunk

    def _edit_chunk(
        self, pipeline: "MGIEPipeline", chunk: Sequence[Row], wanted: set[int]
    ) -> Iterator[tuple[Row, _Edited | str]]:
        """Yields the wanted rows of a chunk, each with its edit or the reason why there is none."""
        groups: dict[tuple[Any, ...], list[_Opened]] = {}
        for row in chunk:
            try:
                opened = self._open(row)
            except MGIEError as error:
                if row.number in wanted:
                    yield row, str(error)
                continue
            # What one call of the pipeline has only one of.
            alike = (row.steps, row.guidance_scale, row.image_guidance_scale, row.expressive is None)
            groups.setdefault(alike, []).append(opened)
        for group in groups.values():
            if wanted.isdisjoint(opened.row.number for opened in group):
                continue
            for opened, edit in zip(group, self._edit(pipeline, group), strict=True):
                if opened.row.number in wanted:
                    yield opened.row, edit if isinstance(edit, str) else self._encode(opened, *edit)

    def _open(self, row: Row) -> _Opened:
        """Returns a row with its pictures.

        Raises:
            MGIEError: they cannot be read, or do not fit together.
        """
        photo = open_photo(self.source_folder / row.image)
        if self.settings.size is not None:
            photo = photo.resized(*self.settings.size)
        mask = None if row.mask is None else open_mask(self.source_folder / row.mask, photo.image.size)
        return _Opened(row=row, photo=photo, mask=mask)

    def _edit(
        self, pipeline: "MGIEPipeline", group: Sequence[_Opened]
    ) -> list[tuple[str, Image.Image] | str]:
        """Returns each row's words and edit, or why there are none: a failure is one row's alone."""
        try:
            return self._edit_together(pipeline, group)
        except Exception as error:  # a night's work does not end with whatever one row makes a library raise
            if len(group) == 1:
                return [_reason(error, group[0].row)]
        return [edit for opened in group for edit in self._edit(pipeline, [opened])]

    def _edit_together(
        self, pipeline: "MGIEPipeline", group: Sequence[_Opened]
    ) -> list[tuple[str, Image.Image] | str]:
        import torch  # not before it is needed: a mistake in a table is told at once

        rows, settings = [opened.row for opened in group], self.settings
        photos = [opened.photo.image for opened in group]
        own_words = [row.expressive for row in rows if row.expressive is not None]
        imagination = pipeline.encode_instruction(
            photos, [row.instruction for row in rows], own_words or None
        )
        output = pipeline(
            photos,
            imagination=imagination,
            generator=[torch.Generator().manual_seed(row.seed) for row in rows],
            num_inference_steps=rows[0].steps or settings.steps,
            guidance_scale=_first(rows[0].guidance_scale, settings.guidance_scale),
            image_guidance_scale=_first(rows[0].image_guidance_scale, settings.image_guidance_scale),
            mask=[opened.mask for opened in group],
            strength=[row.strength for row in rows],
            keep_unchanged=settings.keep_unchanged == "auto",
        )
        return list(zip(output.expressive_instructions, output.images, strict=True))

    def _encode(self, opened: _Opened, words: str, image: Image.Image) -> _Edited | str:
        """Returns an edit as its files' bytes, or why that cannot be, such as a format's limits."""
        row, photo, settings = opened.row, opened.photo, self.settings
        edit = Edit(
            model=settings.model, instruction=row.instruction, expressive_instruction=words, seed=row.seed
        )
        try:
            result, metadata = photo.result(
                image, [edit] if settings.note else [], strip_metadata=settings.strip_metadata
            )
            return _Edited(
                expressive_instruction=words,
                file=encode_image(result, Path(row.output).suffix, metadata),
                before=_thumb(photo.image),
                after=_thumb(image),
            )
        except Exception as error:  # as encoders do
            return _reason(error, row)


def _reason(error: Exception, row: Row) -> str:
    """Returns in one line why a row failed."""
    logger.debug("row %d failed", row.number, exc_info=error)
    said = str(error) if isinstance(error, MGIEError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())


def _first(own: float | None, shared: float | None) -> float | None:
    return shared if own is None else own


def _thumb(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((_THUMB_SIDE, _THUMB_SIDE))
    return encode_image(small, ".jpg")


def _compare(file: Path, mine: dict[str, Any]) -> None:
    """Refuses to go on with a batch of other settings or rows."""
    try:
        known = json.loads(file.read_bytes())
        changed = [name for name in mine if known[name] != mine[name]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{file} is not of a batch of this version; choose another --output") from error
    if not changed:
        return
    (name, *_), was = changed, known[changed[0]]
    if name in ("rows", "sha256"):
        what = f"of {was} other rows" if name == "rows" else "whose rows were others"
    else:
        what = f"with --{name.replace('_', '-')} {json.dumps(was)}, not {json.dumps(mine[name])}"
    raise ConfigError(
        f"{file.parent} holds a batch {what}; give the same command to go on with it, "
        "or choose another --output"
    )


def _line(result: RowResult) -> bytes:
    return json.dumps(asdict(result), ensure_ascii=False).encode() + b"\n"


def _open_to_append(file: Path) -> BinaryIO:
    """Returns a results table at its end, where a line that a kill has torn is closed."""
    table = file.open("ab+", buffering=0)
    if table.tell():
        table.seek(-1, os.SEEK_END)
        if table.read(1) != b"\n":
            table.write(b"\n")
    return table


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write into {folder} ({error.strerror}); mend that and give the same command to go on"
        ) from error

"""Made edits as files: a dataset folder that anybody can train on."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mgie.data.photographs import Photograph
from mgie.data.records import Record, write_records
from mgie.data.synth.edit import FAMILIES, MadeEdit, make_edit
from mgie.data.synth.family import Pixels
from mgie.data.synth.requests import Requests
from mgie.data.synth.wording import Split
from mgie.errors import DataError

logger = logging.getLogger(__name__)

_MAX_TRIES = 50


def synthesise(
    photographs: Sequence[Photograph],
    out: str | Path,
    count: int,
    seed: int,
    *,
    families: Sequence[str] | None = None,
    wording_split: Split = "train",
    requests: Requests | None = None,
) -> Iterator[Record]:
    """Writes a dataset of made edits and yields each record once its pictures are written.

    The families take turns. An edit that does not show on a photograph (grey on a grey one) is drawn again on
    another one. `records.jsonl` is written after the last record: use the iterator up, and a folder that has
    it is complete.

    Args:
        photographs: sources; each record's split is its photograph's.
        out: folder to write to, made if need be; `images/` holds the pictures, at the photographs' own size.
        count: number of records.
        seed: the same seed gives the same dataset.
        families: names of the families; None for all.
        wording_split: "test" uses only instruction wordings that "train" never uses.
        requests: real people's requests, used for a quarter of the instructions.

    Raises:
        DataError: if there are no photographs, a family is unknown, an edit shows on none of the photographs
            tried, or `out` cannot be written.
    """
    out, names = Path(out), tuple(families or FAMILIES)
    if not photographs:
        raise DataError("no photographs came; expected at least one to edit")
    rng = np.random.default_rng(seed)
    records = []
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
        for index in range(count):
            photograph, pixels, edit, target = _visible_edit(
                photographs, rng, names[index % len(names)], wording_split, requests
            )
            source_path, target_path = f"images/{index:06d}.source.png", f"images/{index:06d}.target.png"
            _save(pixels, out / source_path)
            _save(target, out / target_path)
            record = Record(
                id=f"{index:06d}",
                task="edit",
                images=(source_path,),
                target=target_path,
                instruction=edit.instruction,
                expressive=edit.expressive,
                split=photograph.split,
                source=photograph.path.name,
                meta=edit.meta,
            )
            records.append(record)
            yield record
    except OSError as error:
        raise DataError(
            f"cannot write to {out} ({error}); choose a folder that is writable and has room"
        ) from error
    write_records(records, out)


def _visible_edit(
    photographs: Sequence[Photograph],
    rng: np.random.Generator,
    family: str,
    wording_split: Split,
    requests: Requests | None,
) -> tuple[Photograph, Pixels, MadeEdit, Pixels]:
    for _ in range(_MAX_TRIES):
        photograph = photographs[int(rng.integers(len(photographs)))]
        pixels = photograph.load().astype(np.float32) / 255
        edit = make_edit(photograph, rng, families=(family,), wording_split=wording_split, requests=requests)
        target = edit.apply(pixels)
        if edit.check(pixels, target):
            return photograph, pixels, edit, target
        logger.debug("%s does not show on %s", family, photograph.path)
    raise DataError(f"{family} showed on none of {_MAX_TRIES} photographs tried; use more varied photographs")


def _save(pixels: Pixels, path: Path) -> None:
    Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(path)

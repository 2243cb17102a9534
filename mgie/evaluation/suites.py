"""The table suite: edits held-out records and measures them against their exact targets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mgie.data.records import Record, folder_of, read_pairs
from mgie.data.synth import FAMILIES, Made, MadeEdit, Objects, Pixels, as_picture, as_pixels
from mgie.data.synth.dataset import OBJECTS_FOLDER
from mgie.errors import DataError
from mgie.evaluation.metrics import Metrics
from mgie.evaluation.sheets import ContactSheets
from mgie.evaluation.tables import AUTOENCODER, BARE, COPY, MODEL, Case
from mgie.images import Rearrangement, open_image, open_mask, resize, return_to_native
from mgie.pipeline import MGIEPipeline

Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""


@dataclass(frozen=True)
class _Pair:
    """A record with its pictures."""

    record: Record
    source: Image.Image
    target: Image.Image
    mask: Image.Image | None
    objects: Objects | None

    def made(self, size: tuple[int, int] | None = None) -> Made:
        """Returns the edit at its own size or another one."""
        source, target = (resize(p, size) if size else p for p in (self.source, self.target))
        mask = self.mask.resize(size or self.mask.size) if self.mask else None
        return Made(
            source=as_pixels(source),
            target=as_pixels(target),
            mask=np.asarray(mask) > 127 if mask else None,
            objects=self.objects,
        )


def evaluate(
    pipeline: MGIEPipeline,
    data: str | Path,
    *,
    metrics: Metrics | None = None,
    batch_size: int = 8,
    seed: int = 0,
    limit: int | None = None,
    expressive: bool = False,
    sheets: ContactSheets | None = None,
    progress: Progress | None = None,
) -> list[Case]:
    """Returns the figures of each edit record of a dataset; each is edited once.

    Args:
        pipeline: the model.
        data: folder with `records.jsonl`, or such a file; made edits are checked for success too.
        metrics: what to measure; None is L1 and SSIM.
        batch_size: number of edits at one time.
        seed: record i is edited with seed + i, whatever the batch size and the limit.
        limit: take only so many records, the first ones.
        expressive: whether the records' expressive instructions take the place of the model's own, which
            shows what is lost by the model's words and what by its painting.
        sheets: is given the pictures of each record.
        progress: see `Progress`; a step is one record.

    Raises:
        MGIEError: if the dataset has no edit records, or one of them cannot be read or lacks the expressive
            instruction that is asked for.
    """
    metrics = metrics or Metrics()
    records, folder = edit_records(data)[:limit], folder_of(data)
    objects = Objects.read(folder / OBJECTS_FOLDER) if (folder / OBJECTS_FOLDER).is_dir() else None
    if expressive and (lacking := [record.id for record in records if not record.expressive]):
        raise DataError(f"record {lacking[0]} of {data} has no expressive instruction; expected one in each")
    cases: list[Case] = []
    for start in range(0, len(records), batch_size):
        pairs = [_open(record, folder, objects) for record in records[start : start + batch_size]]
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(pairs))]
        output: Any = pipeline(
            [pair.source for pair in pairs],
            [pair.record.instruction for pair in pairs],
            expressive_instruction=[str(pair.record.expressive) for pair in pairs] if expressive else None,
            generator=generators,
            keep_native=False,
            output_type="np",
        )
        results = zip(output.images, output.rearrangements, output.expressive_instructions, strict=True)
        for pair, result in zip(pairs, results, strict=True):
            case, native = _case(pipeline, pair, *result, metrics)
            cases.append(case)
            if sheets is not None:
                sheets.add(case, pair.source, pair.target, as_picture(native))
        if progress is not None:
            progress(len(cases), len(records))
    return cases


def edit_records(data: str | Path) -> list[Record]:
    """Returns the records of a dataset that are edits of one picture with a target.

    Raises:
        DataError: if there are none, a file of one is missing, or its `meta` names no edit that can be made.
    """
    edits = read_pairs(data)
    if not edits:
        raise DataError(
            f"{data} has no edit records with one image and a target; expected what `mgie data synth` writes"
        )
    for record in edits:
        if "family" in record.meta:
            try:
                MadeEdit.from_meta(record.meta)
            except DataError as error:
                raise DataError(f"record {record.id!r} of {data}: {error}") from error
    return edits


def _autoencoded(pipeline: MGIEPipeline, picture: Image.Image) -> Pixels:
    """Returns a picture as (h, w, 3) in [0, 1] after the autoencoder, which must take its sides."""
    return pipeline.encode_image(picture, picture.height, picture.width).decoded


def _open(record: Record, folder: Path, objects: Objects | None) -> _Pair:
    assert record.target is not None
    source, target = (open_image(folder / path) for path in (record.images[0], record.target))
    if source.size != target.size:
        raise DataError(
            f"record {record.id}: source {source.size} and target {target.size} differ; make them equal"
        )
    mask = open_mask(folder / record.mask, source.size) if record.mask else None
    return _Pair(record, source, target, mask, objects)


def _case(
    pipeline: MGIEPipeline,
    pair: _Pair,
    bare: Pixels,
    rearrangement: Rearrangement | None,
    words: str,
    metrics: Metrics,
) -> tuple[Case, Pixels]:
    """Returns the figures of one edit from its bare decoded picture, and that picture after the way back."""
    record, size = pair.record, (bare.shape[1], bare.shape[0])
    small, own = pair.made(size), pair.made()
    before, after = (_autoencoded(pipeline, as_picture(pixels)) for pixels in (small.source, small.target))
    native = as_pixels(return_to_native(pair.source, before, bare, rearrangement=rearrangement))
    perfect = as_pixels(return_to_native(pair.source, before, after))
    rows = {MODEL: (own, native), BARE: (small, bare), COPY: (own, own.source), AUTOENCODER: (own, perfect)}
    edit = MadeEdit.from_meta(record.meta) if "family" in record.meta else None
    figures = {}
    for row, (made, edited) in rows.items():
        figures[row] = metrics.measure(edited, made.target, record.expressive or record.instruction)
        if edit is not None:
            figures[row]["success"] = float(edit.check(made, edited))
    case = Case(
        id=record.id,
        family=edit.family if edit else "other",
        kind=FAMILIES[edit.family].kind if edit else "other",
        instruction=record.instruction,
        expressive_instruction=words,
        figures=figures,
    )
    return case, native

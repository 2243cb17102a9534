"""The table suite: edits held-out records and measures them against their exact targets."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mgie.data.records import Record, folder_of, read_records
from mgie.data.synth import MadeEdit, Pixels
from mgie.errors import DataError
from mgie.evaluation.metrics import Metrics
from mgie.evaluation.tables import AUTOENCODER, BARE, COPY, MODEL, Case
from mgie.images import open_image, resize, return_to_native
from mgie.pipeline import MGIEPipeline

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""
Pair = tuple[Record, Image.Image, Image.Image]
"""A record with its source and its target."""


def evaluate(
    pipeline: MGIEPipeline,
    data: str | Path,
    *,
    metrics: Metrics | None = None,
    batch_size: int = 8,
    seed: int = 0,
    limit: int | None = None,
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
        progress: see `Progress`; a step is one record.

    Raises:
        MGIEError: if the dataset has no edit records, or one of them cannot be read.
    """
    metrics = metrics or Metrics()
    records = edit_records(data)[:limit]
    cases: list[Case] = []
    for start in range(0, len(records), batch_size):
        pairs = [_open(record, folder_of(data)) for record in records[start : start + batch_size]]
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(pairs))]
        output: Any = pipeline(
            [source for _, source, _ in pairs],
            [record.instruction for record, _, _ in pairs],
            generator=generators,
            keep_native=False,
            output_type="np",
        )
        for pair, bare, words in zip(pairs, output.images, output.expressive_instructions, strict=True):
            cases.append(_case(pipeline, pair, bare, words, metrics))
        if progress is not None:
            progress(len(cases), len(records))
    return cases


def edit_records(data: str | Path) -> list[Record]:
    """Returns the records of a dataset that are edits of one picture with a target.

    Raises:
        DataError: if there are none.
    """
    records = read_records(data)
    edits = [row for row in records if row.task == "edit" and row.target and len(row.images) == 1]
    if not edits:
        raise DataError(
            f"{data} has no edit records with one image and a target; expected what `mgie data synth` writes"
        )
    if len(edits) < len(records):
        logger.info(
            "%d of %d records are not edits of one picture and are left out",
            len(records) - len(edits),
            len(records),
        )
    return edits


def as_pixels(picture: Image.Image) -> Pixels:
    """Returns an RGB picture as (H, W, 3) float32 in [0, 1]."""
    return np.asarray(picture, np.float32) / 255


def _autoencoded(pipeline: MGIEPipeline, picture: Image.Image) -> Pixels:
    """Returns a picture as (h, w, 3) in [0, 1] after the autoencoder, which must take its sides."""
    return pipeline.encode_image(picture, picture.height, picture.width).decoded


def _open(record: Record, folder: Path) -> Pair:
    assert record.target is not None
    source, target = (open_image(folder / path) for path in (record.images[0], record.target))
    if source.size != target.size:
        raise DataError(
            f"record {record.id}: source {source.size} and target {target.size} differ; make them equal"
        )
    return record, source, target


def _case(pipeline: MGIEPipeline, pair: Pair, bare: Pixels, words: str, metrics: Metrics) -> Case:
    """Returns the figures of one edit from its bare decoded picture; the way back is the pipeline's."""
    record, source, target = pair
    size = bare.shape[1], bare.shape[0]
    small_source, small_target = resize(source, size), resize(target, size)
    native = return_to_native(source, _autoencoded(pipeline, small_source), bare)
    rows = {
        MODEL: (source, as_pixels(native), target),
        BARE: (small_source, bare, small_target),
        COPY: (source, as_pixels(source), target),
        AUTOENCODER: (small_source, _autoencoded(pipeline, small_target), small_target),
    }
    made = MadeEdit.from_meta(record.meta) if "family" in record.meta else None
    figures = {}
    for row, (before, edited, wanted) in rows.items():
        figures[row] = metrics.measure(edited, as_pixels(wanted), record.expressive or record.instruction)
        if made is not None:
            figures[row]["success"] = float(made.check(as_pixels(before), edited))
    return Case(
        id=record.id,
        family=made.family if made else "other",
        instruction=record.instruction,
        expressive_instruction=words,
        figures=figures,
    )

"""Made edits as files: a dataset folder that anybody can train on."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mgie.data.photographs import Photograph
from mgie.data.records import Record, write_records
from mgie.data.synth.edit import EditSampler, MadeEdit
from mgie.data.synth.objects import Objects
from mgie.data.synth.requests import Requests
from mgie.data.synth.scene import Made, as_picture, open_scene
from mgie.data.synth.wording import Split
from mgie.errors import DataError
from mgie.model_folder import replaced_folder

logger = logging.getLogger(__name__)

OBJECTS_FOLDER = "objects"
"""Where a dataset keeps the objects that its edits were made with."""
_MAX_TRIES = 50


def synthesise(
    photographs: Sequence[Photograph],
    out: str | Path,
    count: int,
    seed: int,
    *,
    families: Sequence[str] | None = None,
    objects: Objects | None = None,
    vague_rate: float = 0.0,
    wording_split: Split = "train",
    requests: Requests | None = None,
) -> Iterator[Record]:
    """Writes a dataset of made edits and yields each record once its pictures are written.

    The families take turns. An edit that does not show on a photograph (grey on a grey one) is drawn again on
    another one. The folder is there once the iterator is used up, and whole.

    Args:
        photographs: sources; each record's split is its photograph's.
        out: folder to write, new or empty; `images/` in it holds the pictures, at the photographs' own size.
        count: number of records.
        seed: the same seed gives the same dataset; a record does not depend on those before it.
        families: names of the families; None for all that can edit one of these photographs.
        objects: what edits may put on the photographs; copied into the folder, as checks of them need it.
        vague_rate: share of the instructions that leave the edit open, where a family has such wordings.
        wording_split: "test" uses only instruction wordings that "train" never uses.
        requests: real people's requests, used for a quarter of the instructions.

    Raises:
        DataError: if there are no photographs, a family is unknown, an edit shows on none of the photographs
            tried, or `out` holds something already.
        CheckpointError: `out` cannot be written.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"{out} is there already and is not empty; choose another folder, or remove it")
    if not photographs:
        raise DataError("no photographs came; expected at least one to edit")
    sampler = EditSampler(
        photographs,
        families=families,
        wording_split=wording_split,
        requests=requests,
        vague_rate=vague_rate,
        objects=objects,
    )
    names = tuple(dict.fromkeys(sampler.names))
    records = []
    with replaced_folder(out.absolute()) as new:
        (new / "images").mkdir()
        if objects is not None:
            objects.copy(new / OBJECTS_FOLDER)
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            photograph, edit, made = _visible_edit(sampler, rng, names[index % len(names)])
            files = {
                name: f"images/{index:06d}.{name}.png"
                for name in ("source", "target", *(() if made.mask is None else ("mask",)))
            }
            for name, file in files.items():
                pixels = getattr(made, name)
                picture = Image.fromarray(pixels) if name == "mask" else as_picture(pixels)
                picture.save(new / file)
            record = Record(
                id=f"{index:06d}",
                task="edit",
                images=(files["source"],),
                target=files["target"],
                instruction=edit.instruction,
                expressive=edit.expressive,
                mask=files.get("mask"),
                split=photograph.split,
                source=photograph.path.name,
                meta=edit.meta,
            )
            records.append(record)
            yield record
        write_records(records, new)


def _visible_edit(
    sampler: EditSampler, rng: np.random.Generator, family: str
) -> tuple[Photograph, MadeEdit, Made]:
    for _ in range(_MAX_TRIES):
        photograph, scene, edit = sampler.draw(
            rng, lambda photograph: open_scene(photograph, photograph.load(), sampler.objects), family
        )
        made = edit.make(scene)
        if edit.check(made, made.target):
            return photograph, edit, made
        logger.debug("%s does not show on %s", family, photograph.path)
    raise DataError(f"{family} showed on none of {_MAX_TRIES} photographs tried; use more varied photographs")

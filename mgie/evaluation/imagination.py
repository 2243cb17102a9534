"""The imagination suite: whether another expressive instruction makes another edit, that of its words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mgie.data.records import Record, folder_of
from mgie.data.synth import FAMILIES, MadeEdit, Scene, as_pixels, make_edit
from mgie.data.synth.family import WholePicture
from mgie.evaluation.behaviour import finding
from mgie.evaluation.suites import Progress, edit_records
from mgie.evaluation.tables import Finding
from mgie.images import open_image
from mgie.pipeline import MGIEPipeline

RECORDS = 60
"""Number of records with vague instructions that are looked at, and of those with plain ones."""
_TEXTS = 2
"""Number of other texts for each record."""


def check_imagination(
    pipeline: MGIEPipeline,
    data: str | Path,
    *,
    seed: int = 0,
    records: int = RECORDS,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> list[Finding]:
    """Returns how often a text in the place of the model's own makes the edit that it describes.

    The texts are those of other families of the whole picture, so that any photograph can show them.

    Args:
        pipeline: the model.
        data: folder with `records.jsonl`, or such a file, of made edits; those whose instruction is vague are
            marked in their `meta`.
        seed: of the texts, and of the picture of try i: seed + i.
        records: how many records of each kind, at most.
        batch_size: number of edits at one time.
        progress: called with the number of edits done and of all.

    Raises:
        MGIEError: if the dataset has no edit records, or a picture cannot be read.
    """
    made = [record for record in edit_records(data) if "family" in record.meta]
    rng = np.random.default_rng(seed)
    tries = [
        _Try.draw(record, folder_of(data), rng)
        for vague in (True, False)
        for record in [r for r in made if r.meta.get("vague", False) == vague][:records]
        for _ in range(_TEXTS)
    ]
    landed: list[_Landed] = []
    for start in range(0, len(tries), batch_size):
        rows = tries[start : start + batch_size]
        output: Any = pipeline(
            [row.picture for row in rows],
            [row.record.instruction for row in rows],
            expressive_instruction=[row.other.expressive for row in rows],
            generator=[torch.Generator().manual_seed(seed + start + i) for i in range(len(rows))],
        )
        landed += [row.landed(edited) for row, edited in zip(rows, output.images, strict=True)]
        if progress is not None:
            progress(len(landed), len(tries))
    return _findings(landed)


@dataclass(frozen=True)
class _Try:
    """A record that is edited with the words of another edit."""

    record: Record
    picture: Image.Image
    other: MadeEdit

    @classmethod
    def draw(cls, record: Record, folder: Path, rng: np.random.Generator) -> "_Try":
        """Draws an edit that shows on the record's source, of another family than the record's."""
        picture = open_image(folder / record.images[0])
        scene = Scene(pixels=as_pixels(picture))
        others = [
            family
            for family in FAMILIES.values()
            if isinstance(family, WholePicture) and family.name != record.meta["family"]
        ]
        while True:
            other = make_edit(others[rng.integers(len(others))], scene, rng)
            if other is not None and other.shows(scene.pixels, other.make(scene).target):
                return cls(record, picture, other)

    def landed(self, edited: Image.Image) -> "_Landed":
        """Returns which of the two edits landed."""
        own, source, pixels = MadeEdit.from_meta(self.record.meta), as_pixels(self.picture), as_pixels(edited)
        is_whole = isinstance(FAMILIES[own.family], WholePicture)
        return _Landed(
            own.vague, self.other.shows(source, pixels), own.shows(source, pixels) if is_whole else None
        )


@dataclass(frozen=True)
class _Landed:
    """What came of a try."""

    vague: bool
    theirs: bool
    """Whether the text's edit landed."""
    its: bool | None
    """Whether the instruction's did; None where that needs a region or a thing, which are not looked for."""


def _findings(landed: list[_Landed]) -> list[Finding]:
    """Returns the rates; a kind of instruction of which there is no record is left out."""
    found = []
    for kind, vague in (("vague", True), ("plain", False)):
        rows = [row for row in landed if row.vague == vague]
        if not rows:
            continue
        asked = f"{kind} instruction, text of another edit"
        theirs = float(np.mean([row.theirs for row in rows]))
        found.append(finding(f"{asked}: the text's edit lands, of {len(rows)}", theirs, at_least=0.7))
        its = [row.its for row in rows if row.its is not None]
        if not vague and its:
            name = f"{asked}: the instruction's own edit of the whole picture shows, of {len(its)}"
            found.append(finding(name, float(np.mean(its)), at_most=0.3))
    return found

"""The behaviour suite: whether the model does it, and no shortcut; what the way back keeps; what repeats."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mgie.data.records import folder_of
from mgie.data.synth import MadeEdit, as_picture, as_pixels
from mgie.data.synth.measure import correlation
from mgie.evaluation.metrics import sharpness
from mgie.evaluation.suites import Progress, edit_records
from mgie.evaluation.tables import Finding
from mgie.images import open_image
from mgie.pipeline import MGIEPipeline

PHOTOGRAPHS = 6
"""Number of photographs that the suite looks at."""
LARGE = (4000, 3000)
"""Width and height of the large photograph, 12 megapixels."""
_RED = MadeEdit(family="tint", params={"colour": "red", "strength": "normal"}, instruction="make it red")
_BLUE = MadeEdit(family="tint", params={"colour": "blue", "strength": "normal"}, instruction="make it blue")
_EDITS = (
    _RED,
    _BLUE,
    MadeEdit(family="grey", params={}, instruction="turn it into black and white"),
    MadeEdit(family="darker", params={"strength": "normal"}, instruction="make it darker"),
    MadeEdit(family="night", params={}, instruction="make it look like night"),
    MadeEdit(family="invert", params={}, instruction="invert the colours"),
)
_TONES = ("make it brighter", "make it darker", "make it warmer", "make it cooler")
_ROTATED = 6
"""EXIF orientation of a photograph taken upright with the camera on its side."""


def check_behaviour(
    pipeline: MGIEPipeline,
    data: str | Path,
    *,
    seed: int = 0,
    large: tuple[int, int] = LARGE,
    progress: Progress | None = None,
) -> list[Finding]:
    """Returns what was found, on the first six different photographs of a dataset.

    Args:
        pipeline: the model.
        data: folder with `records.jsonl`, or such a file; only its source pictures are used.
        seed: of the photograph in row i: seed + i.
        large: width and height of the large photograph, which is made from a small one.
        progress: called with the number of checks done and of all checks.

    Raises:
        MGIEError: if the dataset has no edit records, or a picture cannot be read.
    """
    suite = _Suite(pipeline, different_photographs(data, PHOTOGRAPHS), seed, large)
    findings: list[Finding] = []
    for done, check in enumerate(
        checks := (suite.exchange, suite.bare, suite.words, suite.detail, suite.repeat), 1
    ):
        findings += check()
        if progress is not None:
            progress(done, len(checks))
    return findings


@dataclass(frozen=True)
class _Suite:
    pipeline: MGIEPipeline
    photographs: list[Image.Image]
    seed: int
    large: tuple[int, int]

    def exchange(self) -> list[Finding]:
        """Only the `prompt_embeds` say what to paint: exchanged, those of red and blue swap the colours."""
        right = 0
        for photograph in self.photographs:
            pair = [photograph, photograph]
            imagined = self.pipeline.encode_instruction(pair, [_RED.instruction, _BLUE.instruction])
            output: Any = self.pipeline(
                pair,
                prompt_embeds=imagined.prompt_embeds.flip(0),
                negative_prompt_embeds=imagined.negative_prompt_embeds,
                generator=self._generators(2),
            )
            source, (blue, red) = as_pixels(photograph), map(as_pixels, output.images)
            right += _BLUE.shows(source, blue) and not _RED.shows(source, blue)
            right += _RED.shows(source, red) and not _BLUE.shows(source, red)
        rate = right / (2 * len(self.photographs))
        return [finding("exchanged prompt embeds of red and blue exchange the colours", rate, at_least=0.9)]

    def bare(self) -> list[Finding]:
        """The UNet itself paints the edit: the decoded picture shows it before the way back."""
        right = []
        for photograph in self.photographs:
            rows = [photograph] * len(_EDITS)
            output: Any = self.pipeline(
                rows,
                [edit.instruction for edit in _EDITS],
                generator=self._generators(len(rows)),
                keep_native=False,
                output_type="np",
            )
            for edit, edited in zip(_EDITS, output.images, strict=True):
                size = edited.shape[1], edited.shape[0]
                right.append(edit.shows(as_pixels(photograph.resize(size, Image.Resampling.LANCZOS)), edited))
        return [finding("bare decoded picture shows the edit", sum(right) / len(right), at_least=0.9)]

    def words(self) -> list[Finding]:
        """The expressive instruction looks at the picture: one instruction, many texts."""
        imagined = self.pipeline.encode_instruction(self.photographs, "make it look like night")
        texts = set(imagined.expressive_instructions)
        wanted = min(4, len(self.photographs))
        name = f"different expressive instructions for one instruction on {len(self.photographs)} photographs"
        return [finding(name, len(texts), at_least=wanted)]

    def detail(self) -> list[Finding]:
        """A large photograph keeps its size, its orientation, and under a change of tone its sharpness."""
        photograph = _large(self.photographs[0], self.large)
        before, ratios = sharpness(as_pixels(photograph)), []
        for tone in _TONES:
            edited = self._edit(photograph, tone)
            ratios.append(sharpness(as_pixels(edited)) / before if edited.size == photograph.size else 0.0)
        turned = self._edit(_rotated(photograph), "make it darker")
        upright = photograph.transpose(Image.Transpose.ROTATE_270)
        alike = _likeness(turned, upright) if turned.size == upright.size else 0.0
        size = "x".join(map(str, self.large))
        return [
            finding(
                f"sharpness of a {size} photograph kept by changes of tone, least", min(ratios), at_least=0.9
            ),
            finding(f"likeness of the edit of a {size} photograph with EXIF rotation", alike, at_least=0.5),
        ]

    def repeat(self) -> list[Finding]:
        """The same seed gives the same bytes; four in a batch are the four alone."""
        rows = [self.photographs[i % len(self.photographs)] for i in range(4)]
        words = [edit.instruction for edit in _EDITS[:4]]
        first, second = (self._edit_all(rows, words) for _ in range(2))
        alone = [self._edit_all([rows[i]], [words[i]], first=i) for i in range(4)]
        same_bytes = all(a.tobytes() == b.tobytes() for a, b in zip(first.images, second.images, strict=True))
        same_words = first.expressive_instructions == [one.expressive_instructions[0] for one in alone]
        differences = [
            np.abs(np.asarray(a, int) - np.asarray(b.images[0], int)).max()
            for a, b in zip(first.images, alone, strict=True)
        ]
        return [
            finding("same seed, same bytes", same_bytes, at_least=1),
            finding("batch of 4 and 4 singles: same expressive instructions", same_words, at_least=1),
            finding(
                "batch of 4 and 4 singles: largest difference in grey levels", max(differences), at_most=1
            ),
        ]

    def _edit(self, picture: Image.Image, instruction: str) -> Image.Image:
        return self._edit_all([picture], [instruction]).images[0]

    def _edit_all(self, pictures: list[Image.Image], instructions: list[str], first: int = 0) -> Any:
        return self.pipeline(pictures, instructions, generator=self._generators(len(pictures), first))

    def _generators(self, number: int, first: int = 0) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(self.seed + first + i) for i in range(number)]


def different_photographs(data: str | Path, number: int) -> list[Image.Image]:
    """Returns the first photographs; made edits of one photograph each have a file of their own for it."""
    found: dict[bytes, Image.Image] = {}
    for record in edit_records(data):
        photograph = open_image(folder_of(data) / record.images[0])
        found.setdefault(photograph.tobytes(), photograph)
        if len(found) == number:
            break
    return list(found.values())


def finding(
    name: str, value: float, *, at_least: float | None = None, at_most: float | None = None
) -> Finding:
    """Returns what was found, held against what is wanted."""
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    return Finding(name=name, value=float(value), wanted=wanted, met=bool(met))


def _large(photograph: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns the photograph enlarged, with fine detail as a large one has it."""
    width, height = size
    grain = np.random.default_rng(0).normal(0, 0.03, (height, width, 1)).astype(np.float32)
    pixels = as_pixels(photograph.resize(size, Image.Resampling.BICUBIC)) + grain
    return as_picture(pixels.clip(0, 1))


def _rotated(photograph: Image.Image) -> Image.Image:
    """Returns the photograph as a JPEG whose EXIF data ask for a quarter turn to the right."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = _ROTATED
    photograph.save(file, "JPEG", quality=95, exif=exif)
    return Image.open(file)


def _likeness(a: Image.Image, b: Image.Image) -> float:
    """Returns the correlation of two pictures' luminance, from small copies: what stands where."""
    planes = [np.asarray(picture.convert("L").resize((64, 64)), np.float64) for picture in (a, b)]
    return correlation(*planes)

"""What training sees: pictures cropped to a training size, with a question and the answer to learn.

A row is a pure function of (seed, index, size), whoever asks for it and whenever: that is what makes a
resumed run repeat the original bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, Sampler

from mgie.config import DataConfig
from mgie.data.photographs import Photograph, read_photographs
from mgie.data.records import Record, folder_of, read_records
from mgie.data.synth import MadeEdit, Pixels, Requests, make_edit
from mgie.errors import DataError
from mgie.images import open_image
from mgie.prompts import DESCRIBE, answer, question

Size = tuple[int, int]
"""(width, height) in pixels."""
Key = tuple[int, Size]
"""Index of a row and the size that it is wanted at."""


@dataclass(frozen=True)
class Sample:
    """One row for training."""

    picture: Image.Image
    """The cropped source as the vision tower's processor takes it, at its own size."""
    source: Pixels
    """(H, W, 3) float32 in [0, 1] at the training size."""
    target: Pixels
    """The same after the edit."""
    question: str
    answer: str


class PhotographDataset(Dataset[Sample]):
    """Endless made edits of photographs, and descriptions of them where the configuration asks for it."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Reads the lists of photographs and requests; pictures are opened when they are needed.

        Raises:
            DataError: if there are no photographs of the wanted split.
        """
        assert config.photographs is not None
        self.config, self.seed = config, seed
        self.photographs = [p for p in read_photographs(config.photographs) if p.split == config.split]
        if not self.photographs:
            raise DataError(
                f"{config.photographs} has no photographs of split {config.split!r}; set data.split"
            )
        self.requests = Requests.read(config.requests) if config.requests else None
        self.described = [p for p in self.photographs if p.names or p.captions]
        if config.describe_rate and not self.described:
            raise DataError(f"{config.photographs} names nothing to describe; set data.describe_rate=0")

    def __getitem__(self, key: Key) -> Sample:
        """Returns the row that belongs to the index, at the size."""
        index, size = key
        rng, photograph, edit, words = self._draw(index)
        picture, source = _crop(Image.fromarray(photograph.load()), size, self.config.crop, rng)
        return Sample(picture, source, edit.apply(source) if edit else source, *words)

    def words(self, index: int) -> tuple[str, str]:
        """Returns question and answer of the row that belongs to the index, without opening its picture."""
        return self._draw(index)[-1]

    def _draw(self, index: int) -> tuple[np.random.Generator, Photograph, MadeEdit | None, tuple[str, str]]:
        rng = np.random.default_rng([self.seed, index])
        if rng.random() < self.config.describe_rate:
            photograph = self.described[rng.integers(len(self.described))]
            return rng, photograph, None, (DESCRIBE, _description(photograph, rng))
        photograph = self.photographs[rng.integers(len(self.photographs))]
        edit = make_edit(
            photograph,
            rng,
            families=self.config.families,
            wording_split="train" if self.config.split == "train" else "test",
            requests=self.requests,
        )
        return rng, photograph, edit, (question(edit.instruction), answer(edit.expressive))


class RecordDataset(Dataset[Sample]):
    """Before/after pairs from a folder of records, each again and again with another crop."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Reads the records; pictures are opened when they are needed.

        Raises:
            DataError: if there is no edit record with source and target in the wanted split.
        """
        assert config.records is not None
        self.config, self.seed = config, seed
        self.folder = folder_of(config.records)
        self.records: list[Record] = [
            r
            for r in read_records(config.records)
            if r.task == "edit" and r.target and len(r.images) == 1 and r.split in (None, config.split)
        ]
        if not self.records:
            raise DataError(
                f"{config.records} has no edit records of split {config.split!r} with one image and a target"
            )

    def __getitem__(self, key: Key) -> Sample:
        """Returns the row that belongs to the index, at the size."""
        index, size = key
        rng, record, words = self._draw(index)
        source, target = (open_image(self.folder / name) for name in (record.images[0], str(record.target)))
        if source.size != target.size:
            raise DataError(
                f"record {record.id}: sizes are {source.size} and {target.size} pixels; make them equal"
            )
        state = rng.bit_generator.state
        picture, before = _crop(source, size, self.config.crop, rng)
        rng.bit_generator.state = state  # the target is cropped as the source was
        _, after = _crop(target, size, self.config.crop, rng)
        return Sample(picture, before, after, *words)

    def words(self, index: int) -> tuple[str, str]:
        """Returns question and answer of the row that belongs to the index, without opening its pictures."""
        return self._draw(index)[-1]

    def _draw(self, index: int) -> tuple[np.random.Generator, Record, tuple[str, str]]:
        rng = np.random.default_rng([self.seed, index])
        record = self.records[rng.integers(len(self.records))]
        words = question(record.instruction), answer(record.expressive or record.instruction)
        return rng, record, words


def open_dataset(config: DataConfig, seed: int) -> PhotographDataset | RecordDataset:
    """Returns the dataset that the configuration names."""
    return (PhotographDataset if config.photographs else RecordDataset)(config, seed)


class StepSampler(Sampler[list[Key]]):
    """The keys of each batch of one process; rows differ between processes and never repeat."""

    def __init__(
        self,
        sizes: list[Size],
        seed: int,
        batch_size: int,
        batches: range,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Takes `batches`, the numbers of the batches that are still to be trained."""
        self.sizes, self.seed, self.batch_size, self.batches = sizes, seed, batch_size, batches
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[Key]]:
        """Yields (index, size) of the rows of each batch, which have one size on all processes."""
        for batch in self.batches:
            size = self.sizes[np.random.default_rng([self.seed, batch, 1]).integers(len(self.sizes))]
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [(first + i, size) for i in range(self.batch_size)]

    def __len__(self) -> int:
        """Returns the number of batches."""
        return len(self.batches)


def _crop(
    image: Image.Image, size: Size, crop: list[float], rng: np.random.Generator
) -> tuple[Image.Image, NDArray[np.float32]]:
    """Returns a random crop of the size's aspect, half of them mirrored: as it is, and resized to `size`."""
    width, height = size
    scale = min(image.width / width, image.height / height) * rng.uniform(crop[0], crop[-1])
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = int(rng.integers(image.width - w + 1)), int(rng.integers(image.height - h + 1))
    cropped = image.crop((left, top, left + w, top + h))
    if rng.random() < 0.5:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    resized = cropped.resize(size, Image.Resampling.LANCZOS)
    return cropped, np.asarray(resized, dtype=np.float32) / np.float32(255)


def _description(photograph: Photograph, rng: np.random.Generator) -> str:
    """Returns a person's caption, or a sentence with the names of what is to be seen."""
    if photograph.captions and rng.random() < 0.5:
        return photograph.captions[rng.integers(len(photograph.captions))].strip()
    names = list(photograph.names[:3]) or [photograph.captions[0].strip()]
    start = ("A picture of", "This shows", "There is")[rng.integers(3)]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{start} {listed}."

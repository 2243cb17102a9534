"""What training sees: pictures cropped to a training size, with a question and the answer to learn.

A row is a pure function of (seed, index, size), whoever asks for it and whenever: that is what makes a
resumed run repeat the original bit for bit.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, Sampler

from mgie.config import DataConfig
from mgie.data.photographs import Photograph, read_photographs
from mgie.data.records import Record, folder_of, read_pairs
from mgie.data.synth import (
    Arrival,
    Box,
    EditSampler,
    Made,
    Mask,
    Objects,
    Pixels,
    Requests,
    Scene,
    as_picture,
    as_pixels,
    open_scene,
)
from mgie.data.synth.edit import FAMILIES, MadeEdit
from mgie.data.synth.layout import thing_mask
from mgie.data.synth.object_edits import ObjectEdit
from mgie.data.synth.region import MIN_SHARE, Region, place_of
from mgie.data.synth.wording import pick
from mgie.errors import DataError
from mgie.images import open_image
from mgie.prompts import DESCRIBE, LOCATE, answer, question

_LOCATED_SHARE = 0.8
"""Of the descriptions, those that say where things are."""
_MAX_REGIONS = 2
"""Of the photograph, in such a description."""
_LEAST_REGION = 0.02
"""Share of the picture of a region that is looked for."""
_SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
"""Words that would be wrong of a mirrored picture."""

Things = tuple[tuple[str, Box | Mask], ...]
"""Names of what is to be seen, and where."""
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
    instead: str | None = None
    """The question about another edit, which is asked in the place of its own."""
    vague: bool = False
    """Whether the question leaves the edit open, so that only the answer says it."""
    things: Things = ()
    """Names of what is to be seen, and where: regions of the photograph, then what an edit put on it."""
    plain: Pixels | None = None
    """What a target in a pattern is painted with; see `Made`."""
    cover: NDArray[np.float32] | None = None
    """How much of each pixel of that it shows, (H, W) in [0, 1]."""
    behind: Pixels | None = None
    """The source without what goes; None where nothing does."""
    arrivals: tuple[Arrival, ...] = ()
    """Of what comes, its squares at the training size; see `Made`."""


@dataclass(frozen=True)
class Crop:
    """A part of a picture with a training size's aspect, perhaps mirrored."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom, in pixels."""
    mirrored: bool
    size: Size
    """Training (width, height)."""

    @classmethod
    def draw(cls, image_size: Size, size: Size, shares: list[float], rng: np.random.Generator) -> "Crop":
        """Returns a random crop, mirrored or not; its side is a share of the largest crop's."""
        scale = min(image_size[0] / size[0], image_size[1] / size[1]) * rng.uniform(shares[0], shares[-1])
        width, height = (max(1, round(side * scale)) for side in size)
        left, top = (
            int(rng.integers(image_size[0] - width + 1)),
            int(rng.integers(image_size[1] - height + 1)),
        )
        return cls((left, top, left + width, top + height), rng.random() < 0.5, size)

    def at_own_size(self, image: Image.Image) -> Image.Image:
        """Returns the part of an image, in its own pixels."""
        part = image.crop(self.box)
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else part

    def __call__(self, image: Image.Image) -> Image.Image:
        """Returns the part of an image at training size."""
        return self.at_own_size(image).resize(self.size, Image.Resampling.LANCZOS)


def photographs_of(folder: str, split: str) -> list[Photograph]:
    """Returns the photographs of a split in a folder.

    Raises:
        DataError: if there are none, or the folder cannot be read.
    """
    photographs = [p for p in read_photographs(folder) if p.split == split]
    if not photographs:
        raise DataError(f"{folder} has no photographs of split {split!r}; set data.split")
    return photographs


def open_part(
    photograph: Photograph, size: Size, config: DataConfig, objects: Objects | None, rng: np.random.Generator
) -> tuple[Scene, Image.Image]:
    """Returns a random part of a photograph at a training size, in some light, and it in its own pixels.

    Args:
        photograph: opened here.
        size: of the scene.
        config: says how large the part is, and how much the light varies.
        objects: what edits may put on it.
        rng: source of everything random.
    """
    picture = photograph.load()
    crop = Crop.draw(picture.size, size, config.crop, rng)
    relit = _relighting(config.light, rng)
    scene = open_scene(photograph, picture, objects, lambda image: relit(crop(image)))
    return scene, relit(crop.at_own_size(picture))


class PhotographDataset(Dataset[Sample]):
    """Endless made edits of photographs, and descriptions of them where the configuration asks for it."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Reads the lists of photographs, objects and requests; pictures are opened when they are needed.

        Raises:
            DataError: if there are no photographs of the wanted split.
        """
        assert config.photographs is not None
        self.config, self.seed = config, seed
        self.photographs = photographs_of(config.photographs, config.split)
        self.edits = EditSampler(
            self.photographs,
            families=config.families,
            wording_split=config.made_of,
            requests=Requests.read(config.requests) if config.requests else None,
            vague_rate=config.vague_rate,
            invented_rate=config.invented_rate,
            misplaced_rate=config.misplaced_rate,
            objects=Objects.read(config.objects, config.addable_objects) if config.objects else None,
        )
        self.crowding = [name for name in self.edits.names if isinstance(FAMILIES[name], ObjectEdit)]
        if config.crowded_rate and not self.crowding:
            raise DataError(
                f"data.crowded_rate is {config.crowded_rate}, and no family puts objects on photographs; set "
                "data.objects, and such families if data.families is set"
            )
        self.located = [name for name in self.edits.taken if isinstance(FAMILIES[name], ObjectEdit | Region)]
        self.described = [p for p in self.photographs if p.names or p.captions]
        if config.describe_rate and not self.described:
            raise DataError(f"{config.photographs} names nothing to describe; set data.describe_rate=0")

    def __getitem__(self, key: Key) -> Sample:
        """Returns the row that belongs to the index, at the size."""
        index, size = key
        rng = np.random.default_rng([self.seed, index])
        describes, instead, vague = rng.random() < self.config.describe_rate, None, False
        is_crowded = False
        views: list[tuple[Image.Image, Things]] = []

        def opened(photograph: Photograph) -> Scene:
            scene, picture = open_part(photograph, size, self.config, self.edits.objects, rng)
            things: Things = ()
            if is_crowded:
                scene, things = self._crowded(scene, rng)
            views.append((as_picture(scene.pixels) if things else picture, things))
            return scene

        if describes and rng.random() < _LOCATED_SHARE and self.located:
            _, scene, edit = self.edits.draw(rng, opened, pick(rng, self.located))
            edited = edit.make(scene)
            made = Made(source=edited.source, target=edited.source, things=edited.things)
            words = LOCATE, _locations(scene, edit, rng)
        elif describes:
            photograph = pick(rng, self.described)
            scene = opened(photograph)
            made = Made(source=scene.pixels, target=scene.pixels)
            words = DESCRIBE, _description(photograph, rng)
        else:
            family, rate = pick(rng, self.edits.names), self.config.crowded_rate
            is_crowded = rate > 0 and not isinstance(FAMILIES[family], ObjectEdit) and rng.random() < rate
            _, scene, edit = self.edits.draw(rng, opened, family)
            made = edit.make(scene)
            words, vague = (question(edit.instruction), answer(edit.expressive)), edit.vague
            if self.config.exchanged_rate and rng.random() < self.config.exchanged_rate:
                other = self.edits.another(scene, rng)
                instead = other and question(other.instruction)
        # The vision tower's processor gets the crop at its own size, as it gets a user's photo.
        picture, standing = views[-1]
        regions = tuple((n, m) for n, m in scene.regions.items() if m.mean() >= _LEAST_REGION)
        return Sample(
            picture if made.source is scene.pixels else as_picture(made.source),
            made.source,
            made.target,
            *words,
            instead=instead,
            vague=vague,
            things=regions + standing + made.things,
            plain=made.plain,
            cover=made.cover,
            behind=made.behind,
            arrivals=made.arrivals,
        )

    def _crowded(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Things]:
        """Returns a scene with what an edit of objects finds on it, and where; that hides its regions."""
        edit = self.edits.another(scene, rng, pick(rng, self.crowding))
        if edit is None:
            return scene, ()
        made = edit.make(scene)
        free = ~thing_mask(made.source, scene.pixels)
        regions = {name: mask & free for name, mask in scene.regions.items()}
        composites = {name: (mask & free, pixels) for name, (mask, pixels) in scene.composites.items()}
        return replace(scene, pixels=made.source, regions=regions, composites=composites), made.things


class RecordDataset(Dataset[Sample]):
    """Before/after pairs from a folder of records, each again and again with another crop."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        """Reads the records; pictures are opened when they are needed.

        Raises:
            DataError: if there is no edit record with source and target in the wanted split, or a file of one
                is missing.
        """
        assert config.records is not None
        self.config, self.seed = config, seed
        self.folder = folder_of(config.records)
        self.records: list[Record] = [
            record for record in read_pairs(config.records) if record.split in (None, config.split)
        ]
        if not self.records:
            raise DataError(
                f"{config.records} has no edit records of split {config.split!r} with one image and a target"
            )

    def __getitem__(self, key: Key) -> Sample:
        """Returns the row that belongs to the index, at the size."""
        index, size = key
        rng = np.random.default_rng([self.seed, index])
        record = pick(rng, self.records)
        source, target = (open_image(self.folder / name) for name in (record.images[0], str(record.target)))
        if source.size != target.size:
            raise DataError(
                f"record {record.id}: sizes are {source.size} and {target.size} pixels; make them equal"
            )
        crop = Crop.draw(source.size, size, self.config.crop, rng)
        words = record.expressive or record.instruction
        if _SIDES.search(f"{record.instruction} {words}"):
            crop = replace(crop, mirrored=False)
        return Sample(
            picture=crop.at_own_size(source),
            source=as_pixels(crop(source)),
            target=as_pixels(crop(target)),
            question=question(record.instruction),
            answer=answer(words),
            vague=bool(record.meta.get("vague")),
        )


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


def _relighting(strength: float, rng: np.random.Generator) -> Callable[[Image.Image], Image.Image]:
    """Returns what gives RGB pictures another light, the same to each; others, as masks, stay as they are."""
    if not strength:
        return lambda image: image
    gamma, gains = np.exp(rng.normal(0, strength)), 1 + rng.uniform(-strength, strength, 3)
    curve = np.linspace(0, 1, 256) ** gamma
    table = [int(value) for gain in gains for value in np.clip(curve * gain * 255 + 0.5, 0, 255)]
    return lambda image: image.point(table) if image.mode == "RGB" else image


def _locations(scene: Scene, edit: MadeEdit, rng: np.random.Generator) -> str:
    """Returns a sentence with what is to be seen before the edit, and where."""
    family = FAMILIES[edit.family]
    layout = family.layouts(edit.params)[0] if isinstance(family, ObjectEdit) else ()
    things = [(placed.title, placed.place) for placed in layout]
    things = [things[i] for i in rng.permutation(len(things))]
    large = [(name, place_of(mask)) for name, mask in scene.regions.items() if mask.mean() >= MIN_SHARE]
    things += [large[i] for i in rng.permutation(len(large))[:_MAX_REGIONS]]
    return ("; ".join(f"{name} {place}" for name, place in things) or "nothing") + "."


def _description(photograph: Photograph, rng: np.random.Generator) -> str:
    """Returns a person's caption, or a sentence with the names of what is to be seen."""
    if photograph.captions and rng.random() < 0.5:
        return photograph.captions[rng.integers(len(photograph.captions))].strip()
    names = list(photograph.names[:3]) or [photograph.captions[0].strip()]
    start = ("A picture of", "This shows", "There is")[rng.integers(3)]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{start} {listed}."

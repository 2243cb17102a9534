"""What a made edit starts from, a photograph with its regions; what comes of it: source, target, mask."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mgie.data.photographs import Photograph, open_as
from mgie.data.synth.objects import Objects

Pixels = NDArray[np.floating]
"""A picture: (H, W, 3) float32 in [0, 1], sRGB values as they stand in a file."""
Mask = NDArray[np.bool_]
"""Some of a picture's pixels: (H, W)."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A photograph, or a crop of it, as an edit finds it."""

    pixels: Pixels
    names: tuple[str, ...] = ()
    """What is to be seen, most prominent first, as nouns without article."""
    regions: Mapping[str, Mask] = field(default_factory=dict)
    """Where it is, as far as that is known."""
    composites: Mapping[str, tuple[Mask, Pixels]] = field(default_factory=dict)
    """By a region's name: where another photograph's region of that name was pasted, and how that looks."""
    unmarked: bool = False
    """Whether more may be seen of what a region is called than it covers; see `Photograph`."""
    objects: Objects | None = None
    """What may be put on the photograph."""


@dataclass(frozen=True)
class Box:
    """A square part of a picture, in pixels."""

    top: int
    left: int
    side: int

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


Arrival = tuple[Box | None, Box]
"""Of a thing that comes: its square in the source, None if it was not there, and that in the target."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """An edit of one scene."""

    source: Pixels
    """The scene, for some families with objects on it."""
    target: Pixels
    """The same after the edit."""
    mask: Mask | None = None
    """What the edit may change; None for everything."""
    objects: Objects | None = None
    """What the objects on it were taken from."""
    things: tuple[tuple[str, Box], ...] = ()
    """What was put on the source, by name, and where."""
    plain: Pixels | None = None
    """What the target is painted with, all over the mask; None where the target shows all of it."""
    cover: NDArray[np.float32] | None = None
    """How much of each pixel of that the target shows, a pattern: (H, W) in [0, 1]; None for all."""
    behind: Pixels | None = None
    """The source without what goes; None where nothing does."""
    arrivals: tuple[Arrival, ...] = ()
    """What comes where it was not, or in another size; from left to right."""


def as_pixels(picture: Image.Image) -> Pixels:
    """Returns an RGB picture as (H, W, 3) float32 in [0, 1]."""
    return np.asarray(picture, np.float32) / np.float32(255)


def as_picture(pixels: Pixels) -> Image.Image:
    """Returns (H, W, 3) in [0, 1] as an RGB picture."""
    return Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))


def open_scene(
    photograph: Photograph,
    picture: Image.Image,
    objects: Objects | None = None,
    cut: Callable[[Image.Image], Image.Image] = lambda image: image,
) -> Scene:
    """Returns a photograph with its regions, or a part of it.

    Args:
        photograph: what is known of it; its pictures and masks have one size.
        picture: what `photograph.load()` returned.
        objects: what may be put on it.
        cut: takes the same part of pictures and masks.

    Raises:
        DataError: if a file cannot be read.
    """

    def mask_of(path: Path) -> Mask:
        return np.asarray(cut(open_as(path, "L"))) > 127

    return Scene(
        pixels=as_pixels(cut(picture)),
        names=photograph.names,
        regions={name: mask_of(mask) for name, mask in photograph.regions},
        composites={
            name: (mask_of(mask), as_pixels(cut(open_as(image, "RGB"))))
            for name, image, mask in photograph.composites
        },
        unmarked=photograph.unmarked,
        objects=objects,
    )

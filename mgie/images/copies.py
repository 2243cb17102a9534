"""Things of a photograph that an edit shows again: cut out of the original, and put where they come."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from mgie.images.planes import Array, Box, along_edges, at_edges, enlarge, local_maximum

_AROUND = 0.3
"""Shares of a box's sides around it, in which there is more than the thing: its shadow, and the fringe."""
_SMEARED = 1
"""Places of an outline around it, within which an autoencoder smears what it covers."""


@dataclass(frozen=True)
class Copy:
    """A thing that an edit moves, doubles or resizes: it has its detail in the original, at any size."""

    outline: Array
    """(h, w, 1) in [0, 1], how much of each place of the original the thing covers; of any size."""
    gone: Array
    """(h, w, 1) in [0, 1], how much of each place goes."""
    old: Box
    """Around the thing where it stands."""
    new: Box
    """Around it where it comes, of the same form; it may reach out of the picture, as `old` may."""


@dataclass(frozen=True)
class Patch:
    """A part of an original, to be laid on it elsewhere."""

    left: int
    top: int
    pixels: Array
    """(h, w, 3) in [0, 1]."""
    cover: Array
    """(h, w, 1) in [0, 1], how much of each pixel it covers."""
    fringe: Array
    """(h, w, 1) in [0, 1], how much of each pixel shows what stood around the thing before, as a model at
    working size takes it along."""

    def lay_on(self, strip: Array, weights: Array, top: int) -> None:
        """Lays it on rows (n, width, 3) of a picture from `top` on, and on their weights (n, width, 1)."""
        first, last = max(self.top, top), min(self.top + len(self.pixels), top + len(strip))
        if first >= last:
            return
        across = slice(self.left, self.left + self.pixels.shape[1])
        own, there = slice(first - self.top, last - self.top), slice(first - top, last - top)
        cover, taken = self.cover[own], 1 - self.fringe[own]
        strip[there, across] += cover * (self.pixels[own] - strip[there, across])
        weights[there, across] = np.maximum(weights[there, across] * taken, cover)


def cut_out(original: Image.Image, copy: Copy, small: Array) -> Patch | None:
    """Returns the thing at the size that it comes in; None where nothing of it is in the picture.

    Its outline follows the edge that the original has there.

    Args:
        original: RGB picture of any size.
        copy: what, from where and to where.
        small: (h, w, 3) in [0, 1], the original at working size, at which outlines are looked for.
    """
    sides = np.array(original.size)
    old, new = (_corners(box, _AROUND) for box in (copy.old, copy.new))
    scale = (old[1] - old[0]) / (new[1] - new[0])
    # As much of the new box as is in the picture, of what of the old one is.
    start = np.maximum(new[0], new[0] - old[0] / scale).clip(0, 1)
    end = np.minimum(new[1], new[0] + (1 - old[0]) / scale).clip(0, 1)
    first, last = np.ceil(start * sides).astype(int), np.floor(end * sides).astype(int)
    if (first >= last).any():
        return None
    left, top, right, bottom = (
        float(share)
        for pixel in (first, last)
        for share in (old[0] + (pixel / sides - new[0]) * scale).clip(0, 1)
    )
    width, height = original.size
    box = left * width, top * height, right * width, bottom * height
    own = int(last[0] - first[0]), int(last[1] - first[1])
    pixels = np.asarray(original.resize(own, Image.Resampling.LANCZOS, box), np.float32) / 255
    there, here = (left, top, right, bottom), (*(first / sides), *(last / sides))
    outline = enlarge(copy.outline, (small.shape[1], small.shape[0]))
    maps = enlarge(along_edges(outline, small), own, there)
    cover = at_edges(maps, pixels) * _inside(_corners(copy.new) * sides, first, own)
    fringe = enlarge(local_maximum(copy.outline, _SMEARED), own, there) * (1 - enlarge(copy.gone, own, here))
    return Patch(int(first[0]), int(first[1]), pixels, cover, fringe.clip(0, 1))


def _corners(box: Box, around: float = 0) -> Array:
    """Returns the first and the last corner, (2, 2), of a box, with so much of its sides around it."""
    first, last = np.reshape(box, (2, 2))
    return np.stack([first - around * (last - first), last + around * (last - first)])


def _inside(corners: Array, first: Array, size: tuple[int, int]) -> Array:
    """Returns (h, w, 1): 1 for pixels from `first` on whose middle is between two corners, else 0."""
    x, y = (start + np.arange(side) + 0.5 for start, side in zip(first, size, strict=True))
    (left, top), (right, bottom) = corners
    return ((left <= x) & (x < right))[:, None] * ((top <= y) & (y < bottom))[:, None, None]

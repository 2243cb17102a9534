"""What an edit rearranges: things of a photograph that go, and those that it shows again elsewhere."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from mgie.images.planes import Array, Box, along_edges, at_edges, enlarge, local_maximum

_AROUND = 0.3
"""Shares of a box's sides around it, in which there is more than the thing: its shadow, and the fringe."""
_SMEARED = 12
"""Pixels at working size around a thing, within which an autoencoder smears it."""


@dataclass(frozen=True)
class Rearrangement:
    """What an edit takes away, moves, doubles or resizes."""

    behind: Array
    """(H, W, 3) in [0, 1], the original without what goes, at working size."""
    gone: Array
    """(H, W, 1) in [0, 1], how much of each pixel of the original goes, at working size."""
    drawn: Array
    """(h, w, 1) in [0, 1], how much of each place of the edit shows something new, at any size."""
    outline: Array
    """(H, W, 1) in [0, 1], how much of each pixel of the original is covered by what is shown again."""
    copies: tuple[tuple[Box, Box], ...] = ()
    """Around it where it stands, and where it comes, of the same form; they may reach out of the picture."""

    def patches(self, original: Image.Image, small: Array) -> list["Patch"]:
        """Returns what is to be laid on an edit of the original, one after the other.

        Args:
            original: RGB picture of any size.
            small: (H, W, 3) in [0, 1], the original at working size.
        """
        found = [self._hole(original.size)]
        if self.copies:
            outline = along_edges(self.outline, small)
            found += [self._copy(original, old, new, outline) for old, new in self.copies]
        return [patch for patch in found if patch is not None]

    def _hole(self, size: tuple[int, int]) -> "Patch | None":
        """Returns what is behind what goes, at a size (width, height); None where nothing does."""
        if not (self.gone > 0.5).any():
            return None
        height, width = self.gone.shape[:2]
        free = 1 - enlarge(self.drawn, (width, height)).clip(0, 1)
        fringe = local_maximum(self.gone, _SMEARED)
        maps = np.concatenate([self.behind, self.gone * free, fringe * free], axis=-1)

        y, x = np.nonzero(maps[..., 3:].max(-1) > 0)
        if not len(x):  # all of it is drawn over
            return None
        sides, corners = np.array([width, height]), np.array([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
        first, last = (corners[0] * size // sides).astype(int), -(-corners[1] * size // sides).astype(int)
        box = (*(first / size), *(last / size))
        maps = enlarge(maps, (int(last[0] - first[0]), int(last[1] - first[1])), box)
        pixels, cover, around = np.split(maps.clip(0, 1), (3, 4), axis=-1)
        return Patch(int(first[0]), int(first[1]), pixels, cover, around)

    def _copy(self, original: Image.Image, old: Box, new: Box, outline: Array) -> "Patch | None":
        """Returns the thing at the size that it comes in; None where nothing of it is in the picture."""
        sides = np.array(original.size)
        there, here = (_corners(box, _AROUND) for box in (old, new))
        scale = (there[1] - there[0]) / (here[1] - here[0])
        # As much of the new box as is in the picture, of what of the old one is.
        start = np.maximum(here[0], here[0] - there[0] / scale).clip(0, 1)
        end = np.minimum(here[1], here[0] + (1 - there[0]) / scale).clip(0, 1)
        first, last = np.ceil(start * sides).astype(int), np.floor(end * sides).astype(int)
        if (first >= last).any():
            return None
        left, top, right, bottom = (
            float(share)
            for pixel in (first, last)
            for share in (there[0] + (pixel / sides - here[0]) * scale).clip(0, 1)
        )
        width, height = original.size
        box = left * width, top * height, right * width, bottom * height
        own = int(last[0] - first[0]), int(last[1] - first[1])
        pixels = np.asarray(original.resize(own, Image.Resampling.LANCZOS, box), np.float32) / 255
        source, target = (left, top, right, bottom), (*(first / sides), *(last / sides))
        cover = at_edges(enlarge(outline, own, source), pixels)
        cover = cover * _inside(_corners(new) * sides, first, own)
        fringe = enlarge(local_maximum(self.outline, _SMEARED), own, source)
        fringe = fringe * (1 - enlarge(self.gone, own, target))
        return Patch(int(first[0]), int(first[1]), pixels, cover, fringe.clip(0, 1))


@dataclass(frozen=True)
class Patch:
    """A part of a picture, to be laid on an edit."""

    left: int
    top: int
    pixels: Array
    """(h, w, 3) in [0, 1]."""
    cover: Array
    """(h, w, 1) in [0, 1], how much of each pixel it covers."""
    fringe: Array
    """(h, w, 1) in [0, 1], how much of each pixel that it does not cover stays the original's: a model at
    working size changes what is around a thing as well."""

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


def _corners(box: Box, around: float = 0) -> Array:
    """Returns the first and the last corner, (2, 2), of a box, with so much of its sides around it."""
    first, last = np.reshape(box, (2, 2))
    return np.stack([first - around * (last - first), last + around * (last - first)])


def _inside(corners: Array, first: Array, size: tuple[int, int]) -> Array:
    """Returns (h, w, 1): 1 for pixels from `first` on whose middle is between two corners, else 0."""
    x, y = (start + np.arange(side) + 0.5 for start, side in zip(first, size, strict=True))
    (left, top), (right, bottom) = corners
    return ((left <= x) & (x < right))[:, None] * ((top <= y) & (y < bottom))[:, None, None]

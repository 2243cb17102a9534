"""The size at which a model works on a picture of any size."""

import itertools
import math
from dataclasses import dataclass

from PIL import Image

from mgie.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WorkingSize:
    """Rule that gives each picture its working size."""

    max_pixels: int
    """Largest area, in pixels."""
    multiple: int
    """Both sides are multiples of this."""
    upscale: bool
    """Whether small pictures are enlarged; otherwise their sides go to the next multiple below."""
    max_aspect: float | None = None
    """Ratio of long to short side beyond which a picture is squeezed to this ratio; None for no limit."""

    def __post_init__(self) -> None:
        """Refuses rules that no picture can follow."""
        if self.multiple < 1:
            raise ConfigError(f"multiple is {self.multiple}; expected at least 1")
        if self.max_pixels < self.multiple**2:
            raise ConfigError(
                f"max_pixels is {self.max_pixels}; expected at least {self.multiple**2}, multiple squared"
            )
        if self.max_aspect is not None and self.max_aspect < 1:
            raise ConfigError(f"max_aspect is {self.max_aspect}; expected at least 1, or null for no limit")

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Returns the working (width, height) of a picture of `width` x `height` pixels.

        Of the multiples next to the ideal size those with the least change of aspect win, then the larger
        area. A picture that need not shrink only loses what exceeds a multiple. No side is shorter than one
        multiple.
        """
        limit = self.max_aspect or math.inf
        ideal_width, ideal_height = min(width, limit * height), min(height, limit * width)
        aspect = ideal_width / ideal_height
        scale = math.sqrt(self.max_pixels / (ideal_width * ideal_height))
        if self.upscale or scale < 1:
            sides = (self._around(scale * ideal_width, width), self._around(scale * ideal_height, height))
        else:
            sides = ((self._floor(ideal_width),), (self._floor(ideal_height),))
        candidates = [size for pair in itertools.product(*sides) for size in self._within(*pair, limit)]
        return min(
            candidates, key=lambda size: (abs(math.log(size[0] / size[1] / aspect)), -size[0] * size[1])
        )

    def _floor(self, side: float) -> int:
        return max(int(side // self.multiple), 1) * self.multiple

    def _around(self, side: float, native: int) -> tuple[int, ...]:
        above = math.ceil(side / self.multiple) * self.multiple
        return (self._floor(side), above) if self.upscale or above <= native else (self._floor(side),)

    def _within(self, width: int, height: int, limit: float) -> list[tuple[int, int]]:
        """Returns the size with either side shortened as far as area and aspect demand."""
        narrower = self._floor(min(width, limit * height, self.max_pixels / height)), height
        lower = width, self._floor(min(height, limit * width, self.max_pixels / width))
        return [
            (w, h)
            for w, h in (narrower, lower)
            if w * h <= self.max_pixels and max(w, h) <= limit * min(w, h)
        ]


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns `image` at `size` (width, height), antialiased."""
    return image.resize(size, Image.Resampling.LANCZOS)

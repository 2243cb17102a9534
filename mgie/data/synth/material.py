"""What regions are filled with: painted skies and grounds, and patterns of cloth.

All is a function of the name and the picture's height and width alone, in units of the picture's sides or of
its short side, so that it looks the same at every resolution. What is returned is shared: do not write to it.
"""

import functools
from collections.abc import Callable

import numpy as np
from PIL import Image

from mgie.data.synth.measure import Array

_HORIZON = 0.45
"""Height, from the top, at which a sky has its lowest colour."""
_SKIES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "clear blue sky": ((0.10, 0.36, 0.85), (0.30, 0.58, 0.95), (0.68, 0.86, 1.00)),
    "sunset sky": ((0.42, 0.16, 0.45), (0.95, 0.38, 0.16), (1.00, 0.80, 0.30)),
    "starry night sky": ((0.01, 0.02, 0.10), (0.03, 0.05, 0.18), (0.07, 0.10, 0.30)),
    "grey cloudy sky": ((0.50, 0.52, 0.55), (0.62, 0.64, 0.66), (0.74, 0.75, 0.76)),
    "pink dawn sky": ((0.72, 0.52, 0.82), (1.00, 0.62, 0.76), (1.00, 0.86, 0.82)),
}
_STARS = 90
_STAR_RADIUS = 0.01
_GROUNDS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "grass": ((0.10, 0.32, 0.05), (0.42, 0.68, 0.18)),
    "sand": ((0.70, 0.53, 0.30), (0.96, 0.84, 0.58)),
    "snow": ((0.78, 0.83, 0.92), (1.00, 1.00, 1.00)),
    "water": ((0.04, 0.22, 0.46), (0.36, 0.66, 0.86)),
}
_CELLS = {"grass": ((40, 40), (12, 12)), "sand": ((28, 6), (50, 50)), "snow": ((8, 5), (20, 12))}
_CELLS |= {"water": ((34, 5), (60, 14))}
"""By ground: cells down and across of a coarse and a fine grid of random light."""

SKIES = tuple(_SKIES)
GROUNDS = tuple(_GROUNDS)


@functools.lru_cache(maxsize=64)
def sky(name: str, height: int, width: int) -> Array:
    """Returns one of `SKIES` as (H, W, 3) float32 in [0, 1]."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / (height * _HORIZON)
    column = np.stack([np.interp(rows, (0, 0.5, 1), c) for c in np.array(_SKIES[name]).T], axis=-1)
    pixels = np.repeat(column[:, None], width, axis=1)
    if name == "grey cloudy sky":
        pixels += 0.3 * (_noise((8, 4), height, width) - 0.5)[..., None]
    if name == "starry night sky":
        pixels += (1 - pixels) * _stars(height, width)[..., None]
    return pixels.clip(0, 1).astype(np.float32)


@functools.lru_cache(maxsize=64)
def ground(name: str, height: int, width: int) -> Array:
    """Returns one of `GROUNDS`, seen from above, as (H, W, 3) float32 in [0, 1]."""
    coarse, fine = (_noise(cells, height, width) for cells in _CELLS[name])
    dark, light = np.array(_GROUNDS[name], np.float32)
    return dark + (light - dark) * (0.65 * coarse + 0.35 * fine)[..., None].clip(0, 1)


def _noise(cells: tuple[int, int], height: int, width: int) -> Array:
    """Returns smooth random light (H, W), mostly in [0, 1]: a grid of random values made larger."""
    grid = np.random.default_rng(cells).random(cells, np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _units(height: int, width: int) -> tuple[Array, Array, int]:
    """Returns y (H, 1) and x (1, W) of the pixels' centres in short sides, and the short side in pixels."""
    short = min(height, width)
    y, x = ((np.arange(side, dtype=np.float32) + 0.5) / short for side in (height, width))
    return y[:, None], x[None], short


def _inside(distance: Array, short: int) -> Array:
    """Returns how much of each pixel is inside a shape, by the signed distance to its rim in short sides."""
    return (0.5 - distance * short).clip(0, 1)


def _stars(height: int, width: int) -> Array:
    y, x, short = _units(height, width)
    light = np.zeros((height, width), np.float32)
    spread = np.random.default_rng(5).random((_STARS, 3))
    for down, across, size in spread * (height / short, width / short, 1):
        away = np.hypot(y - down, x - across)
        light = np.maximum(light, _inside(away - _STAR_RADIUS * (0.4 + 0.6 * size), short))
    return light


_PERIOD = 1 / 8
"""Of the cloth patterns, in short sides: 16 pixels in a picture of 128."""


def _stripes(y: Array, x: Array) -> Array:
    return _PERIOD / 4 - np.abs(y % _PERIOD - _PERIOD / 2) + 0 * x


def _dots(y: Array, x: Array) -> Array:
    # Every second row is moved by half a period.
    x = x + _PERIOD / 2 * (y // _PERIOD % 2)
    return np.hypot(y % _PERIOD - _PERIOD / 2, x % _PERIOD - _PERIOD / 2) - 0.34 * _PERIOD


def _checks(y: Array, x: Array) -> Array:
    down, across = (np.abs(at % (2 * _PERIOD) - _PERIOD) - _PERIOD / 2 for at in (y, x))
    return np.where((down < 0) == (across < 0), 1, -1) * np.minimum(np.abs(down), np.abs(across))


_PATTERNS: dict[str, Callable[[Array, Array], Array]] = {
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
}
PATTERNS = tuple(_PATTERNS)


@functools.lru_cache(maxsize=64)
def pattern(name: str, height: int, width: int) -> Array:
    """Returns how much of each pixel one of `PATTERNS` covers, (H, W) float32 in [0, 1]."""
    y, x, short = _units(height, width)
    return _inside(_PATTERNS[name](y, x), short).astype(np.float32)

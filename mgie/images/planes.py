"""Float pictures (h, w, C): averaged, blurred, enlarged, and maps that follow the edges in pictures."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the sides of a picture."""

_TAILS = 4
"""Standard deviations from its middle at which a blur's window ends."""
_EDGE_WINDOW = 1 / 32
"""Standard deviation of the window in which an outline looks for the edge it belongs to, as a share of the
longer side."""
_EDGE_CELLS = 2
"""Cells of a grid along one of these: enough for what is averaged in such windows."""
_EDGE_CONTRAST = 0.03
"""Standard deviation of grey values, in [0, 1], below which there is no edge to follow."""
_EDGE = 0.3, 0.7
"""Share of a changed part's side of an edge at which the part begins, and at which all is inside."""


def ramp(values: Array, start: float, end: float) -> Array:
    """Returns 0 up to `start`, 1 from `end`, smooth between."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def local_maximum(plane: Array, reach: int) -> Array:
    """Returns (h, w, 1): the greatest value of the plane (h, w, 1) within so many pixels each way."""
    for axis in (0, 1):
        plane = _windows(plane, reach, axis, "edge").max(-1)
    return plane


def _windows(picture: Array, reach: int, axis: int, beyond: Literal["constant", "edge"]) -> Array:
    """Returns (h, w, C, 2 * reach + 1): what is along an axis around each pixel, padded beyond the sides."""
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
    return np.lib.stride_tricks.sliding_window_view(np.pad(picture, padding, beyond), 2 * reach + 1, axis)


def averaging(num_centres: int, length: int, sigma: float) -> Array:
    """Returns (num_centres, length): Gaussian weights around evenly spread centres, with the sum 1 each."""
    centres = (np.arange(num_centres) + 0.5) * length / num_centres - 0.5
    weights = np.exp(-0.5 * ((np.arange(length) - centres[:, None]) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def average(down: Array, picture: Array, across: Array) -> Array:
    """Returns (gh, gw, C): the picture (h, w, C) averaged by `down` (gh, h) and `across` (gw, w)."""
    return across @ np.tensordot(down, picture, 1)


def blur(picture: Array, sigma: float) -> Array:
    """Returns the picture (h, w, C) after a Gaussian blur, in which nothing beyond its sides counts."""
    reach = math.ceil(_TAILS * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / sigma) ** 2)
    for axis in (0, 1):
        counted = np.convolve(np.ones(picture.shape[axis], np.float32), weights, "full")[reach:-reach]
        windows = _windows(picture, reach, axis, "constant")
        picture = (windows @ weights) / np.expand_dims(counted, (1 - axis, 2))
    return picture


def enlarge(picture: Array, size: tuple[int, int], box: Box = (0, 0, 1, 1)) -> Array:
    """Returns what a box of (h, w, C) shows, resized to (width, height)."""
    height, width, channels = picture.shape
    pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    planes = (Image.fromarray(np.ascontiguousarray(picture[..., c], np.float32)) for c in range(channels))
    return np.stack([np.asarray(p.resize(size, Image.Resampling.BICUBIC, pixels)) for p in planes], axis=-1)


def along_edges(covered: Array, original: Array, edited: Array | None = None) -> Array:
    """Returns (h, w, 4): weights of red, green and blue and a constant that follow a map along its edges.

    A model knows outlines to a few pixels at working size, the pictures have them exactly: the original those
    of what it shows, an edit those of what came. So the map is written as an affine function of their colours
    around each place (the guided filter; He, Sun and Tang, 2010), and that function is taken with the
    original's own pixels, as in joint upsampling. The edit is known at working size alone: its share is in
    the constant.

    Args:
        covered: (h, w, 1) in [0, 1].
        original: (h, w, 3) in [0, 1], the original at the size of the map.
        edited: (h, w, 3) in [0, 1]; None where the original alone has the edges.
    """
    height, width = covered.shape[:2]
    guide = original if edited is None else np.concatenate([original, edited], axis=-1)
    sigma = _EDGE_WINDOW * max(height, width)
    # What a window averages is smooth, so a grid of places holds it (He and Sun, 2015).
    rows, columns = (max(round(_EDGE_CELLS * side / sigma), 2) for side in (height, width))
    down, across = averaging(rows, height, sigma), averaging(columns, width, sigma)
    mean, mean_covered = average(down, guide, across), average(down, covered, across)
    products = np.einsum("hwi,hwj->hwij", guide, np.concatenate([guide, covered], axis=-1))
    moments = average(down, products.reshape(height, width, -1), across)
    moments = moments.reshape(rows, columns, *products.shape[2:])
    moments -= np.einsum("hwi,hwj->hwij", mean, np.concatenate([mean, mean_covered], axis=-1))
    unlike = _EDGE_CONTRAST**2 * np.eye(guide.shape[-1], dtype=np.float32)
    slopes = np.linalg.solve(moments[..., :-1] + unlike, moments[..., -1:])[..., 0]
    constant = mean_covered - (slopes * mean).sum(-1, keepdims=True)
    maps = enlarge(blur(np.concatenate([slopes, constant], axis=-1), _EDGE_CELLS), (width, height))
    slopes, constant = maps[..., :-1], maps[..., -1:]
    constant += (slopes[..., 3:] * guide[..., 3:]).sum(-1, keepdims=True)
    return np.concatenate([slopes[..., :3], constant], axis=-1)


def at_edges(maps: Array, colours: Array) -> Array:
    """Returns what maps (h, w, 4) of `along_edges` say of colours (h, w, 3) of the original: (h, w, 1)."""
    return ramp(np.einsum("hwc,hwc->hw", maps[..., :3], colours)[..., None] + maps[..., 3:], *_EDGE)

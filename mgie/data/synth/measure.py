"""What operations and checks measure on pictures (H, W, 3) in [0, 1]: luminance, chroma, gradients."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[np.floating]

_REC_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
_CHROMA_GRID = 8


def luminance(pixels: Array) -> Array:
    """Returns the Rec. 709 luma (H, W) of a picture (H, W, 3)."""
    return pixels @ _REC_709


def saturation(pixels: Array) -> float:
    """Returns the mean of max minus min of RGB, the measure of saturation everywhere in this project."""
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def chroma(pixels: Array) -> Array:
    """Returns red minus green and yellow minus blue (..., 2) of a picture (..., 3)."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return np.stack([red - green, (red + green) / 2 - blue], axis=-1)


def chroma_map(pixels: Array) -> Array:
    """Returns red minus green and yellow minus blue (8, 8, 2), averaged over the cells of an 8 by 8 grid."""
    small = np.stack(
        [
            np.asarray(
                Image.fromarray(pixels[..., channel]).resize(
                    (_CHROMA_GRID, _CHROMA_GRID), Image.Resampling.BOX
                )
            )
            for channel in range(3)
        ],
        axis=-1,
    )
    return chroma(small)


def distance(a: Array, b: Array) -> float:
    """Returns the mean Euclidean distance between the vectors along the last axis."""
    return float(np.linalg.norm(a - b, axis=-1).mean())


def gradient(plane: Array) -> Array:
    """Returns the absolute differences to the right and lower neighbour, added, (H - 1, W - 1)."""
    return np.abs(np.diff(plane, axis=1))[:-1] + np.abs(np.diff(plane, axis=0))[:, :-1]


def sharpness(plane: Array, where: NDArray[np.bool_] | None = None) -> float:
    """Returns the mean gradient over the deviation, of all or of some pixels: a darker picture is no softer.

    Args:
        plane: (H, W) in [0, 1].
        where: (H, W), of which pixels.
    """
    inside = np.ones(plane.shape, np.bool_) if where is None else where
    return float(gradient(plane)[inside[:-1, :-1]].mean() / max(plane[inside].std(), 1e-3))


def is_blurred(before: Array, after: Array, wanted: Array, where: NDArray[np.bool_] | None = None) -> bool:
    """Returns whether a plane (H, W) is blurred at least half of the way that it should be, and still itself.

    Args:
        before: what was to be blurred.
        after: what is looked at.
        wanted: the exact blur.
        where: (H, W), at which pixels.
    """
    inside = np.ones(before.shape, np.bool_) if where is None else where
    if correlation(after[inside], wanted[inside]) <= 0.7:  # not just something smooth
        return False
    sharp = sharpness(before, where)
    return sharpness(after, where) <= min((sharp + sharpness(wanted, where)) / 2, 0.8 * sharp)


def correlation(a: Array, b: Array) -> float:
    """Returns the correlation coefficient of two arrays of one shape; 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def blurred(pixels: Array, radius: float) -> Array:
    """Returns the picture, or the plane (H, W), after a Gaussian blur.

    Args:
        pixels: (H, W, 3) or (H, W) in [0, 1].
        radius: standard deviation, relative to the short side.
    """
    as_image = Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))
    soft = as_image.filter(ImageFilter.GaussianBlur(radius * min(pixels.shape[:2])))
    return np.asarray(soft, np.float32) / 255

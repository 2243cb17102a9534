"""Masks: where a picture may change. White may, black may not."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from mgie.errors import ImageError
from mgie.images.photo import open_photo

_FEATHER = 1 / 100
"""Widest transition inside a mask, as a share of the picture's longer side."""
_WHITE = 16
"""A mask whose lightest level is below this, such as one of 0 and 1, would let next to nothing change."""


def open_mask(source: str | Path | Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns a mask as mode L; grey may change in part.

    Args:
        source: a file or picture of any mode, taken by its luminance.
        size: (width, height) of the upright picture that it belongs to.

    Raises:
        ImageError: it cannot be read, has another size, is transparent anywhere, or nowhere light.
    """
    name = "the mask" if isinstance(source, Image.Image) else f"the mask {source}"
    photo = open_photo(source)
    mask = photo.image.convert("L")
    if mask.size != size:
        raise ImageError(
            f"{name} has {mask.width}x{mask.height} pixels; "
            f"expected {size[0]}x{size[1]}, as the upright picture"
        )
    # Of what nobody sees, a drawing on a transparent layer for one, it cannot be told what is meant.
    if photo.alpha is not None and np.asarray(photo.alpha).min() < 255:
        raise ImageError(f"{name} is transparent in places; expected white on black: flatten it")
    if (lightest := np.asarray(mask).max()) < _WHITE:
        raise ImageError(
            f"{name} is black everywhere: its lightest level is {lightest} of 255; expected white where the "
            "picture may change"
        )
    return mask


def feathered(mask: Image.Image) -> Image.Image:
    """Returns the mask with a soft edge that lies inside it: what was black stays black.

    The transition is a hundredth of the picture wide, or less where the white parts are thin.
    """
    levels = np.asarray(mask, np.float32) / 255
    inside = levels > 0
    edge = np.count_nonzero(inside[1:] != inside[:-1]) + np.count_nonzero(inside[:, 1:] != inside[:, :-1])
    if edge == 0:
        return mask
    thickness = 2 * float(inside.sum()) / float(edge)
    radius = min(_FEATHER * max(mask.size), thickness / 8)
    # A blurred straight edge is at one half where the mask ends, so the upper half is the transition.
    soft = np.asarray(mask.point([0] + [255] * 255).filter(ImageFilter.GaussianBlur(radius)), np.float32)
    weights = levels * np.clip(soft / 127.5 - 1, 0, 1)
    return Image.fromarray(np.rint(weights * 255).astype(np.uint8))

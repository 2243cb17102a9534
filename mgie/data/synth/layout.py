"""Objects on a picture: where they stand, how large they are, and how the picture's light falls on them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from PIL import Image, ImageFilter

from mgie.data.synth.colour import COLOURS, duotone
from mgie.data.synth.measure import Array
from mgie.data.synth.objects import Objects
from mgie.data.synth.scene import Arrival, Box, Mask, Pixels, as_picture, as_pixels
from mgie.data.synth.wording import pick
from mgie.errors import DataError

PLACES: dict[str, tuple[float, float]] = {
    "at the top left": (0.2, 0.2),
    "at the top": (0.5, 0.2),
    "at the top right": (0.8, 0.2),
    "on the left": (0.2, 0.5),
    "in the middle": (0.5, 0.5),
    "on the right": (0.8, 0.5),
    "at the bottom left": (0.2, 0.8),
    "at the bottom": (0.5, 0.8),
    "at the bottom right": (0.8, 0.8),
}
"""Centres of objects as shares of the picture's width and height, by what people say."""

SCALES = {"small": 0.28, "medium-sized": 0.38, "large": 0.5}
"""The longer side of an object as a share of the picture's short side."""

_CROWD = 6
"""Most objects of a crowd."""
_RIM = 0.02
_MAX_OVERLAP = 0.1
_SEEN = 6 / 255
"""Change of a channel that is seen; a shadow belongs to its thing."""
_VISIBLE = 4 / 255
_GROWN = 0.025

# Chosen by eye on photographs.
_SHADOW = 0.6
_SHADOW_SIZE = np.array([0.1, 0.5], np.float32)
_DARKEST, _LIGHT = 0.65, 0.6


@dataclass(frozen=True)
class Placed:
    """An object on a picture."""

    name: str
    place: str
    """One of `PLACES`."""
    share: float = SCALES["medium-sized"]
    """Its longer side as a share of the picture's short side."""
    colour: str = ""
    """One of `COLOURS`, in which it is dyed; empty for its own colours."""

    @property
    def title(self) -> str:
        """Its name, after the colour if it is dyed."""
        return f"{self.colour} {self.name}".lstrip()


Layout = tuple[Placed, ...]
"""What stands on a picture."""


def box_of(placed: Placed, shape: tuple[int, ...]) -> Box:
    """Returns the square that an object has on a picture of shape (H, W, ...): around its place, but inside.

    Raises:
        DataError: if there is no such place.
    """
    if placed.place not in PLACES:
        raise DataError(f"no place {placed.place!r}; expected one of {', '.join(PLACES)}")
    height, width = shape[:2]
    side = max(1, round(placed.share * min(height, width)))
    rim = round(_RIM * min(height, width))
    x, y = PLACES[placed.place]
    left = np.clip(round(x * width - side / 2), rim, max(rim, width - side - rim))
    top = np.clip(round(y * height - side / 2), rim, max(rim, height - side - rim))
    return Box(int(top), int(left), min(side, height, width))


def are_apart(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Returns whether no object of a layout covers much of another one's square."""

    def shared(a: Box, b: Box) -> float:
        across = min(a.left + a.side, b.left + b.side) - max(a.left, b.left)
        down = min(a.top + a.side, b.top + b.side) - max(a.top, b.top)
        return max(across, 0) * max(down, 0) / min(a.side, b.side) ** 2

    boxes = [box_of(placed, shape) for placed in layout]
    return all(shared(a, b) <= _MAX_OVERLAP for a, b in combinations(boxes, 2))


def crowd(names: tuple[str, ...], shape: tuple[int, ...], rng: np.random.Generator) -> Layout:
    """Returns different objects of one size at random places of a picture of shape (H, W, ...)."""
    share = pick(rng, tuple(SCALES.values()))
    wanted = rng.choice(len(names), min(len(names), int(rng.integers(2, _CROWD + 1))), replace=False)
    places = rng.permutation(list(PLACES)).tolist()
    layout: Layout = ()
    for i in wanted:
        while places:
            larger = (*layout, Placed(names[i], places.pop(), share))
            if are_apart(larger, shape):
                layout = larger
                break
    return layout


def dyed(picture: Image.Image, colour: str) -> Image.Image:
    """Returns an RGBA picture in shades of one of `COLOURS`; the transparency stays.

    Raises:
        DataError: if there is no such colour.
    """
    if colour not in COLOURS:
        raise DataError(f"no colour {colour!r}; expected one of {', '.join(COLOURS)}")
    tinted = duotone(as_pixels(picture.convert("RGB")), np.array(COLOURS[colour], np.float32))
    result = as_picture(tinted)
    result.putalpha(picture.getchannel("A"))
    return result


def cover(placed: Placed, shape: tuple[int, ...], objects: Objects) -> tuple[Box, Array]:
    """Returns an object's square and what it looks like there, RGBA (side, side, 4) in [0, 1].

    It stands in the middle of the square's lower edge.
    """
    box = box_of(placed, shape)
    picture = objects.picture(placed.name)
    scale = box.side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    if placed.colour:
        picture = dyed(picture, placed.colour)
    square = Image.new("RGBA", (box.side, box.side))
    square.paste(picture, ((box.side - size[0]) // 2, box.side - size[1]))
    return box, np.asarray(square, np.float32) / np.float32(255)


def render(pixels: Pixels, layout: Iterable[Placed], objects: Objects) -> Pixels:
    """Returns a picture (H, W, 3) in [0, 1] with objects on it, those lower down before those above.

    Raises:
        DataError: if an object, a place or a colour is unknown, or an object's picture cannot be read.
    """
    result = pixels.copy()
    shape, mean = pixels.shape, _mean(pixels)

    def feet(placed: Placed) -> tuple[int, int, str]:
        box = box_of(placed, shape)
        return box.top + box.side, box.left, placed.name

    for placed in sorted(layout, key=feet):
        box, rgba = cover(placed, shape, objects)
        _shade(result, box, _width(rgba))
        # Half of the light is that of the place, half of it the picture's; both with their colours.
        light = _DARKEST + _LIGHT * (_mean(pixels[box.part]) + mean) / 2
        colours, alpha = np.minimum(rgba[..., :3] * light, 1), rgba[..., 3:]
        result[box.part] += (colours - result[box.part]) * alpha
    return result


def staying(before: Layout, after: Layout) -> Layout:
    """Returns what is there before and after an edit, in whatever colour."""
    outlines = {replace(placed, colour="") for placed in after}
    return tuple(placed for placed in before if replace(placed, colour="") in outlines)


def arrivals(before: Layout, after: Layout, shape: tuple[int, ...]) -> tuple[Arrival, ...]:
    """Returns the squares of what comes where it was not, or in another size, from left to right."""
    found = list[Arrival]()
    stays = staying(after, before)
    for new in after:
        if new in stays:
            continue
        looks_same = [old for old in before if (old.name, old.colour) == (new.name, new.colour)]
        found.append((box_of(looks_same[0], shape) if looks_same else None, box_of(new, shape)))
    return tuple(sorted(found, key=lambda arrival: arrival[1].left))


def thing_mask(source: Pixels, without: Pixels) -> Mask:
    """Returns the pixels (H, W) of things that one of two scenes (H, W, 3) has and the other has not."""
    return np.abs(source - without).max(-1) > _SEEN


def changed(source: Pixels, target: Pixels) -> Mask:
    """Returns where two pictures differ, and a little around it."""
    differs = np.abs(source - target) @ np.ones(3, np.float32) > _VISIBLE
    # A box blur is many times faster than a maximum filter, and as good on areas.
    grown = Image.fromarray(differs).convert("L").filter(ImageFilter.BoxBlur(_GROWN * min(differs.shape)))
    return differs | (np.asarray(grown) > 0)


def _mean(pixels: Pixels) -> Array:
    """Returns the mean colour (3,), many times faster than `pixels.mean(axis=(0, 1))`."""
    height, width, _ = pixels.shape
    return np.ones(height, np.float32) @ (np.ones(width, np.float32) @ pixels) / (height * width)


def _width(rgba: Array) -> float:
    """Returns the width of the object's lower part as a share of its square."""
    columns = rgba[-max(1, len(rgba) // 3) :, :, 3].max(axis=0) > 0.5
    return float(columns.mean())


def _shade(pixels: Pixels, box: Box, width: float) -> None:
    """Darkens the ground under an object, softly."""
    half = _SHADOW_SIZE * np.array([1, max(width, 0.2)], np.float32) * box.side
    foot, middle = box.top + box.side - half[0] * 0.5, box.left + box.side / 2
    reach = 2.2
    rows = slice(max(0, int(foot - reach * half[0])), int(foot + reach * half[0]) + 1)
    columns = slice(max(0, int(middle - reach * half[1])), int(middle + reach * half[1]) + 1)
    part = pixels[rows, columns]
    y, x = np.ogrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
    distance = ((y + 0.5 - foot) / half[0]) ** 2 + ((x + 0.5 - middle) / half[1]) ** 2
    part *= 1 - _SHADOW * np.exp(-1.2 * distance)[..., None].astype(np.float32)

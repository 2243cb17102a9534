"""Masks: white may change, black stays."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mgie.errors import ImageError
from mgie.images import open_mask
from mgie.images.mask import feathered


def drawn(size: tuple[int, int], *box: int) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def on_a_layer(size: tuple[int, int], *box: int) -> Image.Image:
    layer = Image.new("RGBA", size)
    ImageDraw.Draw(layer).rectangle(box, fill="white")
    return layer


def test_any_mode_is_taken_by_its_luminance() -> None:
    mask = drawn((64, 48), 10, 10, 30, 30)
    for mode in ("L", "1", "RGB", "P", "LA"):
        assert open_mask(mask.convert(mode), (64, 48)).tobytes() == mask.tobytes()


@pytest.mark.parametrize(
    "mask, message",
    [
        (Image.new("L", (64, 64), 255), "64x64 pixels; expected 64x48"),
        (Image.new("L", (64, 48)), "black everywhere"),
        (drawn((64, 48), 10, 10, 30, 30).point(lambda level: level // 255), "lightest level is 1 of 255"),
        (on_a_layer((64, 48), 10, 10, 30, 30), "transparent in places"),
    ],
)
def test_unusable_masks(mask: Image.Image, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_mask(mask, (64, 48))


def test_the_soft_edge_lies_inside() -> None:
    mask = drawn((400, 300), 100, 100, 299, 199)
    weights = np.asarray(feathered(mask))
    assert not weights[np.asarray(mask) == 0].any()
    assert (weights[115:185, 115:285] == 255).all()
    edge = weights[150, 100:115].astype(int)
    assert edge[0] < 60 and (np.diff(edge) >= 0).all() and np.diff(edge).max() < 80  # rises step by step


def test_thin_strokes_do_not_vanish() -> None:
    for width in (1, 3, 6):
        weights = np.asarray(feathered(drawn((600, 400), 100, 200, 500, 199 + width)))
        assert weights[200 : 200 + width, 150:450].max() > 100


def test_white_everywhere_has_no_edge() -> None:
    assert np.asarray(feathered(Image.new("L", (50, 40), 255))).min() == 255


def test_grey_may_change_in_part() -> None:
    grey = drawn((300, 200), 50, 50, 250, 150).point(lambda level: level // 2)
    assert np.asarray(feathered(grey))[100, 150] == 127

"""What an edit rearranges comes from the original itself."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mgie.images import Rearrangement, return_to_native

WIDTH, HEIGHT, RADIUS = 640, 480, 60
OLD = (160, 240)
"""x and y of the middle of a disc with a fine grain, in pixels."""
SIZE = (320, 240)
"""Working width and height."""


def away(x: float, y: float) -> np.ndarray:
    return np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] + 0.5 - np.array([y, x])[:, None, None]))


def unit(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def without() -> np.ndarray:
    """Returns the photograph's ground, which is all that shows where the disc is gone."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    return np.stack([0.3 + 0.2 * x, 0.5 + 0.2 * y, 0.35 + 0 * x], axis=-1)


def photograph() -> Image.Image:
    """Returns smooth ground with the disc on it."""
    rng = np.random.default_rng(0)
    grain = np.float32([0.75, 0.3, 0.25]) + 0.15 * rng.choice([-1, 1], (HEIGHT // 2, WIDTH // 2, 1))
    disc = (away(*OLD) < RADIUS)[..., None]
    picture = np.where(disc, grain.repeat(2, 0).repeat(2, 1), without())
    return Image.fromarray(np.uint8(np.rint(picture.clip(0, 1) * 255)))


def box(x: float, y: float, radius: float = RADIUS) -> tuple[float, float, float, float]:
    left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    return left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT


def covered(x: float, y: float, radius: float = RADIUS) -> np.ndarray:
    """Returns how much of each pixel at working size a disc covers."""
    inside = (away(x, y) < radius).reshape(SIZE[1], 2, SIZE[0], 2)
    return inside.mean((1, 3), dtype=np.float32)[..., None]


def ground() -> np.ndarray:
    """Returns what is behind the disc, at working size."""
    return without().reshape(SIZE[1], 2, SIZE[0], 2, 3).mean((1, 3), dtype=np.float32)


def copied_to(x: float, y: float, radius: float = RADIUS) -> Rearrangement:
    outline = covered(*OLD)
    nothing = np.zeros_like(outline)
    return Rearrangement(ground(), nothing, nothing, outline, ((box(*OLD), box(x, y, radius)),))


def edited(image: Image.Image, x: float, y: float, radius: float = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Returns source and edit at working size, as soft as a model's, which takes along what is around."""
    thing = image.resize(
        (int(2.6 * radius),) * 2,
        box=(OLD[0] - 1.3 * RADIUS, OLD[1] - 1.3 * RADIUS, OLD[0] + 1.3 * RADIUS, OLD[1] + 1.3 * RADIUS),
    )
    whole = image.copy()
    whole.paste(thing, (int(x - 1.3 * radius), int(y - 1.3 * radius)))
    soft = (picture.filter(ImageFilter.GaussianBlur(5)).resize(SIZE) for picture in (image, whole))
    source, edit = map(unit, soft)
    return source, edit


def result(x: float, y: float, radius: float = RADIUS, **options) -> np.ndarray:
    image = photograph()
    return unit(return_to_native(image, *edited(image, x, y, radius), **options))


def test_a_thing_keeps_its_detail_where_it_comes() -> None:
    image, inside = unit(photograph()), away(464, 240) < RADIUS - 4
    moved = np.roll(image, 464 - OLD[0], axis=1)
    enlarged, copied = (
        np.abs(result(464, 240, rearrangement=told) - moved)[inside].mean()
        for told in (None, copied_to(464, 240))
    )
    assert copied < 0.005 < 0.1 < enlarged


def test_what_stood_around_it_stays_there() -> None:
    image, around = unit(photograph()), (away(464, 240) > RADIUS + 4) & (away(464, 240) < RADIUS + 40)
    taken, left = (
        np.abs(result(464, 240, rearrangement=told) - image)[around].mean()
        for told in (None, copied_to(464, 240))
    )
    assert left < 0.5 * taken


def test_what_goes_leaves_what_is_behind_it() -> None:
    """What the model painted there is as coarse as its places."""
    image, goes = photograph(), covered(*OLD, RADIUS + 6)
    source = unit(image.resize(SIZE))
    edit = np.where(covered(*OLD, RADIUS + 12) > 0, np.float32([0.5, 0.5, 0.5]), source)
    nothing = np.zeros_like(goes)
    shown, taken = (
        unit(return_to_native(image, source, edit, rearrangement=told))
        for told in (Rearrangement(ground(), goes, nothing, nothing), None)
    )
    assert np.abs(shown - without()).mean() < 0.25 * np.abs(taken - without()).mean()
    assert np.abs(shown - without()).max() < 0.1
    beside = (away(*OLD) > RADIUS + 8) & (away(*OLD) < RADIUS + 24)
    assert np.abs(shown - unit(image))[beside].max() < 0.02


def test_what_a_thing_lays_bare_is_what_is_behind() -> None:
    """One that is moved a little still covers a part of where it was."""
    outline = covered(*OLD)
    nothing = np.zeros_like(outline)
    moved = Rearrangement(ground(), outline, nothing, outline, ((box(*OLD), box(200, 240)),))
    shown = result(200, 240, rearrangement=moved)
    laid_bare = (away(*OLD) < RADIUS - 8) & (away(200, 240) > RADIUS + 8)
    assert np.abs(shown - without())[laid_bare].mean() < 0.02
    disc = np.roll(unit(photograph()), 40, axis=1)
    assert np.abs(shown - disc)[away(200, 240) < RADIUS - 4].mean() < 0.01


def test_what_is_drawn_over_a_hole_is_the_edits() -> None:
    image, goes, drawn = photograph(), covered(*OLD), covered(*OLD, 30)
    source = unit(image.resize(SIZE))
    edit = np.where(covered(*OLD, RADIUS + 12) > 0, np.float32([0.9, 0.9, 0.1]), source)
    told = Rearrangement(ground(), goes, drawn, np.zeros_like(goes))
    shown = unit(return_to_native(image, source, edit, rearrangement=told))
    assert np.abs(shown - [0.9, 0.9, 0.1])[away(*OLD) < 20].mean() < 0.05
    ring = (away(*OLD) > 46) & (away(*OLD) < RADIUS)
    assert np.abs(shown - without())[ring].mean() < 0.05
    everywhere = np.ones_like(goes)
    assert Rearrangement(ground(), goes, everywhere, 0 * goes).patches(image, source) == []


@pytest.mark.parametrize("radius", [30, 90])
def test_it_may_come_in_another_size(radius: int) -> None:
    image = photograph()
    corners = (OLD[0] - RADIUS, OLD[1] - RADIUS, OLD[0] + RADIUS, OLD[1] + RADIUS)
    wanted = unit(image.resize((2 * radius,) * 2, Image.Resampling.LANCZOS, corners))
    shown = result(464, 240, radius, rearrangement=copied_to(464, 240, radius))
    part = shown[240 - radius : 240 + radius, 464 - radius : 464 + radius]
    inside = np.hypot(*(np.mgrid[: 2 * radius, : 2 * radius] + 0.5 - radius)) < radius - 4
    assert np.abs(part - wanted)[inside].mean() < 0.01


@pytest.mark.parametrize(("x", "y"), [(620, 240), (464, 10), (20, 470)])
def test_a_part_of_it_may_be_out_of_the_picture(x: int, y: int) -> None:
    moved = np.roll(unit(photograph()), (y - OLD[1], x - OLD[0]), axis=(0, 1))
    shown = result(x, y, rearrangement=copied_to(x, y))
    assert np.abs(shown - moved)[away(x, y) < RADIUS - 4].mean() < 0.01


def test_out_of_the_picture_there_is_nothing() -> None:
    assert copied_to(-200, 240).patches(photograph(), unit(photograph().resize(SIZE))) == []


def test_a_mask_holds_for_it_too() -> None:
    image = photograph()
    mask = Image.fromarray(np.uint8(255 * (np.mgrid[:HEIGHT, :WIDTH][1] < 464)))
    shown = result(464, 240, rearrangement=copied_to(464, 240), mask=mask)
    assert np.array_equal(shown[:, 464:], unit(image)[:, 464:])
    assert np.abs(shown - unit(image))[away(434, 240) < 15].mean() > 0.1


def test_strips_cut_it_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = result(464, 240, rearrangement=copied_to(464, 240))
    monkeypatch.setattr("mgie.images.native._STRIP_PIXELS", WIDTH * 7)
    assert np.abs(result(464, 240, rearrangement=copied_to(464, 240)) - whole).max() <= 1.001 / 255

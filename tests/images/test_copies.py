"""What an edit shows again comes from the original itself."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mgie.images import Copy, return_to_native
from mgie.images.copies import cut_out

WIDTH, HEIGHT, RADIUS = 640, 480, 60
OLD = (160, 240)
"""x and y of the middle of a disc with a fine grain, in pixels."""
SIZE = (320, 240)
"""Working width and height; outlines have an eighth of it."""


def away(x: float, y: float) -> np.ndarray:
    return np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] + 0.5 - np.array([y, x])[:, None, None]))


def unit(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def photograph() -> Image.Image:
    """Returns smooth ground with the disc on it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    ground = np.stack([0.3 + 0.2 * x, 0.5 + 0.2 * y, 0.35 + 0 * x], axis=-1)
    grain = np.float32([0.75, 0.3, 0.25]) + 0.15 * rng.choice([-1, 1], (HEIGHT // 2, WIDTH // 2, 1))
    disc = (away(*OLD) < RADIUS)[..., None]
    picture = np.where(disc, grain.repeat(2, 0).repeat(2, 1), ground)
    return Image.fromarray(np.uint8(np.rint(picture.clip(0, 1) * 255)))


def box(x: float, y: float, radius: float = RADIUS) -> tuple[float, float, float, float]:
    left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    return left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT


def places(picture: np.ndarray) -> np.ndarray:
    """Returns how much of each place of latents a map of the picture's size covers."""
    return picture.reshape(HEIGHT // 16, 16, WIDTH // 16, 16).mean((1, 3), dtype=np.float32)[..., None]


def copy_to(x: float, y: float, radius: float = RADIUS) -> Copy:
    outline = places(away(*OLD) < RADIUS)
    return Copy(outline, np.zeros_like(outline), box(*OLD), box(x, y, radius))


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
        np.abs(result(464, 240, copies=copies) - moved)[inside].mean() for copies in ([], [copy_to(464, 240)])
    )
    assert copied < 0.005 < 0.1 < enlarged


def test_what_stood_around_it_stays_there() -> None:
    image, around = unit(photograph()), (away(464, 240) > RADIUS + 4) & (away(464, 240) < RADIUS + 40)
    taken, left = (
        np.abs(result(464, 240, copies=copies) - image)[around].mean() for copies in ([], [copy_to(464, 240)])
    )
    assert left < 0.5 * taken


def test_what_goes_is_no_fringe() -> None:
    """What a thing that is moved a little lays bare is the edit's, not the original's."""
    outline = places(away(*OLD) < RADIUS)
    image, (source, edit) = photograph(), edited(photograph(), 200, 240)
    bare = places(away(*OLD) < RADIUS + 8).repeat(8, 0).repeat(8, 1)
    edit = np.where(bare > 0.5, np.float32([0.9, 0.9, 0.2]), edit)
    moved = Copy(outline, outline, box(*OLD), box(200, 240))
    shown = unit(return_to_native(image, source, edit, copies=[moved]))
    laid_bare = (away(*OLD) < RADIUS - 8) & (away(200, 240) > RADIUS + 8)
    assert np.abs(shown - [0.9, 0.9, 0.2])[laid_bare].mean() < 0.1


@pytest.mark.parametrize("radius", [30, 90])
def test_it_may_come_in_another_size(radius: int) -> None:
    image = photograph()
    corners = (OLD[0] - RADIUS, OLD[1] - RADIUS, OLD[0] + RADIUS, OLD[1] + RADIUS)
    wanted = unit(image.resize((2 * radius,) * 2, Image.Resampling.LANCZOS, corners))
    shown = result(464, 240, radius, copies=[copy_to(464, 240, radius)])
    part = shown[240 - radius : 240 + radius, 464 - radius : 464 + radius]
    inside = np.hypot(*(np.mgrid[: 2 * radius, : 2 * radius] + 0.5 - radius)) < radius - 4
    assert np.abs(part - wanted)[inside].mean() < 0.01


@pytest.mark.parametrize(("x", "y"), [(620, 240), (464, 10), (20, 470)])
def test_a_part_of_it_may_be_out_of_the_picture(x: int, y: int) -> None:
    moved = np.roll(unit(photograph()), (y - OLD[1], x - OLD[0]), axis=(0, 1))
    shown = result(x, y, copies=[copy_to(x, y)])
    assert np.abs(shown - moved)[away(x, y) < RADIUS - 4].mean() < 0.01


def test_out_of_the_picture_there_is_nothing() -> None:
    assert cut_out(photograph(), copy_to(-200, 240), unit(photograph().resize(SIZE))) is None


def test_a_mask_holds_for_it_too() -> None:
    image = photograph()
    mask = Image.fromarray(np.uint8(255 * (np.mgrid[:HEIGHT, :WIDTH][1] < 464)))
    shown = result(464, 240, copies=[copy_to(464, 240)], mask=mask)
    assert np.array_equal(shown[:, 464:], unit(image)[:, 464:])
    assert np.abs(shown - unit(image))[away(434, 240) < 15].mean() > 0.1


def test_strips_cut_it_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = result(464, 240, copies=[copy_to(464, 240)])
    monkeypatch.setattr("mgie.images.native._STRIP_PIXELS", WIDTH * 7)
    assert np.abs(result(464, 240, copies=[copy_to(464, 240)]) - whole).max() <= 1.001 / 255

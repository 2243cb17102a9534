import itertools
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from mgie.data.synth import FAMILIES, MadeEdit, Pixels
from mgie.data.synth.family import WholePicture
from mgie.data.synth.wording import Params

WHOLE = {name: family for name, family in FAMILIES.items() if isinstance(family, WholePicture)}


def variants(name: str) -> list[Params]:
    choices = WHOLE[name].choices
    return [
        dict(zip(choices, values, strict=True))
        for values in itertools.product(*map(dict.fromkeys, choices.values()))
    ]


ALL = [pytest.param(n, p, id="-".join((n, *p.values()))) for n in WHOLE for p in variants(n)]
USUAL = {name: {k: v[0] for k, v in family.choices.items()} for name, family in WHOLE.items()}


@pytest.mark.parametrize(("name", "params"), ALL)
def test_target_is_a_picture_that_shows_the_edit(name: str, params: Params, source: Pixels) -> None:
    untouched = source.copy()
    target = WHOLE[name].apply(source, params)
    assert target.shape == source.shape and target.dtype == np.float32
    assert target.min() >= 0 and target.max() <= 1
    assert np.array_equal(source, untouched)
    assert WHOLE[name].shows(source, target, params)
    assert not WHOLE[name].shows(source, source.copy(), params)
    assert np.array_equal(target, WHOLE[name].apply(source, params))


@pytest.mark.parametrize("name", WHOLE)
def test_edit_survives_storage_as_8_bit_and_a_slightly_soft_copy(name: str, source: Pixels) -> None:
    target = WHOLE[name].apply(source, USUAL[name])
    stored = Image.fromarray((target * 255 + 0.5).astype(np.uint8))
    soft = stored.resize((112, 84), Image.Resampling.LANCZOS).resize((128, 96), Image.Resampling.BICUBIC)
    for picture in (stored, soft):
        assert WHOLE[name].shows(source, np.asarray(picture, np.float32) / 255, USUAL[name])


@pytest.mark.parametrize("name", sorted(WHOLE.keys() - {"pixelate", "poster", "sketch"}))
def test_same_edit_at_every_size(name: str) -> None:
    smooth = Image.fromarray(np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8))
    large, small = (
        np.asarray(smooth.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
        for size in ((560, 400), (140, 100))
    )
    edited = Image.fromarray((WHOLE[name].apply(large, USUAL[name]) * 255 + 0.5).astype(np.uint8))
    reduced = np.asarray(edited.resize((140, 100), Image.Resampling.BOX), np.float32) / 255
    assert np.abs(reduced - WHOLE[name].apply(small, USUAL[name])).mean() < 0.01


DIFFERENT = [
    ("tint", {"colour": "red", "strength": "normal"}, "tint", {"colour": "blue", "strength": "normal"}),
    ("tint", {"colour": "green", "strength": "normal"}, "tint", {"colour": "magenta", "strength": "normal"}),
    ("tint", {"colour": "blue", "strength": "strong"}, "tint", {"colour": "yellow", "strength": "strong"}),
    ("border", {"colour": "red", "strength": "normal"}, "border", {"colour": "blue", "strength": "normal"}),
    ("brighter", USUAL["brighter"], "darker", USUAL["darker"]),
    ("darker", USUAL["darker"], "brighter", USUAL["brighter"]),
    ("contrast_up", USUAL["contrast_up"], "contrast_down", USUAL["contrast_down"]),
    ("contrast_down", USUAL["contrast_down"], "darker", USUAL["darker"]),
    ("saturate", USUAL["saturate"], "desaturate", USUAL["desaturate"]),
    ("desaturate", USUAL["desaturate"], "grey", USUAL["grey"]),
    ("desaturate", USUAL["desaturate"], "darker", USUAL["darker"]),
    ("grey", USUAL["grey"], "sepia", USUAL["sepia"]),
    ("grey", USUAL["grey"], "night", USUAL["night"]),
    ("sepia", USUAL["sepia"], "grey", USUAL["grey"]),
    ("warmer", USUAL["warmer"], "cooler", USUAL["cooler"]),
    ("cooler", USUAL["cooler"], "warmer", USUAL["warmer"]),
    ("night", USUAL["night"], "darker", USUAL["darker"]),
    ("sunset", USUAL["sunset"], "night", USUAL["night"]),
    ("fog", USUAL["fog"], "darker", USUAL["darker"]),
    ("invert", USUAL["invert"], "grey", USUAL["grey"]),
    ("blur", USUAL["blur"], "darker", USUAL["darker"]),
    ("vignette", USUAL["vignette"], "darker", USUAL["darker"]),
    ("poster", USUAL["poster"], "contrast_up", USUAL["contrast_up"]),
    ("pixelate", USUAL["pixelate"], "blur", USUAL["blur"]),
    ("sketch", USUAL["sketch"], "grey", USUAL["grey"]),
    ("border", USUAL["border"], "brighter", USUAL["brighter"]),
]


@pytest.mark.parametrize(("name", "params", "other", "other_params"), DIFFERENT)
def test_check_fails_for_another_edit(
    name: str, params: Params, other: str, other_params: Params, source: Pixels
) -> None:
    assert not WHOLE[name].shows(source, WHOLE[other].apply(source, other_params), params)


def test_checks_of_the_issue_are_met_literally(source: Pixels) -> None:
    def saturation(pixels: Pixels) -> float:
        return float((pixels.max(2) - pixels.min(2)).mean())

    half = source.mean(2, keepdims=True) + (source - source.mean(2, keepdims=True)) * 0.5
    third = source.mean(2, keepdims=True) + (source - source.mean(2, keepdims=True)) * 0.3
    grey = MadeEdit(family="grey", params={})
    assert saturation(half) > 0.4 * saturation(source) and not grey.shows(source, half)
    assert saturation(third) < 0.4 * saturation(source) and grey.shows(source, third)
    darker = MadeEdit(family="darker", params=USUAL["darker"])
    assert darker.shows(source, source * 0.84) and not darker.shows(source, source * 0.86)


def test_strength_is_ordered(photo: Callable[..., Pixels]) -> None:
    pixels = photo(5)
    for name, family in WHOLE.items():
        if family.choices.get("strength", ()).count("slight"):
            change = [
                np.abs(family.apply(pixels, USUAL[name] | {"strength": s}) - pixels).mean()
                for s in ("slight", "normal", "strong")
            ]
            assert change == sorted(change) and change[2] > 1.2 * change[0], name


@pytest.mark.parametrize("name", WHOLE)
def test_tiny_and_plain_pictures_do_no_harm(photo: Callable[..., Pixels], name: str) -> None:
    for pixels in (photo(1, 16, 16), np.zeros((16, 20, 3), np.float32), np.ones((20, 16, 3), np.float32)):
        target = WHOLE[name].apply(pixels, USUAL[name])
        assert target.shape == pixels.shape and np.isfinite(target).all()
        assert not WHOLE[name].shows(pixels, pixels, USUAL[name])

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "train"))
classify = importlib.import_module("classify_requests").classify
prepare = importlib.import_module("prepare_photographs")


@pytest.mark.parametrize(
    ("request_text", "family", "params"),
    [
        ("Please brighten the picture a lot.", "brighter", {"strength": "strong"}),
        ("Could you make this photo a little bit darker?", "darker", {"strength": "slight"}),
        ("Increase contrast.", "contrast_up", {"strength": "normal"}),
        ("Remove the color from this image", "grey", {}),
        ("add a purple tint to the photo", "tint", {"colour": "purple", "strength": "normal"}),
        ("Add a thick black border around the image", "border", {"colour": "black", "strength": "strong"}),
    ],
)
def test_plain_requests_are_understood(request_text: str, family: str, params: dict[str, str]) -> None:
    assert classify(request_text) == (family, params)


@pytest.mark.parametrize(
    "request_text",
    [
        "brighten the sky",
        "blur the background",
        "increase brightness and contrast",
        "make it brighter but slightly less saturated",
        "make the dress red",
        "remove the man",
        "please make this picture so bright that nobody can see anything on it any more at all",
    ],
)
def test_regions_second_wishes_and_stories_are_left_out(request_text: str) -> None:
    assert classify(request_text) is None


def test_hold_out_and_scene_names() -> None:
    assert prepare.held_out("samples/00_hat.jpg")
    paths = [f"things/images/{number}.webp" for number in range(1600)]
    assert 70 < sum(map(prepare.held_out, paths)) < 130
    labels = ["carSide az30deg", "water river", "Sky", "building, edifice", "bird left mid water"]
    assert [prepare.scene_name(label) for label in labels] == ["car", "river", "sky", "building", "bird"]

import json
from pathlib import Path

import pytest
from PIL import Image

from mgie.data.photographs import Photograph, read_photographs
from mgie.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "b.png")
    Image.new("L", (10, 10), 100).save(tmp_path / "below" / "a.JPG", format="JPEG")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_any_folder_of_pictures(folder: Path) -> None:
    photographs = read_photographs(folder)
    assert photographs == [Photograph(path=folder / "b.png"), Photograph(path=folder / "below" / "a.JPG")]
    assert photographs[0].load().size == (20, 10) and photographs[0].load().mode == "RGB"
    assert photographs[1].load().size == (10, 10)


def test_listing_gives_names_captions_regions_and_split(folder: Path) -> None:
    row = {
        "image": "b.png",
        "names": ["car", "road"],
        "captions": ["A car."],
        "regions": [["car", "m.png"]],
        "unmarked": True,
        "split": "test",
    }
    (folder / "photographs.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"image": "below/a.JPG"}))
    full, bare = read_photographs(folder)
    assert full == Photograph(
        path=folder / "b.png",
        names=("car", "road"),
        captions=("A car.",),
        regions=(("car", folder / "m.png"),),
        unmarked=True,
        split="test",
    )
    assert bare == Photograph(path=folder / "below" / "a.JPG")


def test_photographs_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_photographs(tmp_path)[0].load().size == (10, 20)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"names": []}, "image is None"),
        ({"image": "b.png", "names": "car"}, "names is 'car'; expected a list of texts"),
        ({"image": "b.png", "regions": [["car"]]}, "expected a list of "),
        ({"image": "b.png", "split": 1}, "split is 1"),
        ({"image": "b.png", "unmarked": 1}, "unmarked is 1; expected true or false"),
        ({"image": "b.png", "name": "car"}, "unknown field 'name'"),
    ],
)
def test_wrong_row_is_refused_with_its_line(row: dict[str, object], message: str, folder: Path) -> None:
    (folder / "photographs.jsonl").write_text("\n" + json.dumps(row))
    with pytest.raises(DataError, match=rf"photographs\.jsonl:2: .*{message}"):
        read_photographs(folder)


def test_empty_missing_or_no_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photographs in"):
        read_photographs(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        read_photographs(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not a folder"):
        read_photographs(folder / "b.png")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"cannot read the picture .*text\.jpg"):
        read_photographs(tmp_path)[0].load()

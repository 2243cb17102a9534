import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgie.data.synth import Objects

sys.path.insert(0, str(Path(__file__).parents[2] / "train"))
chooser = importlib.import_module("choose_objects")

PLAIN = [
    "bed",
    "boat",
    "bridge",
    "carrot",
    "dog",
    "doughnut",
    "dress",
    "fox",
    "guitar",
    "hut",
    "kite",
    "lemon",
]
PLAIN += ["owl", "piano", "robot", "shoe", "tent", "tiger", "violin", "wolf"]
OTHERS = {
    "dog face": "Animals & Nature",
    "guide dog": "Animals & Nature",
    "grapes": "Food & Drink",
    "bread": "Food & Drink",
    "two o’clock": "Travel & Places",
    "man with a beard": "People & Body",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with thirty objects; "twin" looks like "fox", and two are called "owl"."""
    data = tmp_path_factory.mktemp("data")
    for name in ("objects_fluent3d/images", "coco_captions", "instructions"):
        (data / name).mkdir(parents=True)
    rows: list[dict[str, Any]] = []

    def enter(name: str, group: str, seed: int) -> None:
        noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
        picture = Image.new("RGBA", (256, 256))
        picture.paste(Image.fromarray(noise).resize((200, 160), Image.Resampling.NEAREST), (20, 40))
        file = f"images/{len(rows)}.webp"
        picture.save(data / "objects_fluent3d" / file, lossless=True)
        rows.append({"name": name, "file": file, "group": group})

    for seed, name in enumerate([*PLAIN, "red apple", "green apple"]):
        enter(name, "Objects", seed)
    enter("twin", "Objects", PLAIN.index("fox"))
    for seed, (name, group) in enumerate(OTHERS.items()):
        enter(name, group, 100 + seed)
    enter("owl", "Symbols", 200)
    (data / "objects_fluent3d" / "index.json").write_text(json.dumps(rows))
    (data / "coco_captions" / "index.json").write_text(json.dumps([{"captions": ["A dog and a kite."]}]))
    request = json.dumps({"instruction": "Remove the wolf and the fox"})
    (data / "instructions" / "requests.jsonl").write_text(request + "\n")
    return data


def names(data: Path, count: int) -> dict[str, str]:
    return {choice.name: choice.split for choice in chooser.choose(data, count)}


def test_everyday_nouns_come_first_and_are_unlike_each_other(data: Path) -> None:
    said = {"dog", "kite", "wolf", "fox"}
    train = [name for name, split in names(data, 1000).items() if split == "train"]
    assert set(train[: len(said & set(train))]) == said & set(train)
    chosen = names(data, 12)
    assert chosen.keys() <= {*PLAIN, "apple"} and sum(s == "train" for s in chosen.values()) == 12
    assert "twin" not in names(data, 14) and names(data, 12) == chosen


def test_all_are_taken_where_so_many_are_wanted_and_held_out_ones_stay_held_out(data: Path) -> None:
    everything = names(data, 1852)
    assert everything.keys() == {*PLAIN, *OTHERS, "apple", "green apple", "twin"}
    assert set(everything.values()) == {"train", "test"}
    assert names(data, 8).items() <= everything.items()


def test_of_two_things_with_one_name_the_plainer_is_taken(data: Path, tmp_path: Path) -> None:
    count = chooser.write_objects(data, tmp_path / "objects", 1852)
    assert len(Objects.read(tmp_path / "objects").files) == count == len(names(data, 1852))
    owl = next(choice for choice in chooser.choose(data, 1852) if choice.name == "owl")
    assert owl.file.stem == str(PLAIN.index("owl"))


def test_the_folder_reads_back_cut_out_and_small(data: Path, tmp_path: Path) -> None:
    count = chooser.write_objects(data, tmp_path / "objects", 8)
    objects = Objects.read(tmp_path / "objects")
    assert len(objects.files) == count == 10 and len(objects.names("train")) == 8
    for name in objects.files:
        assert objects.picture(name).mode == "RGBA" and max(objects.picture(name).size) == 112

"""Which of the data folder's small pictures edits put on photographs, and the folder of them."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mgie.data.records import write_json_lines
from mgie.data.synth.measure import Array
from mgie.data.synth.objects import OBJECTS_FILE

LONG_SIDE = 112
QUALITY = 95

_GROUPS = {"Animals & Nature", "Food & Drink", "Objects", "Travel & Places", "Activities"}
_PLAIN = re.compile(r"[a-z]{3,}( [a-z]{2,})?")
_LONGEST_NAME = 14
_COLOUR = re.compile(r"^(red|green|blue|orange|black) ")
_NO_THING = re.compile(
    r"\b(face|clock|watch|stopwatch|moon|flag|sign|place|medal|suit|station|post|banknote|volume|stars|sun|"
    r"fog|foggy|wind|milky way|sunrise|sunset|cityscape|tornado|cyclone|wave|water|droplet|fire|rainbow|"
    r"hot|muted|tear|oncoming|closed|open|locked|unlocked|pouring|cooking|clinking|leafy|shaved|"
    r"wedding|stadium|park|store|hotel|construction|metro|motorway|dna|pill|mate|cooked|canned|fried|"
    r"bread|butter|salt|ice|bacon|sake|sushi|spaghetti|popcorn|garlic|broccoli|soap|wood|coral|ginger|rice|"
    r"yarn|thread|tennis|badminton|lacrosse|hockey|boxing|fishing|bowling|cricket|performing|video|american|"
    r"money|card|chart|memo|label|nose|hamsa|kaaba|moai|oden|placard|cigarette|coffin|microbe|bubble|camping|desert|pick|link|joker|shower)\b"
)
# Plurals ("grapes") want other words than "a" and "it is".
_PLURAL = re.compile(r"[^su]s$")
_DIFFERENT = 0.09
"""Mean difference of two thumbnails, from 0 to 1, from which on nobody takes one thing for the other."""


@dataclass(frozen=True)
class Choice:
    """An object that was chosen."""

    name: str
    file: Path
    split: str


def choose(data: Path, count: int) -> list[Choice]:
    """Returns objects to train on, `count` of them, and a quarter as many held-out ones, as far as there are.

    First come nouns that people say, of things that do not look alike; those that are said in the data
    folder's captions and requests before others; else in the order of the names' MD5.
    """
    folder, said = data / "objects_fluent3d", _said(data)
    rows = json.loads((folder / "index.json").read_text("utf-8"))
    words = set(re.findall(r"[a-z]+", said))

    def order(named: tuple[str, str]) -> tuple[bool, bool, str]:
        name = named[0]
        return not (name in words or f" {name}" in said), " " in name, _digest(name)

    first = list(_unlike(sorted(_plain(rows), key=order), folder))
    taken = {file for _, file in first}
    others = [(row["name"], row["file"]) for row in rows if row["file"] not in taken]
    ranking: dict[str, str] = {}
    for name, file in first + sorted(others, key=lambda named: _digest(named[0])):
        ranking.setdefault(name, file)  # two things of one name cannot be told apart by words
    choices = [Choice(name, folder / file, _split(name)) for name, file in ranking.items()]
    train, test = ([choice for choice in choices if choice.split == split] for split in ("train", "test"))
    return train[:count] + test[: count // 4]


def write_objects(data: Path, out: Path, count: int) -> int:
    """Writes a folder of `choose`'s objects, cut out and made smaller, and returns their number."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for choice in choose(data, count):
        picture = _cut_out(choice.file)
        picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        image = f"images/{choice.file.stem}.webp"
        picture.save(out / image, quality=QUALITY)
        rows.append({"name": choice.name, "image": image, "split": choice.split})
    write_json_lines(rows, out / OBJECTS_FILE)
    return len(rows)


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _split(name: str) -> str:
    """Returns "test" for a fifth of the names, whatever else is chosen."""
    return "test" if int(_digest(name), 16) % 5 == 0 else "train"


def _said(data: Path) -> str:
    """Returns all captions and requests, lower case, a line each."""
    captions = json.loads((data / "coco_captions" / "index.json").read_text("utf-8"))
    lines = [caption for row in captions for caption in row["captions"]]
    for file in sorted((data / "instructions").glob("*.jsonl")):
        lines += [json.loads(line)["instruction"] for line in file.read_text("utf-8").splitlines()]
    return "\n".join(lines).lower()


def _plain(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yields (name, file) of things with short names that no other one looks or sounds like."""
    named: dict[str, str] = {}
    for row in rows:
        name = _COLOUR.sub("", row["name"])
        plain = _PLAIN.fullmatch(name) and len(name) <= _LONGEST_NAME
        if row["group"] in _GROUPS and plain and not _PLURAL.search(name) and not _NO_THING.search(name):
            named.setdefault(name, row["file"])
    heads = {name for name in named if " " not in name}
    for name, file in named.items():
        head = name.split()[-1]
        if name == head or head not in heads:
            heads.add(head)
            yield name, file


def _unlike(named: Iterable[tuple[str, str]], folder: Path) -> Iterator[tuple[str, str]]:
    """Yields those that do not look like one that came before."""
    seen: list[Array] = []
    for name, file in named:
        thumbnail = _thumbnail(_cut_out(folder / file))
        if all(np.abs(thumbnail - other).mean() >= _DIFFERENT for other in seen):
            seen.append(thumbnail)
            yield name, file


def _cut_out(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        picture = opened.convert("RGBA")
    return picture.crop(picture.getchannel("A").getbbox())


def _thumbnail(picture: Image.Image) -> Array:
    """Returns (16, 16, 4) in [0, 1], colours multiplied by alpha."""
    small = np.asarray(picture.resize((16, 16), Image.Resampling.BOX), np.float32) / 255
    return np.dstack([small[..., :3] * small[..., 3:], small[..., 3]])

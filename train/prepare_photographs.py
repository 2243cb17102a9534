"""Makes one folder of photographs, with names, regions and real requests, from the project's data folder.

    python train/prepare_photographs.py DATA OUT [--objects N] [--only objects]

OUT gets `photographs.jsonl`, `images/`, `masks/` and `requests.jsonl`; `objects/`, what edits put on
photographs; and `all_objects/`, all there are, most of which are only edited. The layouts are those described
in DATA/README.md; a photograph is held out ("test") where the MD5 of its path relative to DATA starts with 0,
and all of `samples/` is.
"""

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from choose_objects import write_objects
from classify_requests import classified_requests
from numpy.typing import NDArray
from PIL import Image

from mgie.data.photographs import PHOTOGRAPHS_FILE
from mgie.data.records import write_json_lines
from mgie.data.synth.requests import REQUESTS_FILE

SHORT_SIDE = 256
QUALITY = 92
MIN_REGION_SHARE = 0.02
MAX_NAMES = 5
OBJECTS = 100
ALL_OBJECTS = 1852

_STUFF = re.compile(r"-(other|merged|stuff|tile|wood|brick|stone|blind)\b")
_SCENE_NOISE = re.compile(
    r"\baz\d+deg|\b(side|left|right|rear|frontal|front|back|mid|near|top|entrance|suv|of|view|whole|fallen|"
    r"cut down|standing|walking|sitting|mover|casa batllo|curved facade|\d)\b|\(.*\)|,.*"
)
_SCENE_NAMES = (
    (r"^(bird|goat|leopard|lizard|tiger|crocodile)\b.*", r"\1"),
    (r"^wildcat.*", "wild cat"),
    (r".*\b(river|lake|ocean|waterfall|surf|beach|skyscraper|highway|grass|brook|dunes|bush)\b.*", r"\1"),
    (r".*\bsea\b.*", "sea"),
    (r"^field flowers$|^plants flowers$", "flower field"),
    (r"^sky (clouds|cloudy|fog|sunset)$", "sky"),
    (r"^(treee|foliage tree)$", "tree"),
    (r"^tree folage palm$", "palm tree"),
    (r"^snow covered (ground|mountain).*", r"snowy \1"),
    (r"^(pedestrian|what the freeman|walking man|couple man woman)$", "person"),
    (r"^shore.*", "rocky shore"),
    (r"^bushy hair$", "hair"),
)
_UNSEEN_CLOTHES = {"null", "skin", "hair", "accessories", "intimate", "bra", "panties"}
_SUBJECTS = {
    "backpack_dog": "dog backpack",
    "bear_plushie": "plush bear",
    "berry_bowl": "bowl of berries",
    "duck_toy": "toy duck",
    "grey_sloth_plushie": "grey plush sloth",
    "monster_toy": "toy monster",
    "poop_emoji": "smiling toy",
    "rc_car": "toy car",
    "red_cartoon": "red cartoon figure",
    "robot_toy": "toy robot",
    "wolf_plushie": "plush wolf",
}
_SAMPLES = {"outwear": "jacket", "longsleeve": "long-sleeved shirt"}

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """A photograph in the data folder, before anything is written."""

    path: str
    names: list[str]
    captions: list[str] = field(default_factory=list)
    regions: list[tuple[str, Mask]] = field(default_factory=list)
    composites: list[tuple[str, str, Mask]] = field(default_factory=list)
    """(name, path of the picture, mask)."""
    unmarked: bool = False
    """Whether more may be seen of what a region is called."""


def _index(folder: Path, name: str = "index.json") -> list[dict[str, Any]]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _mask(path: Path) -> Mask:
    return np.asarray(Image.open(path).convert("L")) > 127


def _by_area(areas: Mapping[str, float]) -> list[str]:
    return sorted((name for name in areas if areas[name] > 0), key=lambda name: -areas[name])


def things(data: Path) -> Iterator[Found]:
    """Yields the photographs of single things, named by their class."""
    for row in _index(data / "things"):
        name = row["name"]
        regions = [(name, _mask(data / "things" / row["mask"]))] if row["mask"] else []
        yield Found(f"things/{row['image']}", [name], regions=regions)


def scene_name(label: str) -> str:
    """Returns the noun in a hand-written scene label: "carSide az30deg" is a car, "water river" a river."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", label).lower()
    words = " ".join(_SCENE_NOISE.sub(" ", words).split())
    for pattern, name in _SCENE_NAMES:
        words, changes = re.subn(pattern, name, words)
        if changes:
            break
    return words


def scenes(data: Path) -> Iterator[Found]:
    """Yields outdoor photographs, each with one named region, and the composites made of them."""
    folder = data / "scenes"
    composites: dict[str, dict[str, tuple[str, str]]] = {}
    # Of several with a region of one name, the last stays: the one that changes the region most.
    for pair in sorted(_index(folder, "pairs.json"), key=lambda pair: pair["diff_inside"]):
        files = f"scenes/{pair['after']}", pair["mask"]
        composites.setdefault(pair["before"], {})[scene_name(pair["region"])] = files
    for row in _index(folder, "scenes.json"):
        name = scene_name(row["name"])
        yield Found(
            f"scenes/{row['image']}",
            [name],
            regions=[(name, _mask(folder / row["mask"]))],
            composites=[
                (region, path, _mask(folder / mask))
                for region, (path, mask) in composites.get(row["image"], {}).items()
            ],
            unmarked=True,
        )


def spoken_names(segments: list[tuple[str, float]]) -> list[str]:
    """Returns the spoken name of each segment (label, area); several persons, not tiny, are "people"."""
    several = sum(label == "person" and area >= MIN_REGION_SHARE / 2 for label, area in segments) > 1
    spoken = {"person": "people" if several else "person", "playingfield": "playing field"}
    return [spoken.get(label, label) for label, _ in segments]


def coco_panoptic(data: Path) -> Iterator[Found]:
    """Yields everyday photographs; names and regions are segments of one name together, largest first."""
    for row in _index(data / "coco_panoptic"):
        segments = row.get("segments") or []
        labels = spoken_names([(_STUFF.sub("", segment["name"]), segment["area"]) for segment in segments])
        areas: Counter[str] = Counter()
        for label, segment in zip(labels, segments, strict=True):
            areas[label] += segment["area"]
        names = [name for name in _by_area(areas) if areas[name] >= MIN_REGION_SHARE][:MAX_NAMES]
        regions = []
        if names:
            rgb = np.asarray(Image.open(data / "coco_panoptic" / row["panoptic"]).convert("RGB"), np.int64)
            number = rgb @ np.array([1, 256, 65536])
            for name in names:
                ids = [
                    segment["id"] for label, segment in zip(labels, segments, strict=True) if label == name
                ]
                regions.append((name, np.isin(number, ids)))
        yield Found(f"coco_panoptic/{row['image']}", names, regions=regions)


def coco_captions(data: Path) -> Iterator[Found]:
    """Yields everyday photographs with captions; names are those of the instances, largest first."""
    for row in _index(data / "coco_captions"):
        instances = [(instance["name"], instance["area"]) for instance in row["instances"]]
        areas: Counter[str] = Counter()
        for name, (_, area) in zip(spoken_names(instances), instances, strict=True):
            areas[name] += area
        yield Found(f"coco_captions/{row['image']}", _by_area(areas)[:MAX_NAMES], captions=row["captions"])


def people_clothes(data: Path) -> Iterator[Found]:
    """Yields street photographs: the person, then the clothes, largest first."""
    folder = data / "people_clothes"
    classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    for row in _index(folder):
        labels = np.asarray(Image.open(folder / row["labels"]))
        shares = {name: share for name, share in row["classes"].items() if name not in _UNSEEN_CLOTHES}
        names = _by_area(shares)[: MAX_NAMES - 1]
        regions = [("person", labels > 0)]
        regions += [
            (name, labels == classes.index(name)) for name in names if shares[name] >= MIN_REGION_SHARE
        ]
        yield Found(f"people_clothes/{row['image']}", ["person", *names], regions=regions)


def subjects(data: Path) -> Iterator[Found]:
    """Yields photographs of thirty subjects."""
    for row in _index(data / "subjects"):
        subject: str = row["subject"]
        name = _SUBJECTS.get(subject) or re.sub(r"\d+$", "", subject).replace("_", " ")
        regions = [(name, _mask(data / "subjects" / row["mask"]))] if row.get("mask") else []
        yield Found(f"subjects/{row['image']}", [name], regions=regions)


def samples(data: Path) -> Iterator[Found]:
    """Yields the photographs that are for evaluation only."""
    for row in _index(data / "samples"):
        name: str = row["name"]
        yield Found(f"samples/{row['image']}", [_SAMPLES.get(name, name)])


def held_out(path: str) -> bool:
    """Returns whether the photograph with this path relative to the data folder is for evaluation only."""
    return (
        path.startswith("samples/") or hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()[0] == "0"
    )


def write(found: Found, data: Path, out: Path) -> dict[str, Any]:
    """Writes the pictures and masks, made smaller, and returns the row that describes the photograph."""
    image, size = write_picture(found.path, data, out)
    stem = Path(image).stem
    regions = [
        [name, write_mask(mask, f"{stem}_{number}", size, out)]
        for number, (name, mask) in enumerate(found.regions)
    ]
    composites = []
    for name, path, mask in found.composites:
        picture, _ = write_picture(path, data, out)
        composites.append([name, picture, write_mask(mask, Path(picture).stem, size, out)])
    row = {"image": image, "names": found.names, "captions": found.captions, "regions": regions}
    split = "test" if held_out(found.path) else "train"
    return row | {"composites": composites, "unmarked": found.unmarked, "split": split}


def write_picture(path: str, data: Path, out: Path) -> tuple[str, tuple[int, int]]:
    """Writes a picture, made smaller, and returns its path relative to `out` and its (width, height)."""
    stem = Path(path).with_suffix("").as_posix().replace("/images/", "_").replace("/", "_")
    with Image.open(data / path) as opened:
        image = opened.convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.LANCZOS).save(out / "images" / f"{stem}.webp", quality=QUALITY)
    return f"images/{stem}.webp", size


def write_mask(mask: Mask, stem: str, size: tuple[int, int], out: Path) -> str:
    """Writes a mask at the size (width, height) and returns its path relative to `out`."""
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    Image.fromarray(np.asarray(small) > 127).save(out / "masks" / f"{stem}.png")
    return f"masks/{stem}.png"


def write_photographs(data: Path, out: Path) -> None:
    """Writes the photographs with their masks, and the requests."""
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for source in (things, scenes, coco_panoptic, coco_captions, people_clothes, subjects, samples):
            before = len(rows)
            rows += pool.map(partial(write, data=data, out=out), source(data))
            print(f"{source.__name__}: {len(rows) - before} photographs")
    write_json_lines(rows, out / PHOTOGRAPHS_FILE)
    requests = list(classified_requests(data / "instructions"))
    write_json_lines(requests, out / REQUESTS_FILE)
    print(f"{len(rows)} photographs and {len(requests)} requests in {out}")


def main() -> None:
    """Reads the command line and writes the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the data folder, as its README.md describes it")
    parser.add_argument("out", type=Path, help="folder to write; made if need be")
    parser.add_argument(
        "--objects",
        type=int,
        default=OBJECTS,
        metavar="N",
        help="objects to train on, beside a quarter as many held-out ones (%(default)s)",
    )
    parser.add_argument("--only", choices=("photographs", "objects"), help="write only these")
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    if arguments.only != "objects":
        write_photographs(data, out)
    if arguments.only != "photographs":
        for folder, count in ((out / "objects", arguments.objects), (out / "all_objects", ALL_OBJECTS)):
            print(f"{write_objects(data, folder, count)} objects in {folder}")


if __name__ == "__main__":
    main()

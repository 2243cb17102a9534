import importlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mgie.data.photographs import read_photographs
from mgie.data.records import write_json_lines
from mgie.data.synth import open_scene

sys.path.insert(0, str(Path(__file__).parents[2] / "train"))

prepare = importlib.import_module("prepare_photographs")


def test_composites_are_written_beside_their_photograph(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for folder in (data / "scenes/real", data / "scenes/composite", data / "scenes/masks"):
        folder.mkdir(parents=True)
    for folder in (out / "images", out / "masks"):
        folder.mkdir(parents=True)
    mask = np.zeros((256, 256), bool)
    mask[:128] = True
    Image.new("RGB", (256, 256), (90, 90, 90)).save(data / "scenes/real/a.webp")
    for name, colour in (("b", (250, 0, 0)), ("c", (0, 0, 250)), ("d", (0, 250, 0))):
        Image.new("RGB", (256, 256), colour).save(data / f"scenes/composite/{name}.webp")
    for name in "abcd":
        Image.fromarray(mask if name in "abc" else ~mask).save(data / f"scenes/masks/{name}.png")
    row = {"image": "real/a.webp", "mask": "masks/a.png", "name": "sky cloudy"}
    (data / "scenes/scenes.json").write_text(json.dumps([row]))
    pairs = [("b", "sky", 50.0), ("c", "sky clouds", 20.0), ("d", "sea water", 30.0)]
    (data / "scenes/pairs.json").write_text(
        json.dumps(
            [
                {
                    "before": "real/a.webp",
                    "after": f"composite/{name}.webp",
                    "mask": f"masks/{name}.png",
                    "region": region,
                    "diff_inside": change,
                }
                for name, region, change in pairs
            ]
        )
    )
    write_json_lines(
        (prepare.write(found, data, out) for found in prepare.scenes(data)), out / "photographs.jsonl"
    )
    (photograph,) = read_photographs(out)
    scene = open_scene(photograph, photograph.load())
    assert photograph.unmarked and scene.unmarked
    assert scene.names == ("sky",) and set(scene.composites) == {"sky", "sea"}
    sky, pixels = scene.composites["sky"]
    assert np.array_equal(sky, scene.regions["sky"]) and pixels.shape == scene.pixels.shape
    # Of two skies the one that changes more.
    assert pixels[sky].mean(axis=0)[0] > 0.9
    assert not (scene.composites["sea"][0] & sky).any()

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mgie.data.records import write_json_lines
from mgie.data.synth import Objects, Pixels

OBJECTS = (
    "apple ball bell boat book box bug bus cake car cat chair cloud coin cow crown cup dog door drum duck "
)
OBJECTS += "egg fish fox hat house key lamp leaf lion mouse owl pear pen"
HELD_OUT = frozenset(("egg", "fish", "lion", "mouse", "owl", "wine glass"))


def _photo(seed: int, height: int = 96, width: int = 128) -> Pixels:
    """Returns something like a photograph: a soft many-coloured ground, sharp things, some texture."""
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(rng.integers(30, 226, (6, 8, 3), np.uint8))
    pixels = np.asarray(ground.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    for _ in range(6):
        top, left, size = rng.integers(height), rng.integers(width), rng.integers(8, 24)
        pixels[top : top + size, left : left + size] = rng.random(3, np.float32)
    texture = rng.normal(0, 0.02, (height, width, 1)).astype(np.float32)
    return np.clip(pixels + texture, 0, 1)


@pytest.fixture(params=[0, 1, 2], ids=lambda seed: f"photo{seed}")
def source(request: pytest.FixtureRequest) -> Pixels:
    """A picture (96, 128, 3), one of three."""
    return _photo(request.param)


@pytest.fixture(scope="session")
def photo() -> Callable[..., Pixels]:
    """A function (seed, height, width) -> picture (H, W, 3)."""
    return _photo


def _thing(seed: int) -> Image.Image:
    """Returns a shape of three colours, as nobody else's, on nothing."""
    rng = np.random.default_rng([9, seed])
    picture = Image.new("RGBA", (64, int(rng.integers(48, 65))))
    draw = ImageDraw.Draw(picture)
    sides = int(rng.integers(3, 9))
    for radius in (1, 0.65, 0.35):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        half = (picture.width / 2, picture.height / 2, radius * picture.height / 2 - 1)
        draw.regular_polygon(half, sides, rotation=int(rng.integers(360)), fill=(*colour, 255))
    return picture


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Thirty-five objects, six of them held out."""
    folder = tmp_path_factory.mktemp("objects")
    rows = []
    for seed, name in enumerate((*OBJECTS.split(), "wine glass")):
        _thing(seed).save(folder / f"{seed}.png")
        rows.append({"name": name, "image": f"{seed}.png", "split": "test" if name in HELD_OUT else "train"})
    write_json_lines(rows, folder / "objects.jsonl")
    return Objects.read(folder)

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from mgie.data.synth import Pixels


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

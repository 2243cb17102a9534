"""Photographs, and objects put on them, for stages that learn from the pixels themselves."""

from typing import TypeVar

import numpy as np
from torch.utils.data import Dataset

from mgie.config import DataConfig
from mgie.data.dataset import Size, open_part, photographs_of
from mgie.data.photographs import Photograph
from mgie.data.synth import Objects, Scene
from mgie.data.synth.layout import Layout, crowd
from mgie.errors import ConfigError

Row = TypeVar("Row", covariant=True)


class SceneDataset(Dataset[Row]):
    """Photographs and objects of a split; a row is a pure function of (seed, index, size).

    Args:
        config: what is learned from.
        seed: of all rows.

    Raises:
        ConfigError: if there are no photographs or objects to learn from.
        DataError: if they cannot be read, or no photograph is of the split.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        if config.photographs is None or config.objects is None:
            raise ConfigError("this stage puts objects on photographs; set data.photographs and data.objects")
        self.config, self.seed = config, seed
        self.photographs = photographs_of(config.photographs, config.split)
        self.objects = Objects.read(config.objects)

    def opened(self, photograph: Photograph, size: Size, rng: np.random.Generator) -> Scene:
        """Returns a part of a photograph at a training size, in some light."""
        return open_part(photograph, size, self.config, self.objects, rng)[0]

    def crowd(self, scene: Scene, most: int, rng: np.random.Generator) -> Layout:
        """Returns what may stand on a scene: one object up to `most`."""
        names = self.objects.names(self.config.made_of)
        return crowd(names, scene.pixels.shape, rng)[: rng.integers(1, most + 1)]

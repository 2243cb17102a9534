"""Stage `outlines`: outlines to the pixel, from a photograph and a map as coarse as a UNet's.

What is learned from are objects put on photographs, and photographs' own regions. Their true maps are made as
uncertain as a UNet's, so that this needs no UNet; each row is one scene, with several parts to learn from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional

from mgie.config import DataConfig, TrainConfig
from mgie.data.collate import to_tensor
from mgie.data.dataset import Key
from mgie.data.scenes import SceneDataset
from mgie.data.synth import Mask, Pixels
from mgie.data.synth.layout import render, thing_mask
from mgie.data.synth.wording import pick
from mgie.diffusion import location_loss
from mgie.errors import ConfigError
from mgie.models.outlines import PLACE, Outlines
from mgie.training.stages.base import HELD_INDEX, Stage, grid, load_or_build, to_images

_REGION_SHARE = 0.3
"""Of the scenes, those whose own regions are learned from."""
_MAX_THINGS, _MAX_PARTS = 4, 3
"""Most objects on a scene, and most parts of it that are learned from."""
_SIDE = 128
"""Pixels on a side of a part: outlines are looked for nearby."""
_JITTER = 24
"""Pixels by which its middle is at most beside a pixel of the thing, each way."""
_LEAST, _MOST = 0.02, 0.98
"""Share of a part that a thing covers."""
_MOST_OF_ALL = 0.6
"""Share of a scene above which a region is no thing on it."""
_BLUR = 0.3, 1.5
"""Least and greatest standard deviation of an uncertain map's blur, in places."""
_SHIFT = 0.5
"""Standard deviation of its shift, in places."""
_STEEP = 6.0, 18.0
"""Least and greatest steepness of its logits."""
_UNSURE = 1.2, 2.5
"""Standard deviations of the noise in its logits, from place to place and over four of them, at most."""
_BIAS = 0.75
"""Greatest of what is added to all of its logits, either way."""


@dataclass(frozen=True)
class Part:
    """A part of a scene."""

    source: Pixels
    covered: Mask
    """(H, W), the pixels that are of the thing."""


class PartDataset(SceneDataset[list[Part]]):
    """Parts of photographs around things.

    Raises:
        ConfigError: if there are no photographs or objects to learn from, or sizes are less than a part's.
        DataError: if they cannot be read, or no photograph is of the split.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        if any(side < _SIDE for size in config.sizes for side in size):
            raise ConfigError(f"data.sizes is {config.sizes}; expected {_SIDE} or more for stage outlines")
        super().__init__(config, seed)
        self.with_regions = [p for p in self.photographs if p.regions]

    def __getitem__(self, key: Key) -> list[Part]:
        """Returns one part or more of the scene that belongs to the index, at the size."""
        index, size = key
        rng = np.random.default_rng([self.seed, index])
        while True:
            source, things = self._scene(size, rng)
            parts = [part for thing in things[:_MAX_PARTS] for part in _part(source, thing, rng)]
            if parts:
                return parts

    def _scene(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[Pixels, list[Mask]]:
        """Returns a picture and what things on it cover."""
        if self.with_regions and rng.random() < _REGION_SHARE:
            scene = self.opened(pick(rng, self.with_regions), size, rng)
            masks = [mask for mask in scene.regions.values() if mask.mean() < _MOST_OF_ALL]
            return scene.pixels, [masks[i] for i in rng.permutation(len(masks))]
        scene = self.opened(pick(rng, self.photographs), size, rng)
        layout = self.crowd(scene, _MAX_THINGS, rng)
        source = render(scene.pixels, layout, self.objects)
        others = (tuple(other for other in layout if other is not thing) for thing in layout)
        behind = (render(scene.pixels, rest, self.objects) for rest in others)
        return source, [thing_mask(source, without) for without in behind]


def _part(source: Pixels, thing: Mask, rng: np.random.Generator) -> Iterator[Part]:
    """Yields the part around a pixel of a thing, at whole places; none if it shows too little of either."""
    if not thing.any():
        return
    y, x = np.argwhere(thing)[rng.integers(thing.sum())] + rng.integers(-_JITTER, _JITTER + 1, 2) - _SIDE // 2
    top, left = (
        int(np.clip(start // PLACE * PLACE, 0, (side - _SIDE) // PLACE * PLACE))
        for start, side in zip((y, x), thing.shape, strict=True)
    )
    rows, columns = slice(top, top + _SIDE), slice(left, left + _SIDE)
    if _LEAST < thing[rows, columns].mean() < _MOST:
        yield Part(source[rows, columns], thing[rows, columns])


def collate_parts(rows: Sequence[list[Part]]) -> dict[str, Tensor]:
    """Returns `source` (B, 3, H, W) in [-1, 1] and `covered` (B, 1, H, W), 0 or 1, of all parts."""
    parts = [part for row in rows for part in row]
    covered = torch.from_numpy(np.stack([part.covered for part in parts]))
    return {"source": to_tensor([part.source for part in parts]), "covered": covered[:, None].float()}


def uncertain(covered: Tensor, generator: Generator) -> Tensor:
    """Returns maps (B, 1, h, w) in (0, 1) as a UNet might have them: shifted, blurred, steep or flat, unsure.

    Args:
        covered: (B, 1, H, W), 0 or 1.
        generator: CPU generator of all of this.
    """
    rows = len(covered)

    def uniform(least: float, greatest: float) -> Tensor:
        drawn = torch.rand(rows, 1, 1, 1, generator=generator)
        return (least + (greatest - least) * drawn).to(covered)

    def normal(*size: int) -> Tensor:
        return torch.randn(rows, *size, generator=generator).to(covered)

    places = functional.avg_pool2d(covered, PLACE)
    height, width = places.shape[2:]
    moved = torch.eye(2, 3).to(covered).repeat(rows, 1, 1)
    moved[:, :, 2] = 2 * _SHIFT * normal(2) / places.new_tensor([width, height])
    grid = functional.affine_grid(moved, list(places.shape), align_corners=False)
    places = functional.grid_sample(places, grid, padding_mode="border", align_corners=False)
    reach = round(3 * _BLUR[1])
    steps = torch.arange(-reach, reach + 1).to(covered)
    weights = (-0.5 * (steps / uniform(*_BLUR)) ** 2).softmax(-1)  # (B, 1, 1, 2 * reach + 1)
    for kernel in (weights, weights.transpose(2, 3)):
        padding = [(side // 2) for side in kernel.shape[:1:-1] for _ in range(2)]
        padded = functional.pad(places.transpose(0, 1), padding, mode="replicate")
        places = functional.conv2d(padded, kernel, groups=rows).transpose(0, 1)
    wide = normal(1, max(1, height // 4), max(1, width // 4))
    wide = functional.interpolate(wide, (height, width), mode="bilinear", align_corners=False)
    noise = uniform(0, _UNSURE[0]) * normal(1, height, width) + uniform(0, _UNSURE[1]) * wide
    return (uniform(*_STEEP) * (places - 0.5) + noise + uniform(-_BIAS, _BIAS)).sigmoid()


class Outlining(nn.Module):
    """Loss of outlines."""

    def __init__(self, outlines: Outlines) -> None:
        super().__init__()
        self.outlines = outlines

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns `loss`, see `mgie.diffusion.location_loss`, and that of the maps alone as `places_loss`."""
        covered = batch["covered"]
        map_ = uncertain(covered, generator)
        logits = self.outlines(batch["source"], map_)
        with torch.no_grad():
            alone = functional.interpolate(map_.logit(), covered.shape[2:], mode="bilinear")
        loss, places_loss = location_loss(logits, covered), location_loss(alone, covered)
        return {"loss": loss, "places_loss": places_loss}


class OutlinesStage(Stage):
    """Trains `Outlines`."""

    def __init__(self, config: TrainConfig) -> None:
        self.outlines: Outlines = load_or_build("model.outlines", config.model.outlines, Outlines)
        self.module: Outlining = Outlining(self.outlines)
        self.dataset = PartDataset(config.data, config.seed)
        self.collate = collate_parts
        self.size = config.data.sizes[0]

    def save(self, folder: Path) -> None:
        """Writes `outlines`."""
        self.outlines.save_pretrained(folder / "outlines")

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Returns parts above what a thing truly covers there, an uncertain map of it, and the outline."""
        width, height = self.size
        rows = [self.dataset[HELD_INDEX + i, (width, height)][:1] for i in range(6)]
        batch = {name: tensor.to(self.outlines.device) for name, tensor in collate_parts(rows).items()}
        map_ = uncertain(batch["covered"], Generator().manual_seed(0))
        outline = self.outlines(batch["source"], map_).sigmoid()
        shown = (batch["covered"], functional.interpolate(map_, scale_factor=PLACE), outline)
        return grid(
            [to_images(batch["source"]), *(to_images(2 * x.expand(-1, 3, -1, -1) - 1) for x in shown)]
        )

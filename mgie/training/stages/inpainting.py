"""Stage `inpainting`: what is behind things, from photographs on which objects were put.

What was there before is known exactly. Each row is one scene; what goes from it is one thing or more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional

from mgie.config import TrainConfig
from mgie.data.collate import to_tensor
from mgie.data.dataset import Key
from mgie.data.scenes import SceneDataset
from mgie.data.synth import Mask, Pixels
from mgie.data.synth.layout import render, thing_mask
from mgie.data.synth.wording import pick
from mgie.models.inpainting import Inpainter, spread
from mgie.training.stages.base import HELD_INDEX, Stage, grid, load_or_build, to_images

_MAX_THINGS = 3
"""Most objects on a scene."""
_GROWN = 5
"""Pixels by which a hole is at most larger than what goes, on each side."""


@dataclass(frozen=True)
class Removal:
    """A scene, with and without what goes from it."""

    source: Pixels
    behind: Pixels
    hole: Mask
    """(H, W), the pixels that are not to be seen."""


class RemovalDataset(SceneDataset[Removal]):
    """Scenes from which something goes."""

    def __getitem__(self, key: Key) -> Removal:
        """Returns the scene that belongs to the index, at the size."""
        index, size = key
        rng = np.random.default_rng([self.seed, index])
        while True:
            scene = self.opened(pick(rng, self.photographs), size, rng)
            layout = self.crowd(scene, _MAX_THINGS, rng)
            staying = layout[: rng.integers(len(layout))]
            source, behind = (render(scene.pixels, things, self.objects) for things in (layout, staying))
            hole = thing_mask(source, behind)
            if hole.any() and not hole.all():
                return Removal(source, behind, hole)


def collate_removals(rows: Sequence[Removal]) -> dict[str, Tensor]:
    """Returns `source` and `behind` (B, 3, H, W) in [-1, 1], and `hole` (B, 1, H, W), 0 or 1."""
    hole = torch.from_numpy(np.stack([row.hole for row in rows]))[:, None].float()
    return {
        "source": to_tensor([row.source for row in rows]),
        "behind": to_tensor([row.behind for row in rows]),
        "hole": hole,
    }


class Inpainting(nn.Module):
    """Loss of what is painted."""

    def __init__(self, inpainter: Inpainter) -> None:
        super().__init__()
        self.inpainter = inpainter

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns `loss`, the mean difference to what is behind, and `spread_loss`, that of spreading alone.

        In the hole, over rows, in [0, 2].
        """
        by = int(torch.randint(_GROWN + 1, (), generator=generator))
        hole = functional.max_pool2d(batch["hole"], 2 * by + 1, stride=1, padding=by)
        area = hole.sum((1, 2, 3))

        def off(painted: Tensor) -> Tensor:
            difference = (painted.float() - batch["behind"]).abs().mean(1, keepdim=True)
            return ((difference * hole).sum((1, 2, 3)) / area).mean()

        with torch.no_grad():
            spread_loss = off(spread(batch["source"], 1 - hole))
        return {"loss": off(self.inpainter(batch["source"], hole)), "spread_loss": spread_loss}


class InpaintingStage(Stage):
    """Trains `Inpainter`."""

    def __init__(self, config: TrainConfig) -> None:
        self.inpainter: Inpainter = load_or_build("model.inpainter", config.model.inpainter, Inpainter)
        self.module: Inpainting = Inpainting(self.inpainter)
        self.dataset = RemovalDataset(config.data, config.seed)
        self.collate = collate_removals
        self.size = config.data.sizes[0]

    def save(self, folder: Path) -> None:
        """Writes `inpainter`."""
        self.inpainter.save_pretrained(folder / "inpainter")

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Returns scenes above what spreading and painting make where something goes, and what was there."""
        width, height = self.size
        rows = [self.dataset[HELD_INDEX + i, (width, height)] for i in range(8)]
        batch = {name: tensor.to(self.inpainter.device) for name, tensor in collate_removals(rows).items()}
        source, hole = batch["source"], functional.max_pool2d(batch["hole"], 5, stride=1, padding=2)
        shown = source, spread(source, 1 - hole), self.inpainter(source, hole), batch["behind"]
        return grid([to_images(x) for x in shown])

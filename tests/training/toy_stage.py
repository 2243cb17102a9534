"""A stage of two linear layers, for all that the training loop does whatever it trains.

As a program it is one of several processes: `torchrun ... toy_stage.py OUT` trains and writes its weights to
OUT/rank<R>.pt.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

import mgie.training.loop
from mgie.config import DataConfig, ModelConfig, TrainConfig
from mgie.training.stages import Stage


def toy_config(folder: Path, **changes: Any) -> TrainConfig:
    """Returns the configuration of a toy run."""
    values: dict[str, Any] = {
        "stage": "joint",
        "output_dir": str(folder),
        "max_steps": 6,
        "batch_size": 4,
        "learning_rate": 0.05,
        "warmup_steps": 0,
        "ema_decay": 0.5,
        "log_every": 1,
        "save_every": 2,
        "sample_every": 4,
        "model": ModelConfig(),
        "data": DataConfig(photographs="none", sizes=[[8, 8]]),
    }
    return TrainConfig(**{**values, **changes})


class ToyDataset(Dataset[Tensor]):
    """Endless points (5,): four numbers and their sum, which is no number from row `bad_from` on."""

    def __init__(self, bad_from: int | None = None) -> None:
        self.bad_from = bad_from

    def __getitem__(self, key: tuple[int, tuple[int, int]]) -> Tensor:
        index, size = key
        point = torch.from_numpy(np.random.default_rng(index).normal(size=4)).float()
        value = (
            torch.tensor(float("nan"))
            if self.bad_from is not None and index >= self.bad_from
            else point.sum()
        )
        return torch.cat([point, value[None] + size[0]])


class ToyModule(nn.Module):
    """Two layers and their squared error; `noise` is how much the generator has a say."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 1)
        self.noise, self.worlds = noise, set[int]()

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        self.worlds.add(torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1)
        points, values = batch["points"].split([4, 1], dim=1)
        points = points + self.noise * torch.randn(points.shape, generator=generator)
        loss = (self.second(self.first(points).tanh()) - values).square().mean()
        return {"loss": loss, "error": loss.detach().sqrt()}


class ToyStage(Stage):
    """Saves the weights as `pipeline/weights.pt`."""

    def __init__(self, config: TrainConfig, noise: float = 0.1, bad_from: int | None = None) -> None:
        self.module: ToyModule = ToyModule(noise)
        self.dataset = ToyDataset(bad_from)
        self.collate = lambda points: {"points": torch.stack(points)}

    def save(self, folder: Path) -> None:
        torch.save(self.module.state_dict(), folder / "weights.pt")

    def picture(self) -> Image.Image:
        torch.rand(1)  # looking must not change what is trained
        return Image.new("RGB", (8, 8))


def main() -> None:
    """Trains without noise, so that only the rows differ between the processes."""
    out = Path(sys.argv[1])
    stage: ToyStage | None = None

    def build(config: TrainConfig) -> ToyStage:
        nonlocal stage
        stage = ToyStage(config, noise=0.0)
        return stage

    mgie.training.loop.build_stage = build
    mgie.training.loop.train(toy_config(out / "run", batch_size=4, ema_decay=0.0))
    assert stage is not None
    result = {"weights": stage.module.state_dict(), "worlds": stage.module.worlds}
    torch.save(result, out / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main()

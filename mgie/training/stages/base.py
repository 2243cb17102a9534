"""The border between the training loop and what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from mgie.config import Part, TrainConfig
from mgie.errors import ConfigError
from mgie.models.loading import load_model

HELD_INDEX = 2**40
"""Rows from this index on are never reached by training; they are for looking at."""


class Stage(ABC):
    """Something that can be trained."""

    module: nn.Module
    """Called as `module(batch, generator)`; returns scalars, `loss` among them."""
    dataset: Dataset[Any]
    collate: Callable[..., Any]

    @abstractmethod
    def __init__(self, config: TrainConfig) -> None:
        """Loads or builds the parts."""

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what the frozen parts make of a batch, which `module` takes in its place.

        Raises:
            ConfigError: if there is no such thing in this stage.
        """
        raise ConfigError("cached_batches: nothing of this stage can be cached; set 0")

    def finish(self) -> None:  # noqa: B027 - most stages have nothing to do here
        """Is called once, on the main process, after the last step; may change weights before the save."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the trained parts into a folder, which is there and empty."""

    @abstractmethod
    def picture(self) -> Image.Image:
        """Returns a picture that shows what the present weights do."""


def open_part(part: Part, model_class: Any, **sizes: Any) -> Any:
    """Returns the model of an earlier stage's folder, or a new one.

    Args:
        part: the folder, or sizes of a new one; None leaves them as they are by default.
        model_class: its class.
        sizes: of a new one, where the part does not say them.

    Raises:
        CheckpointError: the folder cannot be read as such a model.
    """
    if isinstance(part, str):
        return load_model(Path(part), model_class)
    return model_class(**{**sizes, **(part or {})})


def to_images(pixels: Tensor) -> list[Image.Image]:
    """Returns B pictures from (B, 3, H, W) in [-1, 1]."""
    array = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]


def grid(rows: list[list[Image.Image]], gap: int = 4) -> Image.Image:
    """Returns pictures of one size laid out in rows."""
    width, height = rows[0][0].size
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (width + gap) - gap, len(rows) * (height + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * (width + gap), y * (height + gap)))
    return sheet

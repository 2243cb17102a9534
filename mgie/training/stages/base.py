"""The border between the training loop and what it trains."""

import contextlib
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from mgie.config import Part, TrainConfig
from mgie.errors import ConfigError, MGIEError
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


@contextlib.contextmanager
def named(key: str) -> Iterator[None]:
    """Says which key of the configuration holds values that a library cannot use.

    Raises:
        ConfigError: whatever the block raised that does not say so itself.
    """
    try:
        yield
    except MGIEError:
        raise
    except Exception as error:  # each library has kinds of its own
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"{key} cannot be used: {type(error).__name__}: {reason}") from error


def load_or_build(key: str, part: Part, model_class: Any, **sizes: Any) -> Any:
    """Returns the model of an earlier stage's folder, or a new one.

    Args:
        key: of the part in the configuration.
        part: the folder, or sizes of a new one; None leaves them as they are by default.
        model_class: its class.
        sizes: of a new one, where the part does not say them.

    Raises:
        CheckpointError: the folder cannot be read as such a model.
        ConfigError: there is no such size, or no model of it.
    """
    if isinstance(part, str):
        return load_model(Path(part), model_class)
    with named(key):
        return model_class(**{**sizes, **(part or {})})


def transformers_config(key: str, values: dict[str, Any], config_class: Any) -> Any:
    """Returns a configuration of transformers, which would take unknown names without a word.

    Raises:
        ConfigError: a name or a value that it has no use for.
    """
    known = config_class().to_dict()
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected arguments of {config_class.__name__}"
            raise ConfigError(f"unknown key {key}.{name}; {hint}")
    with named(key):
        return config_class(**values)


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

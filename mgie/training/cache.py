"""What the frozen parts make of the data, computed once and trained on again and again."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mgie.config import TrainConfig
from mgie.data.dataset import Key, Size
from mgie.errors import CheckpointError, ConfigError
from mgie.files import write_whole
from mgie.training.stages import Stage

_MADE_OF = "made_of.yaml"
_NOT_READ = ("edit_head", "unet", "scheduler", "defaults")
"""Parts of the model that have no say in what is cached."""


def fill_cache(
    folder: Path, stage: Stage, config: TrainConfig, batches: Iterable[list[Key]], accelerator: Accelerator
) -> None:
    """Writes what `stage.encode` makes of batches; those that are there already stay as they are.

    One file for each batch, in fp16: `folder/WIDTHxHEIGHT/INDEX_OF_THE_FIRST_ROW.safetensors`.

    Raises:
        ConfigError: if the folder has rows of other data or another model.
        CheckpointError: if a file cannot be written.
    """
    made_of = _made_of(config)
    try:
        if (folder / _MADE_OF).exists() and (folder / _MADE_OF).read_text(encoding="utf-8") != made_of:
            raise ConfigError(
                f"{folder} was made of other data, another seed or another model; remove it to make it anew"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _MADE_OF, made_of.encode())
        lacking = {path: keys for keys in batches if not (path := _file(folder, keys)).exists()}
        loader = DataLoader(
            stage.dataset,
            batch_sampler=list(lacking.values()),
            collate_fn=stage.collate,
            num_workers=config.data.num_workers,
        )
        stage.module.eval()
        for path, batch in zip(lacking, loader, strict=True):
            batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            with torch.no_grad(), accelerator.autocast():
                encoded = stage.encode(batch)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, save({name: x.half().cpu().contiguous() for name, x in encoded.items()}))
    except OSError as error:
        raise CheckpointError(f"cannot write the cache {folder}: {error.strerror}; make room") from error
    accelerator.wait_for_everyone()


class CachedRows(Dataset[dict[str, Tensor]]):
    """The rows of a cache, all of them in memory, in the place of those that they were made of."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        """Reads the rows of all training sizes.

        Raises:
            ConfigError: if a size has none.
        """
        self.seed, self.rows = config.seed, dict[Size, dict[str, Tensor]]()
        for width, height in config.data.sizes:
            files = sorted((folder / f"{width}x{height}").glob("*.safetensors"))
            if not files:
                raise ConfigError(
                    f"cached_batches is {config.cached_batches}: none of them has the size {width}x{height}; "
                    "set more"
                )
            batches = [load_file(path) for path in files]
            self.rows[width, height] = {
                name: torch.cat([batch[name] for batch in batches]) for name in batches[0]
            }

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        """Returns one row of the size, which index and seed draw from all of them."""
        index, size = key
        rows = self.rows[size]
        row = int(np.random.default_rng([self.seed, index]).integers(len(next(iter(rows.values())))))
        return {name: values[row].float() for name, values in rows.items()}


def _file(folder: Path, keys: list[Key]) -> Path:
    """Returns where a batch is kept."""
    first, (width, height) = keys[0]
    return folder / f"{width}x{height}" / f"{first:012d}.safetensors"


def _made_of(config: TrainConfig) -> str:
    """Returns what decides the cached rows, as YAML."""
    model = dataclasses.asdict(config.model)
    values = {
        "data": {**dataclasses.asdict(config.data), "num_workers": 0},
        "model": {name: part for name, part in model.items() if name not in _NOT_READ},
        "seed": config.seed,
        "batch_size": config.batch_size,
        "own_words_rate": config.own_words_rate,
    }
    return yaml.safe_dump(values, sort_keys=False)

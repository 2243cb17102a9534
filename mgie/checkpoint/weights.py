"""Weight files of other people: read tensor by tensor, and written in shards, without holding a model."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mgie.errors import CheckpointError
from mgie.model_folder import read_json

SHARD_BYTES = 2 * 1024**3
"""Largest file that is written: what a conversion holds in memory at a time."""

_STEMS = ("model", "diffusion_pytorch_model", "pytorch_model")
_SUFFIXES = (".safetensors", ".bin")


class Weights(Mapping[str, Tensor]):
    """The tensors of one file, or of a folder of shards, by name; one file is open at a time.

    Iterate in the given order, and each file is opened once. Tensors of `.safetensors` files and of `.bin` or
    `.pt` files in PyTorch's zip format are mapped from disk, so they take memory only while they are used.

    Raises:
        CheckpointError: no weights, a missing or truncated file, a file that needs arbitrary unpickling, or
            a tensor that a shard should have and has not; on opening, or when the tensor is read.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads which tensors there are.

        Args:
            path: a file, or a folder with one weight file or an index of shards.
        """
        path = Path(path)
        self._open_file: tuple[Path, Mapping[str, Any]] | None = None
        if path.is_file():
            self._files = dict.fromkeys(self._load(path), path)
            return
        if not path.is_dir():
            raise CheckpointError(f"there is no {path}; expected a weight file, or a folder of them")
        for name in (f"{stem}{suffix}" for suffix in _SUFFIXES for stem in _STEMS):
            index = path / f"{name}.index.json"
            if index.is_file():
                self._files = self._from_index(path, index)
                return
            if (path / name).is_file():
                self._files = dict.fromkeys(self._load(path / name), path / name)
                return
        raise CheckpointError(f"{path} has no weights; expected a .safetensors or .bin file, or their index")

    def __iter__(self) -> Iterator[str]:
        """Gives the names, file by file."""
        return iter(self._files)

    def __len__(self) -> int:
        """Returns the number of tensors."""
        return len(self._files)

    def __getitem__(self, name: str) -> Tensor:
        """Returns a tensor."""
        path = self._files[name]
        tensors = self._load(path)
        if name not in tensors:
            raise CheckpointError(f"{path} has no tensor '{name}', which its index names; copy it again")
        value = tensors[name]
        if not isinstance(value, Tensor):
            raise CheckpointError(f"'{name}' in {path} is {type(value).__name__}; expected a tensor")
        return value

    def _from_index(self, folder: Path, index: Path) -> dict[str, Path]:
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index} has no weight_map; copy it again")
        for shard in sorted(set(weight_map.values())):
            if not (folder / shard).is_file():
                raise CheckpointError(
                    f"{folder} lacks the shard {shard}, which its index names; copy it again"
                )
        by_file = sorted(weight_map.items(), key=lambda item: item[1])
        return {name: folder / shard for name, shard in by_file}

    def _load(self, path: Path) -> Mapping[str, Any]:
        if self._open_file is None or self._open_file[0] != path:
            self._open_file = None  # before the next one is opened
            self._open_file = path, read_weight_file(path)
        return self._open_file[1]


class _SafetensorsFile(Mapping[str, Tensor]):
    """A safetensors file as a mapping that reads a tensor when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, safe_open(path, framework="pt")
        self._names = list(self._file.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def read_weight_file(path: Path) -> Mapping[str, Any]:
    """Returns what is in one weight file, by name, mapped from disk where its format allows it.

    Raises:
        CheckpointError: it is damaged, or not weights alone.
    """
    try:
        if path.suffix == ".safetensors":
            return _SafetensorsFile(path)
        values = _torch_load(path)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not weights alone: reading it could run its author's code, so it is refused; ask for "
            "safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or cut off ({reason}); copy it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds {type(values).__name__}; expected tensors by name")
    return values


def _torch_load(path: Path) -> Any:
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        return torch.load(path, mmap=True, **options)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        return torch.load(path, **options)  # PyTorch's format before 1.6


def write_sharded(folder: Path, stem: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Writes safetensors in shards of at most `SHARD_BYTES`, with an index where there is more than one.

    Args:
        folder: where to; it is made.
        stem: name without suffix: "model" for transformers, "diffusion_pytorch_model" for diffusers.
        tensors: names and tensors; one shard of them is held at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    total = pending_bytes = 0

    def flush() -> None:
        nonlocal pending, pending_bytes
        save_file(pending, folder / f"{stem}-{len(shards):05d}.part", metadata={"format": "pt"})
        shards.append(list(pending))
        pending, pending_bytes = {}, 0

    for name, tensor in tensors:
        num_bytes = tensor.numel() * tensor.element_size()
        if pending and pending_bytes + num_bytes > SHARD_BYTES:
            flush()
        # A copy: a tensor mapped from disk, or a part of a larger one, would keep the whole alive.
        pending[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        total, pending_bytes = total + num_bytes, pending_bytes + num_bytes
    flush()
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"{stem}-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        if len(shards) == 1:
            file = f"{stem}.safetensors"
        (folder / f"{stem}-{number:05d}.part").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")

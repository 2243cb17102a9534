"""Loading parts from a model folder, strictly: no tensor is made up, left over, misshapen or broken."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import LlavaProcessor, PreTrainedModel
from transformers.utils import logging as transformers_logging

from mgie.errors import CheckpointError


def load_part(
    folder: Path, name: str, entry: list[Any], dtype: torch.dtype, device_map: str | None = None
) -> Any:
    """Returns one part of a pipeline: a model, the processor, or the scheduler.

    Args:
        folder: the pipeline's folder.
        name: the part's folder in it.
        entry: module and class of the part, as in `model_index.json`.
        dtype: type of all weights, whatever the files hold.
        device_map: a device, to load straight onto it; None is the CPU.

    Raises:
        CheckpointError: the part is not there, or a tensor is missing, unexpected, misshapen or not finite.
    """
    where, model_class = folder / name, part_class(folder, name, entry)
    if name == "processor":
        return load_processor(where, model_class)
    if name == "scheduler":
        with _readable(where):
            return model_class.from_pretrained(where, local_files_only=True)
    return load_model(where, model_class, dtype, device_map)


def part_class(folder: Path, name: str, entry: list[Any]) -> Any:
    """Returns the class of a part, whose folder is there.

    Args:
        folder: the pipeline's folder.
        name: the part's folder in it.
        entry: module and class of the part, as in `model_index.json`.

    Raises:
        CheckpointError: there is no such folder, or the class is none that mgie knows.
    """
    if not (folder / name).is_dir():
        raise CheckpointError(f"{folder} has no folder '{name}'; copy the model again, whole")
    library, class_name = entry if len(entry) == 2 else (None, None)
    if library not in ("diffusers", "transformers") and not str(library).startswith("mgie.models."):
        raise CheckpointError(f"{folder} names {entry} for '{name}'; expected a class that mgie knows")
    try:
        return getattr(importlib.import_module(str(library)), str(class_name))
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} names {entry} for '{name}'; expected a class that mgie knows"
        ) from error


def load_processor(where: Path, processor_class: Any = LlavaProcessor) -> Any:
    """Returns the processor in a folder, with the PIL backend: an installed torchvision changes no number.

    Raises:
        CheckpointError: it cannot be read.
    """
    with _readable(where):
        return processor_class.from_pretrained(where, backend="pil", local_files_only=True)


def load_model(
    where: Path,
    model_class: Any,
    dtype: torch.dtype = torch.float32,
    device_map: str | None = None,
    use_safetensors: bool = True,
) -> Any:
    """Returns the model in a folder.

    Args:
        where: the folder, with `config.json` and safetensors.
        model_class: a class of diffusers, transformers or `mgie.models`.
        dtype: type of all weights, whatever the files hold.
        device_map: a device, to load straight onto it; None is the CPU.
        use_safetensors: otherwise PyTorch's own files are read, weights alone.

    Raises:
        CheckpointError: it cannot be read, or a tensor is missing, unexpected, misshapen or not finite.
    """
    with _readable(where):
        model, info = model_class.from_pretrained(
            where,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=use_safetensors,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, by name
        )
    check_tensors(where, model, info)
    return model


def empty_model(where: Path, model_class: Any) -> Any:
    """Returns the model that a folder's `config.json` describes, on the meta device: names and shapes alone.

    Args:
        where: the folder; its weights are not looked at.
        model_class: a class of diffusers, transformers or `mgie.models`.

    Raises:
        CheckpointError: the configuration cannot be read, or is not one of this class.
    """
    with _readable(where), torch.device("meta"):
        if not issubclass(model_class, nn.Module):
            raise TypeError(f"{model_class.__name__} is no model")
        if issubclass(model_class, PreTrainedModel):
            config_class: Any = model_class.config_class
            return model_class(config_class.from_pretrained(where, local_files_only=True))
        mixed_class: Any = model_class  # with diffusers' ConfigMixin
        return mixed_class.from_config(mixed_class.load_config(where, local_files_only=True))


@contextlib.contextmanager
def _readable(where: Path) -> Iterator[None]:
    """Turns whatever goes wrong while a part is read into one line."""
    try:
        if not where.is_dir():
            raise FileNotFoundError("there is no such folder")
        yield
    except Exception as error:  # each library has errors of its own for damaged files
        reason = " ".join(str(error).split())
        raise CheckpointError(f"cannot load {where}: {reason}; copy the model again, whole") from error


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Keeps the libraries from printing while parts load: what is wrong with a part is raised instead."""
    libraries = (transformers_logging, diffusers_logging)
    before = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, verbosity, bar in before:
            library.set_verbosity(verbosity)
            if bar:
                library.enable_progress_bar()


def check_tensors(where: Path, model: nn.Module, info: dict[str, Any]) -> None:
    """Raises a `CheckpointError` with the name of the first tensor that is not as the configuration says.

    Args:
        where: what was read, for the message.
        model: the model that it was read into.
        info: `missing_keys`, `unexpected_keys` and `mismatched_keys`, as `output_loading_info` gives them.
    """
    problems = {
        "is missing": sorted(info["missing_keys"]),
        "is not part of this model": sorted(info["unexpected_keys"]),
        "has not the shape of the configuration": sorted(key for key, *_ in info["mismatched_keys"]),
    }
    if not any(problems.values()):  # missing tensors have no values to look at
        state = model.state_dict()
        problems = {"is not finite": [key for key, tensor in state.items() if not tensor.isfinite().all()]}
    for problem, keys in problems.items():
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise CheckpointError(f"{where}: tensor '{keys[0]}' {problem}{more}; copy the model again, whole")

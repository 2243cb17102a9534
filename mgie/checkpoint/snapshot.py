"""The weights in a checkpoint of the training loop, in whichever of accelerate's layouts it was written."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from mgie.checkpoint.weights import Weights, read_weight_file
from mgie.errors import CheckpointError
from mgie.models.loading import check_tensors

FSDP_SHARDS, FSDP_WHOLE = "pytorch_model_fsdp_0", "pytorch_model_fsdp.bin"
ZERO_SHARDS = "pytorch_model"
AVERAGE = "custom_checkpoint_0.pkl"
"""What the loop registers first: the state of diffusers' `EMAModel`."""


def load_trained(module: nn.Module, checkpoint: Path) -> None:
    """Puts the weights that the optimizer works on in the place of the module's own, strictly.

    Shards of FSDP and of DeepSpeed are unpickled, which can run code: they have to be one's own.

    Args:
        module: the trained whole, such as `mgie.models.mgie.MGIE`, on the CPU in fp32.
        checkpoint: folder that accelerate's `save_state` wrote: safetensors whole or in shards, FSDP, or
            DeepSpeed ZeRO.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is missing, unexpected, misshapen or not
            finite, or the package deepspeed is missing.
    """
    if (checkpoint / FSDP_SHARDS).is_dir():
        tensors = _read_fsdp(checkpoint / FSDP_SHARDS)
    elif (checkpoint / ZERO_SHARDS).is_dir():
        tensors = _read_zero(checkpoint / ZERO_SHARDS)
    elif (checkpoint / FSDP_WHOLE).is_file():
        tensors = Weights(checkpoint / FSDP_WHOLE)
    else:
        tensors = Weights(checkpoint)
    _put(checkpoint, module, module.state_dict(), tensors)


def load_average(module: nn.Module, checkpoint: Path) -> None:
    """Puts the moving average of the trained weights in their place; frozen ones stay.

    Args:
        module: the trained whole; what requires gradients is what was trained.
        checkpoint: folder that accelerate's `save_state` wrote.

    Raises:
        CheckpointError: there is no average, it is damaged, or it is one of other weights.
    """
    file = checkpoint / AVERAGE
    if not file.is_file():
        raise CheckpointError(f"{checkpoint} has no averaged weights ({AVERAGE}); take the raw ones")
    shadow = read_weight_file(file).get("shadow_params")
    if not isinstance(shadow, list) or not all(isinstance(tensor, Tensor) for tensor in shadow):
        raise CheckpointError(f"{file} holds no averaged weights; take the raw ones")
    trained = {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
    if len(shadow) != len(trained):
        raise CheckpointError(
            f"{file} holds {len(shadow)} averaged tensors, config.yaml says that {len(trained)} are trained; "
            "give it the configuration that it was trained with, learning_rates above all"
        )
    _put(file, module, trained, dict(zip(trained, shadow, strict=True)))


@torch.no_grad()
def _put(where: Path, module: nn.Module, state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copies tensors into those of the same name in `state`, of which none may be left as it was.

    Of a tensor with several names, such as tied embeddings, one name is enough.
    """
    found = {name.removeprefix("module."): name for name in tensors}  # DDP's prefix
    stored = {state[name].data_ptr() for name in found if name in state}
    missing = [
        name
        for name, tensor in state.items()
        if name not in found and not (tensor.numel() and tensor.data_ptr() in stored)
    ]
    unexpected = [name for name in found if name not in state]
    misshapen: list[tuple[str]] = []
    if not missing and not unexpected:
        for name, key in found.items():
            tensor = tensors[key]
            if tensor.shape == state[name].shape:
                state[name].copy_(tensor)
            else:
                misshapen.append((name,))
    info = {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": misshapen}
    check_tensors(where, module, info)


def _read_fsdp(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors in a folder of `torch.distributed.checkpoint`, put together from all processes."""
    with _readable(folder):
        reader = dcp.FileSystemReader(folder)
        entries = reader.read_metadata().state_dict_metadata
        tensors = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in entries.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        dcp.load(tensors, storage_reader=reader)
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}  # accelerate's own key


def _read_zero(folder: Path) -> dict[str, Tensor]:
    """Returns the fp32 tensors in a checkpoint of DeepSpeed's ZeRO, put together from all processes."""
    with _readable(folder), contextlib.redirect_stdout(io.StringIO()):  # it prints what it finds
        try:
            from deepspeed.utils.zero_to_fp32 import (  # pyright: ignore[reportMissingImports]
                get_fp32_state_dict_from_zero_checkpoint,
            )
        except ImportError as error:
            raise CheckpointError(
                f"{folder} was written by DeepSpeed, which reading it needs; pip install 'mgie[deepspeed]'"
            ) from error
        return get_fp32_state_dict_from_zero_checkpoint(str(folder.parent), tag=folder.name)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turns whatever goes wrong while shards are read into one line."""
    try:
        yield
    except CheckpointError:
        raise
    except (Exception, dcp.CheckpointException) as error:  # the latter is no Exception
        cause: BaseException = error
        if isinstance(error, dcp.CheckpointException) and error.failures:
            cause = next(iter(error.failures.values()))[0]
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise CheckpointError(
            f"cannot read the shards in {folder}: {reason}; copy them again, all"
        ) from error

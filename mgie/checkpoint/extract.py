"""From a training run to a model that others load: its weights in one type, with their provenance."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mgie.checkpoint.snapshot import load_average, load_trained
from mgie.config import TrainConfig, load_config
from mgie.errors import CheckpointError
from mgie.model_folder import INDEX_FILE, check_free, read_json, replaced_folder, write_provenance
from mgie.pipeline import MGIEPipeline
from mgie.training.loop import CHECKPOINT, STEP_FILE
from mgie.training.stages.joint import build_module


def extract_run(
    snapshot: str | Path,
    out: str | Path,
    *,
    weights: Literal["ema", "raw"] | None = None,
    dtype: torch.dtype = torch.float32,
    provenance: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda step: None,
) -> Path:
    """Writes the weights in a run's checkpoint as a model folder, whole or not at all; returns the folder.

    Architecture, processor, scheduler and defaults are those of RUN/pipeline.

    Args:
        snapshot: run folder of stage `joint`, or its checkpoint folder.
        out: folder to write; an older model there is replaced.
        weights: "ema", the moving average of the trained weights, or "raw", those that the optimizer works
            on; by default the average, if the run kept one.
        dtype: type of all weights.
        provenance: what `mgie.json` says beside `training_steps`, `weights`, `training_config`, `dtype` and
            `sha256`: licence and data.
        report: is told what is done next.

    Raises:
        CheckpointError: there is no such run, it is of another stage or has no such weights; a file is
            missing or damaged; a tensor is missing, unexpected, misshapen, not finite, or too large for
            `dtype`; `out` is something else than a model or cannot be written.
        ConfigError: the run's `config.yaml` cannot be read.
    """
    run, checkpoint = _find_checkpoint(Path(snapshot))
    config = load_config(run / "config.yaml")
    if config.stage != "joint":
        raise CheckpointError(f"{run} is a run of stage {config.stage}; expected one of stage joint")
    if not checkpoint.is_dir():
        raise CheckpointError(f"{run} has no checkpoint yet; one is written every save_every steps")
    weights = weights or ("ema" if config.ema_decay else "raw")
    if weights == "ema" and not config.ema_decay:
        raise CheckpointError(f"{run} kept no average (ema_decay: 0); take the raw weights")
    check_free(Path(out))
    if Path(out).resolve() == run / "pipeline":
        raise CheckpointError(f"{out} is the run's own pipeline; choose another folder")
    if not (run / "pipeline" / INDEX_FILE).is_file():
        raise CheckpointError(
            f"{run} has no pipeline/{INDEX_FILE}, which says what the model is; copy it again"
        )

    step = _steps_done(checkpoint)
    report("reading the pipeline")
    pipeline = MGIEPipeline.from_pretrained(run / "pipeline")
    module = build_module(pipeline, config)
    report("reading the weights")
    load_trained(module, checkpoint)
    if weights == "ema":
        load_average(module, checkpoint)
    if _steps_done(checkpoint) != step:
        raise CheckpointError(f"{run} wrote its next checkpoint while this one was read; try again")
    report("writing the model")
    values = {
        **(provenance or {}),
        "training_steps": step,
        "weights": weights,
        "training_config": _without_folders(config),
    }
    return export_pipeline(pipeline, out, dtype, values)


def export_pipeline(
    source: MGIEPipeline | str | Path, out: str | Path, dtype: torch.dtype, provenance: Mapping[str, Any]
) -> Path:
    """Writes a pipeline as a model folder, whole or not at all, and returns the folder.

    Args:
        source: pipeline, which is changed to `dtype`, or the folder of one.
        out: folder to write; an older model there is replaced.
        dtype: type of all weights, `torch.float16` for instance.
        provenance: what `mgie.json` says: training configuration, data, licence. The type and the SHA-256 of
            each file are added as `dtype` and `sha256`.

    Raises:
        CheckpointError: the pipeline cannot be loaded, a weight is too large for `dtype`, or `out` is
            something else than a model or cannot be written.
    """
    out = Path(out)
    check_free(out)
    pipeline = source if isinstance(source, MGIEPipeline) else MGIEPipeline.from_pretrained(source)
    _cast(pipeline, dtype)
    with replaced_folder(out) as new:
        pipeline.save_pretrained(new)
        write_provenance(new, {**provenance, "dtype": str(dtype).removeprefix("torch.")})
    return out


def _find_checkpoint(snapshot: Path) -> tuple[Path, Path]:
    """Returns the run folder and its checkpoint folder, absolute, of either of them."""
    if not snapshot.is_dir():
        raise CheckpointError(f"there is no folder {snapshot}; expected a training run")
    folder = snapshot.resolve()
    is_run = not (folder / STEP_FILE).is_file()
    run, checkpoint = (folder, folder / CHECKPOINT) if is_run else (folder.parent, folder)
    if not (run / "config.yaml").is_file():
        raise CheckpointError(f"{run} is no training run, it has no config.yaml; give the run folder")
    return run, checkpoint


def _steps_done(checkpoint: Path) -> int:
    step = read_json(checkpoint / STEP_FILE).get("step")
    if not isinstance(step, int):
        raise CheckpointError(f"{checkpoint / STEP_FILE} has no step; copy the checkpoint again, whole")
    return step


def _without_folders(config: TrainConfig) -> dict[str, Any]:
    """Returns the configuration with absolute paths cut to their last name; the rest is this machine's."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cut(item) for key, item in value.items()}
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    return cut(dataclasses.asdict(config))


def _cast(pipeline: MGIEPipeline, dtype: torch.dtype) -> None:
    for name, part in pipeline.components.items():
        if not isinstance(part, nn.Module):
            continue
        for key, tensor in part.to(dtype).state_dict().items():
            if not tensor.isfinite().all():
                raise CheckpointError(
                    f"{name}: tensor '{key}' is too large for {dtype}; take torch.bfloat16 or float32"
                )

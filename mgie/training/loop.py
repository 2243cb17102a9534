"""The training loop, one for all stages, on accelerate: one process, or many by torchrun."""

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Generator, nn
from torch.utils.data import DataLoader, default_collate

from mgie.config import TrainConfig, dump_config
from mgie.data.dataset import StepSampler
from mgie.errors import CheckpointError, TrainingError
from mgie.images import save_image
from mgie.model_folder import replaced_folder
from mgie.training.cache import CachedRows, fill_cache
from mgie.training.optim import build_optimizer, build_schedule
from mgie.training.stages import Stage, build_stage

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
"""Folder of the newest checkpoint inside the run folder."""
CACHE = "cache"
"""Folder in it of what the frozen parts make of the data."""
STEP_FILE = "step.json"
"""File in it that says how many steps are behind it."""

Report = Callable[[int, dict[str, float]], None]
"""Is told the step and its figures, on the main process."""


def train(config: TrainConfig, report: Report | None = None) -> Path:
    """Trains until `max_steps`, from the run folder's checkpoint on; returns the folder of the pipeline.

    Raises:
        ConfigError: if the configuration cannot be trained.
        TrainingError: if loss or gradients stop being finite; the last checkpoint stays.
        CheckpointError: if a checkpoint cannot be read, or written in whole.
    """
    run = Path(config.output_dir)
    accelerator = _accelerator(config)
    torch.manual_seed(config.seed)  # new parts begin alike on every process
    stage = build_stage(config)
    optimizer = build_optimizer(stage.module, config)
    schedule = build_schedule(optimizer, config)
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    ema = (
        EMAModel(trained, decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        if config.ema_decay
        else None
    )
    module, optimizer = accelerator.prepare(stage.module, optimizer)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)
    accelerator.register_for_checkpointing(schedule)
    start = _resume(accelerator, run)
    if ema is not None:
        ema.to(accelerator.device)  # a checkpoint's average comes back on the CPU
    if accelerator.is_main_process:
        _write(run / "config.yaml", dump_config(config))

    batches = _batches(stage, config, accelerator, start)
    module.train()
    begun = time.perf_counter()
    for step in range(start, config.max_steps):
        losses = _forward_backward(module, batches, config, accelerator, step)
        losses["grad_norm"] = float(accelerator.clip_grad_norm_(trained, config.max_grad_norm) or 0.0)
        # With fp16 the loss scaler itself leaves out a step whose gradients overflow.
        finite_norm = math.isfinite(losses["grad_norm"]) or accelerator.scaler is not None
        if not (finite_norm and math.isfinite(losses["loss"])):
            raise TrainingError(
                f"step {step}: loss {losses['loss']:.4g}, gradient norm {losses['grad_norm']:.4g}; lower "
                f"learning_rate or set mixed_precision: no, and run again from the checkpoint in {run}"
            )
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if ema is not None:
            ema.step(trained)

        done = step + 1
        last = done == config.max_steps
        if done % config.log_every == 0 or last:
            rate = config.batch_size * config.gradient_accumulation_steps * accelerator.num_processes
            seconds = (time.perf_counter() - begun) / (done - start)
            figures = {**losses, "lr": schedule.get_last_lr()[0], "rows_per_second": rate / seconds}
            _log(accelerator, run, done, figures, report)
        if done % config.save_every == 0 or last:
            save_checkpoint(accelerator, run, done)
        if done % config.save_every == 0 and not last:
            with _averaged(ema, trained):
                _save_pipeline(accelerator, stage, run)
        if done % config.sample_every == 0 and not last and accelerator.is_main_process:
            with _averaged(ema, trained):
                _save_picture(stage, run / "samples", done)
    # Here, so that a run that was stopped after its last checkpoint gets what it lacks.
    with _averaged(ema, trained):
        if accelerator.is_main_process:
            stage.finish()
        _save_pipeline(accelerator, stage, run)
        if accelerator.is_main_process:
            _save_picture(stage, run / "samples", max(start, config.max_steps))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run / "pipeline"


def _accelerator(config: TrainConfig) -> Accelerator:
    """Returns the accelerator, and makes sure that torchrun's processes know of each other.

    Without `cpu=True`, a process on a machine without an accelerator takes itself to be alone, and all train
    the same.
    """
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(), mixed_precision=config.mixed_precision
    )
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != expected:
        raise TrainingError(
            f"{accelerator.num_processes} processes are training together, torchrun started {expected}"
        )
    return accelerator


def step_generator(seed: int, batch: int, rank: int) -> Generator:
    """Returns the CPU generator of one batch on one process: a resumed run draws what the original drew."""
    state = np.random.SeedSequence([seed, batch, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def _batches(stage: Stage, config: TrainConfig, accelerator: Accelerator, start: int) -> Iterator[Any]:
    sampler = partial(
        StepSampler,
        [(width, height) for width, height in config.data.sizes],
        config.seed,
        config.batch_size,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    dataset, collate = stage.dataset, stage.collate
    if config.cached_batches:
        cache = Path(config.output_dir) / CACHE
        own = math.ceil(config.cached_batches / accelerator.num_processes)
        fill_cache(cache, stage, config, sampler(batches=range(own)), accelerator)
        dataset, collate = CachedRows(cache, config), default_collate
    count = config.gradient_accumulation_steps
    loader = DataLoader(
        dataset,
        batch_sampler=sampler(batches=range(start * count, config.max_steps * count)),
        collate_fn=collate,
        num_workers=config.data.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    return iter(loader)


def _forward_backward(
    module: nn.Module, batches: Iterator[Any], config: TrainConfig, accelerator: Accelerator, step: int
) -> dict[str, float]:
    """Accumulates the gradients of one step; returns the mean losses of this process."""
    count = config.gradient_accumulation_steps
    sums: dict[str, float] = {}
    for micro in range(count):
        batch = {
            name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in next(batches).items()
        }
        generator = step_generator(config.seed, step * count + micro, accelerator.process_index)
        waiting = contextlib.nullcontext() if micro == count - 1 else accelerator.no_sync(module)
        with waiting, accelerator.autocast():
            losses = module(batch, generator)
            accelerator.backward(losses["loss"] / count)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item() / count
    return sums


@contextlib.contextmanager
def _averaged(ema: EMAModel | None, trained: list[nn.Parameter]) -> Iterator[None]:
    """Puts the averaged weights in the place of the trained ones for a while."""
    if ema is None:
        yield
        return
    ema.store(trained)
    ema.copy_to(trained)
    try:
        yield
    finally:
        ema.restore(trained)


def save_checkpoint(accelerator: Accelerator, run: Path, step: int) -> None:
    """Writes everything that a bitwise resume needs; the old checkpoint goes only once the new one stands.

    Raises:
        CheckpointError: if it could not be written in whole, the disk being full for instance; the old one
        stays.
    """
    with replaced_folder(run / CHECKPOINT, main=accelerator.is_main_process) as new:
        accelerator.wait_for_everyone()
        accelerator.save_state(str(new))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (new / STEP_FILE).write_text(json.dumps({"step": step}))


def _resume(accelerator: Accelerator, run: Path) -> int:
    """Loads the run folder's checkpoint; returns the number of steps that it has behind it."""
    folder = run / CHECKPOINT
    if not folder.is_dir():
        return 0
    try:
        accelerator.load_state(str(folder))
        return int(json.loads((folder / STEP_FILE).read_text())["step"])
    except Exception as error:  # whatever is wrong with it, the user is told which folder it is
        reason = " ".join(str(error).split()[:40]) or type(error).__name__
        raise CheckpointError(
            f"cannot resume from {folder}: {reason}; go on with the configuration that it is of, "
            f"{run / 'config.yaml'}, or remove it to start anew"
        ) from error


def _save_pipeline(accelerator: Accelerator, stage: Stage, run: Path) -> None:
    if accelerator.is_main_process:
        with replaced_folder(run / "pipeline") as new:
            stage.save(new)
    accelerator.wait_for_everyone()


def _save_picture(stage: Stage, folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        stage.module.eval()
        save_image(stage.picture(), folder / f"{step:07d}.png")
        stage.module.train()


def _log(
    accelerator: Accelerator, run: Path, step: int, figures: dict[str, float], report: Report | None
) -> None:
    if not accelerator.is_main_process:
        return
    row = {"step": step, **{name: round(value, 6) for name, value in figures.items()}}
    _write(run / "log.jsonl", json.dumps(row) + "\n", mode="a")
    if report is not None:
        report(step, figures)


def _write(path: Path, text: str, mode: str = "w") -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}; choose another output_dir") from error

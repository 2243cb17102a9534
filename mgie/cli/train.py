"""`mgie train`: a training run as a configuration has it; `torchrun train/finetune.py` runs the same code."""

import os
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from mgie.cli.options import Debug


def train(
    config: Annotated[Path, typer.Argument(help="YAML file, such as those in train/configs.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: key=value or key.subkey=value.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a stage, or go on from its last checkpoint."""
    from mgie.config import load_config

    resolved = load_config(config, overrides or [])
    from mgie.training.loop import train as run

    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one speaks
    with tqdm(total=resolved.max_steps, desc=resolved.stage, unit="step", disable=not first) as bar:

        def report(step: int, figures: dict[str, float]) -> None:
            bar.n = step
            bar.set_postfix({name: f"{value:.4g}" for name, value in figures.items()})

        folder = run(resolved, report)
    if first:
        print(f"saved: {folder}")

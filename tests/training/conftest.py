"""Fixtures of the training tests: a toy stage for the loop, and the smoke configuration for all of MGIE."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

import mgie.training.loop
from mgie.config import TrainConfig
from mgie.training.stages import language
from tests.conftest import smoke_config

sys.path.insert(0, str(Path(__file__).parent))  # toy_stage, which is a program of its own too

from toy_stage import ToyStage


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Every test has accelerate's state and torch's random numbers to itself."""
    with torch.random.fork_rng():
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that makes the loop train `ToyStage`, with the arguments that it is given."""

    def use(**arguments: Any) -> None:
        monkeypatch.setattr(mgie.training.loop, "build_stage", partial(ToyStage, **arguments))

    use()
    return use


@pytest.fixture
def smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainConfig]:
    """Returns a function that gives the smoke configuration with changes, on the sample photographs."""
    monkeypatch.setattr(language, "TOKENIZER_ROWS", 100)

    def config(**changes: Any) -> TrainConfig:
        return smoke_config(tmp_path / "run", **changes)

    return config

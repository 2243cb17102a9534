"""Frozen parts whose outputs are kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

import mgie.training.loop
from mgie.config import TrainConfig
from mgie.errors import CheckpointError, ConfigError
from mgie.training.cache import CachedRows
from mgie.training.loop import step_generator, train
from mgie.training.stages import JointStage, build_stage

Smoke = Callable[..., TrainConfig]
FROZEN = {"learning_rates": {"mllm": 0}, "cached_batches": 3, "max_steps": 5}


def files(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted((run / "cache").glob("*/*.safetensors"))}


@pytest.fixture
def trained(smoke: Smoke) -> tuple[TrainConfig, Path]:
    """A configuration with a cache, and its run folder after training."""
    config = smoke(**FROZEN)
    train(config)
    return config, Path(config.output_dir)


def test_the_loss_of_a_cached_row_is_that_of_the_row(trained: tuple[TrainConfig, Path]):
    config, run = trained
    torch.manual_seed(config.seed)  # as `train` does, for the parts are new
    stage = build_stage(config)
    stage.module.eval()
    for zeros in (stage.module.unet.conv_out.weight, stage.module.unet.affine[-1].weight):
        nn.init.normal_(zeros)  # so that the words have a say
    (first, (width, height)), *_ = keys = [(i, (32, 32)) for i in range(config.batch_size)]
    assert (run / "cache" / f"{width}x{height}" / f"{first:012d}.safetensors").exists()
    stored = CachedRows(run / "cache", config).rows[32, 32]
    encoded = {name: values[: len(keys)].float() for name, values in stored.items()}
    losses, expected = (
        stage.module(batch, step_generator(0, 0, 0))
        for batch in (encoded, stage.collate([stage.dataset[key] for key in keys]))
    )
    torch.testing.assert_close(losses["diffusion_loss"], expected["diffusion_loss"], rtol=5e-3, atol=0)
    assert losses["lm_loss"] == 0 < expected["lm_loss"]
    losses["loss"].backward()
    assert stage.module.edit_head.llm2hid.weight.grad.abs().max() > 0


def test_training_reads_the_data_only_for_the_cache(smoke: Smoke, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []

    def counting(config: TrainConfig) -> JointStage:
        stage = JointStage(config)
        collate = stage.collate
        monkeypatch.setattr(stage, "collate", lambda samples: read.append(len(samples)) or collate(samples))
        return stage

    monkeypatch.setattr(mgie.training.loop, "build_stage", counting)
    config = smoke(**FROZEN)
    train(config)
    assert read == [config.batch_size] * 3
    cached = files(Path(config.output_dir))
    train(smoke(**{**FROZEN, "cached_batches": 4, "max_steps": 7}))  # goes on, with one batch more
    assert read == [config.batch_size] * 4
    assert cached.items() < files(Path(config.output_dir)).items()


def test_every_row_is_drawn_and_a_key_draws_the_same(trained: tuple[TrainConfig, Path]):
    config, run = trained
    rows = CachedRows(run / "cache", config)
    every = rows.rows[32, 32]["visual_token_states"].float()
    drawn = default_collate([rows[i, (32, 32)] for i in range(200)])["visual_token_states"]
    found = (drawn[:, None] == every[None]).all(-1).all(-1)
    assert found.any(1).all() and found.any(0).all() and len(every) == 3 * config.batch_size
    assert torch.equal(rows[7, (32, 32)]["image_latents"], rows[7, (32, 32)]["image_latents"])


@pytest.mark.parametrize(
    "change", [{"seed": 9}, {"data.crop": [0.5, 0.6]}, {"batch_size": 3}, {"own_words_rate": 0.5}]
)
def test_a_cache_of_something_else_is_refused(
    trained: tuple[TrainConfig, Path], smoke: Smoke, change: dict[str, object]
):
    with pytest.raises(ConfigError, match="remove it"):
        train(smoke(**FROZEN, **change))


def test_sizes_that_no_cached_batch_has_are_refused(smoke: Smoke):
    sizes = [[32, 32], [48, 32], [32, 48], [64, 32]]
    with pytest.raises(ConfigError, match="set more"):
        train(smoke(**{**FROZEN, "cached_batches": 1, "data.sizes": sizes}))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rates": {}},
        {"learning_rates": {"mllm": 1e-4}},
        {"model.conditioning": "ip2p"},
        {"stage": "autoencoder", "learning_rates": {}},
    ],
)
def test_what_is_trained_cannot_be_cached(smoke: Smoke, change: dict[str, object]):
    with pytest.raises(ConfigError, match="cached_batches"):
        train(smoke(**{**FROZEN, **change}))


def test_a_cache_that_cannot_be_written_is_one_line(smoke: Smoke):
    config = smoke(**FROZEN)
    Path(config.output_dir).mkdir()
    (Path(config.output_dir) / "cache").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write the cache"):
        train(config)

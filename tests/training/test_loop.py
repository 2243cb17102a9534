"""The loop: what one can set, what it writes, how it stops, and that it goes on as if it had not stopped."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from torch import Tensor
from toy_stage import ToyStage, toy_config

import mgie.training.loop
from mgie.errors import CheckpointError, TrainingError
from mgie.training.loop import step_generator, train

Toy = Callable[..., None]


def weights(run: Path) -> dict[str, Tensor]:
    """Returns the weights of a run's pipeline."""
    return torch.load(run / "pipeline" / "weights.pt")


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_folder(toy: Toy, tmp_path: Path):
    run = tmp_path / "run"
    told: list[tuple[int, dict[str, float]]] = []
    pipeline = train(toy_config(run, log_every=2), lambda step, figures: told.append((step, figures)))
    assert pipeline == run / "pipeline"
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "log.jsonl", "checkpoint", "pipeline", "samples"}
    assert [path.name for path in sorted((run / "samples").iterdir())] == ["0000004.png", "0000006.png"]
    assert [row["step"] for row in log(run)] == [step for step, _ in told] == [2, 4, 6]
    assert log(run)[0].keys() == {"step", "loss", "error", "grad_norm", "lr", "rows_per_second"}
    assert json.loads((run / "checkpoint" / "step.json").read_text()) == {"step": 6}
    assert yaml.safe_load((run / "config.yaml").read_text())["max_steps"] == 6


def test_it_learns(toy: Toy, tmp_path: Path):
    toy(noise=0.0)
    train(toy_config(tmp_path, max_steps=150, save_every=150))
    losses = [row["loss"] for row in log(tmp_path)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stops", [[2], [4], [1, 2, 5]])
def test_resume_is_bitwise(stops: list[int], optimizer: str, toy: Toy, tmp_path: Path):
    """A run that is stopped ends as the run that was not: weights, optimizer, average and log."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(toy_config(whole, optimizer=optimizer))
    for stop in [*stops, 6]:
        torch.manual_seed(stop)  # nothing may depend on what the process did before
        train(toy_config(parts, optimizer=optimizer, max_steps=stop))
    assert equal(weights(whole), weights(parts))
    for name in ("model.safetensors", "custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "optimizer.bin"):
        a, b = ((run / "checkpoint" / name).read_bytes() for run in (whole, parts))
        assert a == b, name
    assert [row["loss"] for row in log(whole)] == [row["loss"] for row in log(parts)]


def test_a_finished_run_is_left_alone(toy: Toy, tmp_path: Path):
    train(toy_config(tmp_path))
    before = weights(tmp_path)
    train(toy_config(tmp_path))
    assert equal(before, weights(tmp_path)) and len(log(tmp_path)) == 6


def test_a_run_stopped_after_its_last_checkpoint_gets_its_pipeline(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    finished = []
    monkeypatch.setattr(ToyStage, "finish", lambda stage: finished.append(stage))
    train(toy_config(whole, save_every=4))

    def full(stage: ToyStage, folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    train(toy_config(stopped, save_every=4, max_steps=4))
    with monkeypatch.context() as full_disk:
        full_disk.setattr(ToyStage, "save", full)
        with pytest.raises(CheckpointError):
            train(toy_config(stopped, save_every=4))
    assert not equal(weights(whole), weights(stopped))
    finished.clear()
    train(toy_config(stopped, save_every=4))
    assert len(finished) == 1 and equal(weights(whole), weights(stopped))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"max_steps": 5},
        {"batch_size": 3},
        {"gradient_accumulation_steps": 2},
        {"optimizer": "muon"},
        {"learning_rate": 0.02},
        {"learning_rates": {"second": 0.0}},
        {"warmup_steps": 4},
        {"decay_steps": 3},
        {"weight_decay": 0.5},
        {"max_grad_norm": 1e-8},
        {"ema_decay": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_has_an_effect(change: dict[str, Any], toy: Toy, tmp_path: Path):
    train(toy_config(tmp_path / "plain"))
    train(toy_config(tmp_path / "changed", **change))
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "changed"))


@pytest.mark.parametrize("change", [{"log_every": 5}, {"save_every": 4}, {"sample_every": 1}], ids=str)
def test_looking_changes_nothing(change: dict[str, Any], toy: Toy, tmp_path: Path):
    train(toy_config(tmp_path / "plain"))
    train(toy_config(tmp_path / "changed", **change))
    assert equal(weights(tmp_path / "plain"), weights(tmp_path / "changed"))


def test_two_times_four_rows_are_eight(toy: Toy, tmp_path: Path):
    """Exact but for the order of sums, as nothing random depends on the batch here."""
    toy(noise=0.0)
    train(toy_config(tmp_path / "two", batch_size=4, gradient_accumulation_steps=2))
    train(toy_config(tmp_path / "one", batch_size=8))
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4)


def test_pipeline_has_the_averaged_weights(toy: Toy, tmp_path: Path):
    from safetensors.torch import load_file

    train(toy_config(tmp_path, ema_decay=0.9))
    trained = load_file(tmp_path / "checkpoint" / "model.safetensors")
    average = torch.load(tmp_path / "checkpoint" / "custom_checkpoint_0.pkl")["shadow_params"]
    assert all(torch.equal(a, b) for a, b in zip(weights(tmp_path).values(), average, strict=True))
    assert not equal(weights(tmp_path), trained)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_no_number_stops_before_the_step(accumulate: int, toy: Toy, tmp_path: Path):
    toy(bad_from=3 * 4 * accumulate)
    config = toy_config(tmp_path, gradient_accumulation_steps=accumulate)
    with pytest.raises(TrainingError, match=r"step 3: loss nan, .*lower learning_rate") as error:
        train(config)
    assert "\n" not in str(error.value)
    assert json.loads((tmp_path / "checkpoint" / "step.json").read_text()) == {"step": 2}
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path).values())
    toy()  # with good data the run goes on
    train(config)
    assert len(log(tmp_path)) == 3 + 4


def test_the_step_is_not_taken(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stages: list[ToyStage] = []

    def build(config: Any) -> ToyStage:
        stages.append(ToyStage(config, bad_from=0))
        return stages[0]

    monkeypatch.setattr(mgie.training.loop, "build_stage", build)
    with pytest.raises(TrainingError):
        train(toy_config(tmp_path))
    torch.manual_seed(0)
    assert equal(stages[0].module.state_dict(), ToyStage(toy_config(tmp_path)).module.state_dict())


def test_a_full_disk_leaves_the_old_checkpoint(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(toy_config(tmp_path, max_steps=2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoint").iterdir()}

    def save_half(self: Accelerator, folder: str) -> None:
        Path(folder, "model.safetensors").write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", save_half)
        with pytest.raises(
            CheckpointError, match="No space left on device; choose a writable place that has room"
        ) as error:
            train(toy_config(tmp_path))
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoint").iterdir()} == before
    assert not list(tmp_path.glob("*.new"))
    train(toy_config(tmp_path))
    train(toy_config(tmp_path / "whole"))
    assert equal(weights(tmp_path), weights(tmp_path / "whole"))


def test_a_full_disk_leaves_the_old_pipeline(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(toy_config(tmp_path, max_steps=2))
    before = weights(tmp_path)

    def save_half(self: ToyStage, folder: Path) -> None:
        (folder / "weights.pt").write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ToyStage, "save", save_half)
    with pytest.raises(CheckpointError, match="No space left on device"):
        train(toy_config(tmp_path))
    assert equal(weights(tmp_path), before)
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("name", ["config.yaml", "log.jsonl"])
def test_a_file_of_the_run_that_cannot_be_written_is_one_line(toy: Toy, tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=f"cannot write .*{name}: .*; choose another output_dir"):
        train(toy_config(tmp_path))


def test_a_damaged_checkpoint_is_named(toy: Toy, tmp_path: Path):
    train(toy_config(tmp_path, max_steps=2))
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        CheckpointError,
        match=r"cannot resume from .*checkpoint.*go on with the configuration .* or remove it",
    ):
        train(toy_config(tmp_path))


def test_an_unwritable_run_folder(toy: Toy, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="choose another output_dir"):
        train(toy_config(tmp_path / "file" / "run"))


def test_generators_of_batches_and_ranks_differ():
    first = {
        key: torch.rand(1, generator=step_generator(*key)).item()
        for key in [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 1)]
    }
    assert len(set(first.values())) == 5
    assert torch.rand(1, generator=step_generator(0, 1, 1)).item() == first[0, 1, 1]


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_mixed_precision_is_autocast_alone(precision: str, dtype: torch.dtype, tmp_path: Path):
    accelerator = mgie.training.loop._accelerator(toy_config(tmp_path, mixed_precision=precision))
    layer = torch.nn.Linear(2, 2).to(accelerator.device)
    with accelerator.autocast():
        assert layer(torch.ones(1, 2, device=accelerator.device)).dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert accelerator.scaler is None


def test_processes_that_do_not_know_of_each_other(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mgie.training.loop._accelerator(
        toy_config(tmp_path)
    )  # accelerate's state is there before torchrun's variables
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="1 processes are training together, torchrun started 2"):
        train(toy_config(tmp_path))

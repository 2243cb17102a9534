"""Optimizer and schedule."""

from pathlib import Path

import pytest
import torch
from toy_stage import ToyModule, toy_config

from mgie.errors import ConfigError
from mgie.training.optim import build_optimizer, build_schedule


def test_each_part_has_its_rate(tmp_path: Path):
    module = ToyModule(0.0)
    config = toy_config(tmp_path, learning_rate=0.1, learning_rates={"second": 0.01}, weight_decay=0.3)
    first, second = build_optimizer(module, config).param_groups
    assert {id(p) for p in first["params"]} == {id(p) for p in module.first.parameters()}
    assert {id(p) for p in second["params"]} == {id(p) for p in module.second.parameters()}
    assert (first["lr"], second["lr"]) == (0.1, 0.01)
    assert first["weight_decay"] == second["weight_decay"] == 0.3


def test_rate_zero_freezes(tmp_path: Path):
    module = ToyModule(0.0)
    optimizer = build_optimizer(module, toy_config(tmp_path, learning_rates={"first": 0.0}))
    assert len(optimizer.param_groups) == 1
    assert not module.first.weight.requires_grad and module.second.weight.requires_grad


def test_what_is_frozen_already_stays_out(tmp_path: Path):
    module = ToyModule(0.0)
    module.first.bias.requires_grad_(False)
    (first, _) = build_optimizer(module, toy_config(tmp_path)).param_groups
    assert [p.shape for p in first["params"]] == [module.first.weight.shape]


def test_unknown_part(tmp_path: Path):
    config = toy_config(tmp_path, learning_rates={"third": 0.1})
    with pytest.raises(ConfigError, match=r"learning_rates\.third: stage joint trains first, second"):
        build_optimizer(ToyModule(0.0), config)


def test_schedule_rises_stays_and_falls(tmp_path: Path):
    config = toy_config(tmp_path, learning_rate=1.0, max_steps=10, warmup_steps=4, decay_steps=3)
    optimizer = build_optimizer(ToyModule(0.0), config)
    schedule = build_schedule(optimizer, config)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 2 / 3, 1 / 3]
    torch.testing.assert_close(rates, expected)

"""Optimizer and schedule."""

import sys
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


def test_what_is_within_a_part_has_its_own_rate(tmp_path: Path):
    module = torch.nn.ModuleDict({"unet": torch.nn.ModuleList([ToyModule(0.0), ToyModule(0.0)])})
    rates = {"unet": 0.0, "unet.1": 0.02, "unet.1.first": 0.03}
    first, second = build_optimizer(module, toy_config(tmp_path, learning_rates=rates)).param_groups
    taught = module["unet"][1]
    assert {id(p) for p in first["params"]} == {id(p) for p in taught.first.parameters()}
    assert {id(p) for p in second["params"]} == {id(p) for p in taught.second.parameters()}
    assert (first["lr"], second["lr"]) == (0.03, 0.02)


def test_what_is_frozen_already_stays_out(tmp_path: Path):
    module = ToyModule(0.0)
    module.first.bias.requires_grad_(False)
    (first, _) = build_optimizer(module, toy_config(tmp_path)).param_groups
    assert [p.shape for p in first["params"]] == [module.first.weight.shape]


def test_unknown_part(tmp_path: Path):
    config = toy_config(tmp_path, learning_rates={"third": 0.1})
    with pytest.raises(ConfigError, match=r"learning_rates\.third: stage joint trains first, second"):
        build_optimizer(ToyModule(0.0), config)


def test_muon_is_for_the_matrices_of_hidden_layers(tmp_path: Path):
    module = torch.nn.ModuleDict(
        {
            "first": torch.nn.ModuleDict(
                {
                    "embed": torch.nn.Embedding(5, 4),
                    "conv_in": torch.nn.Conv2d(3, 4, 3),
                    "conv": torch.nn.Conv2d(4, 4, 3),
                    "lm_head": torch.nn.Linear(4, 5),
                }
            ),
            "second": torch.nn.Linear(4, 4),
        }
    )
    config = toy_config(tmp_path, optimizer="muon", learning_rate=0.1, learning_rates={"second": 0.01})
    groups = build_optimizer(module, config).param_groups
    first, second = module["first"], module["second"]
    hidden = {id(p): group["lr"] for group in groups if group["use_muon"] for p in group["params"]}
    assert hidden == {id(first["conv"].weight): 0.1, id(second.weight): 0.01}
    num = sum(len(group["params"]) for group in groups)
    assert num == len(list(module.parameters()))


def test_a_step_of_muon_turns_no_singular_value_down(tmp_path: Path):
    """A gradient of nearly one direction moves a matrix along all its directions alike."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 16, bias=False)
    module = torch.nn.ModuleDict({"first": layer})
    config = toy_config(tmp_path, optimizer="muon", learning_rate=0.1, weight_decay=0.0)
    optimizer = build_optimizer(module, config)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.diag(torch.logspace(0, -2, 16))
    optimizer.step()
    step = before - layer.weight.detach()
    singular_values = torch.linalg.svdvals(step)
    assert singular_values.min() > 0.3 * singular_values.max()
    assert step.square().mean().sqrt().item() == pytest.approx(0.2 * 0.1, rel=0.3)  # as AdamW's


def test_muon_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(
        ConfigError, match="optimizer muon needs the package pytorch_optimizer; pip install it"
    ):
        build_optimizer(ToyModule(0.0), toy_config(tmp_path, optimizer="muon"))


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

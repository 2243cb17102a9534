"""Optimizer and learning-rate schedule."""

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mgie.config import TrainConfig
from mgie.errors import ConfigError


def build_optimizer(module: nn.Module, config: TrainConfig) -> AdamW:
    """Returns AdamW over all that requires gradients; `learning_rates` gives parts their own, 0 freezes.

    Raises:
        ConfigError: if a named part does not exist.
    """
    freeze_parts(module, config)
    groups = []
    for name, part in _parts(module).items():
        parameters = [p for p in part.parameters() if p.requires_grad]
        if parameters:
            groups.append({"params": parameters, "lr": config.learning_rates.get(name, config.learning_rate)})
    return AdamW(groups, weight_decay=config.weight_decay, betas=(0.9, 0.99), fused=True)


def freeze_parts(module: nn.Module, config: TrainConfig) -> None:
    """Takes the gradients from the parts whose rate in `learning_rates` is 0.

    Raises:
        ConfigError: if a named part does not exist.
    """
    parts = _parts(module)
    for name, rate in config.learning_rates.items():
        if name not in parts:
            raise ConfigError(f"learning_rates.{name}: stage {config.stage} trains {', '.join(parts)}")
        if rate == 0:
            parts[name].requires_grad_(False)


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    return {
        name: child for name, child in module.named_children() if next(child.parameters(), None) is not None
    }


def build_schedule(optimizer: AdamW, config: TrainConfig) -> LambdaLR:
    """Returns linear warm-up, a constant rate, and a linear fall to zero over the last `decay_steps`."""

    def factor(step: int) -> float:
        up = (step + 1) / max(1, config.warmup_steps)
        down = (config.max_steps - step) / max(1, config.decay_steps)
        return max(0.0, min(1.0, up, down if config.decay_steps else 1.0))

    return LambdaLR(optimizer, factor)

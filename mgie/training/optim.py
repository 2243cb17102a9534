"""Optimizer and learning-rate schedule."""

import re
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mgie.config import TrainConfig
from mgie.errors import ConfigError

_BETAS = (0.9, 0.99)
_OUTER = re.compile(
    r"(^|\.)(lm_head|conv_in|conv_out|guide|(time|class)_embedding|affine|hear|told|say)(\.|$)"
)
"""What Muon is not for, beside word embeddings: first and last layers. Those of a UNet that read all of the
text are as wide as all of the text, and would take most of its time."""


def build_optimizer(module: nn.Module, config: TrainConfig) -> Optimizer:
    """Returns the optimizer of all that requires gradients; `learning_rates` gives parts their own.

    Muon (Jordan et al., 2024) takes orthogonal steps, as large as those of AdamW so that the rates are the
    same (Liu et al., 2025, equation 4), with a convolution as a matrix of one row for each output channel.

    Raises:
        ConfigError: if a named part does not exist, or the package of the optimizer.
    """
    rates = freeze_parts(module, config)
    is_muon = config.optimizer == "muon"
    hidden = _hidden_matrices(module) if is_muon else set()
    alike: dict[tuple[str, float], list[nn.Parameter]] = {}
    for path, parameter in module.named_parameters():
        if parameter.requires_grad:
            alike.setdefault((path.partition(".")[0], rates[path]), []).append(parameter)
    groups = list[dict[str, Any]]()
    for (_, rate), parameters in alike.items():
        for use_muon in (True, False):  # AdamW does not read it
            own = [p for p in parameters if (p in hidden) == use_muon]
            if own:
                common = {"lr": rate, "weight_decay": config.weight_decay}
                groups.append({"params": own, "use_muon": use_muon, **common})
    if not is_muon:
        return AdamW(groups, betas=_BETAS, fused=True)
    try:
        from pytorch_optimizer import Muon
    except ImportError as error:
        raise ConfigError("optimizer muon needs the package pytorch_optimizer; pip install it") from error
    return Muon(groups, use_adjusted_lr=True, adamw_betas=_BETAS, adamw_eps=1e-8)


def _hidden_matrices(part: nn.Module) -> set[Tensor]:
    return {
        parameter
        for path, child in part.named_modules()
        if not isinstance(child, nn.Embedding) and not _OUTER.search(path)
        for parameter in child.parameters(recurse=False)
        if parameter.ndim in (2, 4)
    }


def freeze_parts(module: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Takes the gradients from what has the rate 0, and returns the rate of each parameter by its path.

    Raises:
        ConfigError: if a part that is named in `learning_rates` does not exist.
    """
    paths = [path for path, _ in module.named_modules()]
    parts = sorted(config.learning_rates, key=len, reverse=True)
    for part in parts:
        if part not in paths:
            children = (
                n for n, child in module.named_children() if next(child.parameters(), None) is not None
            )
            raise ConfigError(f"learning_rates.{part}: stage {config.stage} trains {', '.join(children)}")
    rates = dict[str, float]()
    for path, parameter in module.named_parameters():
        own = next((part for part in parts if path.startswith(f"{part}.")), None)
        rates[path] = config.learning_rate if own is None else config.learning_rates[own]
        if rates[path] == 0:
            parameter.requires_grad_(False)
    return rates


def build_schedule(optimizer: Optimizer, config: TrainConfig) -> LambdaLR:
    """Returns linear warm-up, a constant rate, and a linear fall to zero over the last `decay_steps`."""

    def factor(step: int) -> float:
        up = (step + 1) / max(1, config.warmup_steps)
        down = (config.max_steps - step) / max(1, config.decay_steps)
        return max(0.0, min(1.0, up, down if config.decay_steps else 1.0))

    return LambdaLR(optimizer, factor)

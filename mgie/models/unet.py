"""The UNet of InstructPix2Pix: diffusers' `UNet2DConditionModel` with source latents on extra channels."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn


@torch.no_grad()
def widen_conv_in(unet: UNet2DConditionModel, in_channels: int) -> UNet2DConditionModel:
    """Returns `unet`, widened in place for source latents: weights and bias copied, new channels zero.

    With zero source latents the widened UNet therefore equals the original. (The code released with MGIE, and
    diffusers' own InstructPix2Pix training script, forget the bias.)

    Args:
        unet: a text-to-image UNet; one that already has `in_channels` is returned as it is.
        in_channels: the wanted number of input channels, twice the latent channels.
    """
    old: Any = unet.conv_in
    if old.in_channels == in_channels:
        return unet
    new: Any = nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, padding=old.padding, dtype=old.weight.dtype
    )
    new.weight.zero_()
    new.weight[:, : old.in_channels] = old.weight
    new.bias.copy_(old.bias)
    unet.conv_in = new.to(old.weight.device)
    unet.register_to_config(in_channels=in_channels)
    return unet

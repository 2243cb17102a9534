"""The UNet of InstructPix2Pix: diffusers' `UNet2DConditionModel` with source latents on extra channels."""

import functools
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

__all__ = [
    "ChangeUNet2DConditionModel",
    "ModelMixin",
    "widen_conv_in",
]  # diffusers looks for `ModelMixin` here


class ChangeUNet2DConditionModel(UNet2DConditionModel):
    """A UNet that paints the change of the source: zeros from its last layer leave the picture as it is.

    At the last timestep of a schedule with zero terminal SNR the velocity is minus the target's latents (Lin
    et al., 2024); this UNet predicts how it differs from minus the *source's*. A pretrained UNet knows how to
    keep what an edit does not touch; one trained from nothing would have to learn copying first, and the
    change of one object would drown in the error of that. For `v_prediction` and latents with a scaling
    factor of 1.

    The arguments are those of `UNet2DConditionModel`; `in_channels` is twice `out_channels`.
    """

    @functools.wraps(UNet2DConditionModel.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, sample: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        """Returns the velocity (B, c, h, w).

        Args:
            sample: (B, 2c, h, w), noisy latents and source latents.
            args: as of `UNet2DConditionModel.forward`.
            return_dict: whether as `UNet2DConditionOutput`, otherwise in a tuple.
            kwargs: as of `UNet2DConditionModel.forward`.
        """
        (change,) = super().forward(sample, *args, return_dict=False, **kwargs)
        velocity = change - sample.chunk(2, dim=1)[1]
        return UNet2DConditionOutput(sample=velocity) if return_dict else (velocity,)


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

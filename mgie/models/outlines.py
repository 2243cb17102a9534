"""Outlines to the pixel, of things that a UNet knows by the places of its latents."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from mgie.models.autoencoder import ResidualBlock, UnshuffleAutoencoder, down_and_up, hourglass

PLACE = UnshuffleAutoencoder.downsampling_factor
"""Pixels on a side of a place."""
_PIXELS = 4
"""Pixels on a side that are looked at together."""
_SURE = 1e-3
"""Least chance of either that a map may leave."""


class Outlines(ModelMixin, ConfigMixin):
    """Says of each pixel what a map says of each place of the latents: how much of it is of a thing.

    Latents have eight pixels on a side of a place, and what they keep of an edge is little, so that a UNet
    knows things without their antlers and handles. The photograph has these: convolutions at a quarter of its
    size and less read both, and add to the map's logits. A new one adds nothing.

    Args:
        widths: channels at a quarter, an eighth and a sixteenth of the picture's size.
    """

    @register_to_config
    def __init__(self, widths: tuple[int, int, int] = (48, 64, 96)) -> None:
        super().__init__()
        fine = widths[0]
        self.begin = nn.Sequential(nn.Conv2d(3 * _PIXELS**2 + 1, fine, 3, padding=1), ResidualBlock(fine))
        self.down, self.up = hourglass(widths, (2, 1))
        self.end = nn.Conv2d(fine, _PIXELS**2, 3, padding=1)
        for parameter in self.end.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor, covered: Tensor) -> Tensor:
        """Returns logits (B, 1, H, W) of how much of each pixel is covered.

        Args:
            pictures: (B, 3, H, W) in [-1, 1]; H and W are multiples of 4.
            covered: (B, 1, h, w) in [0, 1], how much of each place is.
        """
        height, width = pictures.shape[2:]
        quarter = height // _PIXELS, width // _PIXELS
        logits = covered.clamp(_SURE, 1 - _SURE).logit()
        map_ = 2 * _enlarged(covered, quarter) - 1
        x = self.begin(torch.cat([functional.pixel_unshuffle(pictures, _PIXELS), map_], dim=1))
        added = functional.pixel_shuffle(self.end(down_and_up(x, self.down, self.up)), _PIXELS)
        return _enlarged(logits, (height, width)) + added


def _enlarged(places: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(places, size, mode="bilinear", align_corners=False)

"""Inpainting: what is behind a thing on a photograph, guessed from what is around it."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from mgie.models.autoencoder import ResidualBlock, down_and_up, hourglass

_PIXELS = 4
"""Pixels on a side that are looked at together."""
_LEAST_WEIGHT = 1e-4
"""Nothing to spread where the hole is all of the picture."""


class Inpainter(ModelMixin, ConfigMixin):
    """Paints what is behind a hole in a photograph: what is around, spread smoothly, and what that lacks.

    Spread alone is a soft spot on anything but plain ground. Convolutions at a quarter of the picture's size
    and less see how horizons, walls and kerbs run on, and add to it. A new one adds nothing.

    Args:
        widths: channels at a quarter, an eighth, a 16th and a 32nd of the picture's size.
    """

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (64, 96, 128, 192)) -> None:
        super().__init__()
        fine = widths[0]
        self.begin = nn.Sequential(
            nn.Conv2d(4 * _PIXELS**2, fine, 3, padding=1), ResidualBlock(fine), ResidualBlock(fine)
        )
        self.down, self.up = hourglass(widths, (2, 2))
        self.end = nn.Conv2d(fine, 3 * _PIXELS**2, 3, padding=1)
        for parameter in self.end.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor, hole: Tensor) -> Tensor:
        """Returns pictures (B, 3, H, W), which outside of the hole are the same.

        Args:
            pictures: (B, 3, H, W) in [-1, 1]; H and W are multiples of 4.
            hole: (B, 1, H, W), 1 where it is, and nothing of the pictures is seen, and 0 elsewhere.
        """
        around = spread(pictures, 1 - hole)
        seen = functional.pixel_unshuffle(torch.cat([around, 2 * hole - 1], dim=1), _PIXELS)
        added = self.end(down_and_up(self.begin(seen), self.down, self.up))
        return around + hole * functional.pixel_shuffle(added, _PIXELS)


def spread(pictures: Tensor, weights: Tensor) -> Tensor:
    """Returns pictures or latents (B, c, h, w) where weights (B, 1, h, w) are 1, elsewhere what is around.

    By pulling and pushing: averages of what is known at ever lower resolutions, enlarged again into what is
    not (Gortler et al., 1996).
    """
    if pictures.shape[2:].numel() == 1:
        return pictures
    pooled = functional.avg_pool2d(weights, 2, ceil_mode=True, count_include_pad=False)
    sums = functional.avg_pool2d(pictures * weights, 2, ceil_mode=True, count_include_pad=False)
    coarse = spread(sums / pooled.clamp(min=_LEAST_WEIGHT), (2 * pooled).clamp(max=1))
    around = functional.interpolate(coarse, pictures.shape[2:], mode="bilinear", align_corners=False)
    return weights * pictures + (1 - weights) * around

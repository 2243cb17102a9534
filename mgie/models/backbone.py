"""What is where on a picture, from its latents: EfficientNet-lite0 with a beginning that reads latents."""

from collections.abc import Iterator

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from mgie.models.autoencoder import ResidualBlock

FEATURES = 128
"""Channels that a backbone gives."""
_EIGHTH, _SIXTEENTH, _THIRTY_SECOND = 40, 112, 320
"""Channels of EfficientNet-lite0 at these shares of the picture's size; at the first, latents are."""
_STEM = 96
"""Width of what reads the latents."""
_EXPANSION = 6
_LEAST_VARIANCE = 1e-3
"""Of a main direction; those with less are noise."""
_FINER = (3, 2, 40, 80), (3, 1, 80, 80), (3, 1, 80, 80), (5, 1, 80, 112), (5, 1, 112, 112), (5, 1, 112, 112)
_COARSER = (5, 2, 112, 192), (5, 1, 192, 192), (5, 1, 192, 192), (5, 1, 192, 192), (3, 1, 192, 320)
"""Kernel, stride, channels in and out of the blocks after the stem (Tan and Le, 2019, table 1)."""


class InvertedResidual(nn.Module):
    """A block of MobileNetV2 (Sandler et al., 2018), its batch norms folded into the convolutions."""

    def __init__(self, kernel: int, stride: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = _EXPANSION * in_channels
        self.expand = nn.Conv2d(in_channels, width, 1)
        self.depthwise = nn.Conv2d(width, width, kernel, stride, groups=width)
        self.project = nn.Conv2d(width, out_channels, 1)
        # As TensorFlow pads, from where the weights come: with a stride, less before than behind.
        before = (kernel - stride) // 2
        after = kernel - 1 - before
        self.padding = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, out_channels, ceil(h / stride), ceil(w / stride))."""
        wide = functional.pad(functional.relu6(self.expand(x)), self.padding)
        out = self.project(functional.relu6(self.depthwise(wide)))
        return x + out if x.shape == out.shape else out


class LatentBackbone(ModelMixin, ConfigMixin):
    """Dense features of a picture, for a UNet that has to find things and has seen too few to know them.

    All but the first layers are EfficientNet-lite0's, which learned from 1.3 million pictures. Those first
    layers read pixels; the `stem` learns to give what they give from latents instead
    (`mgie.training.stages.backbone`), and a linear projection to make of it uncorrelated channels of unit
    variance.

    Args:
        in_channels: channels of the latents, which have an eighth of the picture's size.
    """

    @register_to_config
    def __init__(self, in_channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, _STEM, 3, padding=1),
            ResidualBlock(_STEM),
            ResidualBlock(_STEM),
            nn.SiLU(),
            nn.Conv2d(_STEM, _EIGHTH, 3, padding=1),
        )
        self.finer = nn.Sequential(*(InvertedResidual(*block) for block in _FINER))
        self.coarser = nn.Sequential(*(InvertedResidual(*block) for block in _COARSER))
        self.projection = nn.Conv2d(_SIXTEENTH + _THIRTY_SECOND, FEATURES, 1)

    def depths(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns features at an eighth, a sixteenth and a 32nd of the picture's size.

        Args:
            latents: (B, in_channels, h, w).
        """
        eighth = self.stem(latents)
        sixteenth = self.finer(eighth)
        return eighth, sixteenth, self.coarser(sixteenth)

    def forward(self, latents: Tensor) -> Tensor:
        """Returns features (B, FEATURES, h, w), as coarse as half of the latents' size.

        Args:
            latents: (B, in_channels, h, w).
        """
        _, sixteenth, thirty_second = self.depths(latents)
        features = self.projection(joined(sixteenth, thirty_second))
        return functional.interpolate(features, latents.shape[2:], mode="bilinear", align_corners=False)

    @torch.no_grad()
    def whiten(self, features: Tensor) -> None:
        """Has the projection give the main directions of such features, uncorrelated and of unit variance.

        Args:
            features: (N, C) of the places of many pictures, as `joined` makes them.
        """
        mean, std = features.mean(0), features.std(0).clamp(min=_LEAST_VARIANCE)
        variances, directions = torch.linalg.eigh(torch.cov(((features - mean) / std).T))  # ascending
        scales = std[:, None] * variances.clamp(min=_LEAST_VARIANCE).sqrt()
        main = (directions / scales).T.flip(0)[:FEATURES]
        weight, bias = self.projection.parameters()
        weight.copy_(main[..., None, None])
        bias.copy_(-main @ mean)

    def blocks(self) -> Iterator[InvertedResidual]:
        """Yields what comes after the stem, in order."""
        for block in (*self.finer, *self.coarser):
            assert isinstance(block, InvertedResidual)
            yield block


def joined(sixteenth: Tensor, thirty_second: Tensor) -> Tensor:
    """Returns the features of both depths side by side, (B, C, h, w), at the size of the finer one."""
    size = sixteenth.shape[2:]
    wide = functional.interpolate(thirty_second, size, mode="bilinear", align_corners=False)
    return torch.cat([sixteenth, wide], dim=1)

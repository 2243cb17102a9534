"""A small autoencoder with the interface of diffusers' `AutoencoderKL`, quick to train on two CPU cores.

Pixel-unshuffle replaces the costly full-resolution layers: it trains many times faster than `AutoencoderKL`
or `AutoencoderTiny`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip; the second starts at zero, so the block starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, channels, h, w), shaped as `x`."""
        return x + self.conv2(functional.silu(self.conv1(functional.silu(x))))


def hourglass(widths: Sequence[int], blocks: tuple[int, int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Returns new levels for `down_and_up`.

    Args:
        widths: channels at full size, at half of it, and so on.
        blocks: residual blocks of each level down, and of each level up.
    """
    levels = list(pairwise(widths))
    down = (
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), *(ResidualBlock(b) for _ in range(blocks[0])))
        for a, b in levels
    )
    up = (
        nn.Sequential(nn.Conv2d(a + b, a, 3, padding=1), *(ResidualBlock(a) for _ in range(blocks[1])))
        for a, b in reversed(levels)
    )
    return nn.ModuleList(down), nn.ModuleList(up)


def down_and_up(x: Tensor, down: nn.ModuleList, up: nn.ModuleList) -> Tensor:
    """Returns (B, c, h, w) after an hourglass: each level up reads what went into its level down as well.

    Args:
        x: (B, c, h, w).
        down: levels that halve the size.
        up: as many; each takes what is below, enlarged, before what it reads as well.
    """
    finer = []
    for level in down:
        finer.append(x)
        x = level(x)
    for level in up:
        skip = finer.pop()
        x = level(torch.cat([functional.interpolate(x, skip.shape[2:]), skip], dim=1))
    return x


class UnshuffleAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with 8x downsampling; latents are (B, latent_channels, H / 8, W / 8).

    Every nonlinearity stands in a residual block that starts as the identity, so training starts from a
    linear autoencoder, and the latents stay close to linear in the pixels: a change of tone or colour is then
    an easy map for the UNet.

    Args:
        latent_channels: channels of the latents.
        encoder_channels: width of the encoder, at 1/8 of the picture's size.
        decoder_channels: widths of the decoder, at 1/8 and at 1/4 of the picture's size.
        encoder_layers: residual blocks of the encoder.
        decoder_layers: residual blocks of the decoder at each of its sizes.
        scaling_factor: latents times this have about unit variance. `normalise_latents` makes that exact, so
            it is 1.
    """

    downsampling_factor = 8

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_channels: int = 128,
        decoder_channels: tuple[int, int] = (160, 96),
        encoder_layers: int = 2,
        decoder_layers: tuple[int, int] = (2, 1),
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(8),
            nn.Conv2d(192, encoder_channels, 3, padding=1),
            *(ResidualBlock(encoder_channels) for _ in range(encoder_layers)),
            nn.Conv2d(encoder_channels, 2 * latent_channels, 3, padding=1),
        )
        eighth, quarter = decoder_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, eighth, 3, padding=1),
            *(ResidualBlock(eighth) for _ in range(decoder_layers[0])),
            nn.Conv2d(eighth, 4 * quarter, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(quarter) for _ in range(decoder_layers[1])),
            nn.Conv2d(quarter, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )

    @apply_forward_hook
    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """Returns the latents' distribution for `x` (B, 3, H, W) in [-1, 1]; H and W are multiples of 8."""
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(self.encoder(x)))

    @apply_forward_hook
    def decode(self, z: Tensor) -> DecoderOutput:
        """Returns pictures (B, 3, H, W), about in [-1, 1], from latents `z` (B, latent_channels, h, w)."""
        return DecoderOutput(sample=self.decoder(z))

    @torch.no_grad()
    def normalise_latents(self, mean: Tensor, std: Tensor) -> None:
        """Folds `(z - mean) / std` into the encoder's last layer, and its inverse into the decoder's first.

        Afterwards every latent channel has zero mean and unit variance on the pictures that were measured,
        and decoding is unchanged but at the border, where the decoder's zero padding now stands for the mean.

        Args:
            mean: (latent_channels,) mean of the mode of the latents.
            std: (latent_channels,) their standard deviation.
        """
        last, first = self.encoder[-1], self.decoder[0]
        assert isinstance(last, nn.Conv2d) and isinstance(first, nn.Conv2d)
        assert last.bias is not None and first.bias is not None
        last.weight.div_(torch.cat([std, torch.ones_like(std)])[:, None, None, None])
        last.bias.sub_(torch.cat([mean, 2 * std.log()]))  # the lower half is the log-variance
        last.bias[: len(std)].div_(std)
        first.bias.add_((first.weight * mean[None, :, None, None]).sum((1, 2, 3)))
        first.weight.mul_(std[None, :, None, None])

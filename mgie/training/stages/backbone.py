"""Stage `backbone`: features for the UNet, learned by latents from what EfficientNet-lite0 sees by pixels.

Finding a named thing takes far more pictures than there are with masks. EfficientNet has seen them; only its
first layers, which look at edges and colours, have to be learned anew, and for those a few thousand
photographs are enough.
"""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Generator, Tensor, nn

from mgie.config import TrainConfig
from mgie.errors import ConfigError
from mgie.models.autoencoder import UnshuffleAutoencoder
from mgie.models.backbone import LatentBackbone, joined
from mgie.models.loading import load_model
from mgie.training.stages.base import HELD_INDEX, Stage, grid, to_images
from mgie.training.stages.vision import ViewDataset, collate_views, load_teacher, teacher_features

_MEASURED = 128
"""Pictures by which features are made uncorrelated."""
_LEAST_VARIANCE = 1e-6


class Matching(nn.Module):
    """Loss between a backbone's features and those of its frozen teacher."""

    def __init__(self, backbone: LatentBackbone, vae: UnshuffleAutoencoder, teacher: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.vae = vae.requires_grad_(False)
        self.teacher = teacher.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Matching":
        """Sets the mode of everything but the teacher, whose batch statistics stay as they are."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def latents(self, pixels: Tensor) -> Tensor:
        """Returns what the UNet gets of pictures (B, 3, H, W) in [-1, 1]."""
        return self.vae.encode(pixels).latent_dist.mode()

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns shares of the features' variance that are not met: one for each depth, and their sum."""
        pixels = batch["source"]
        with torch.no_grad():
            wanted = teacher_features(self.teacher, pixels)
        eighth, sixteenth, thirty_second = (
            _missed(found, wanted[stride])
            for stride, found in zip((8, 16, 32), self.backbone.depths(self.latents(pixels)), strict=True)
        )
        return {
            "loss": eighth + sixteenth + thirty_second,
            "eighth": eighth.detach(),
            "sixteenth": sixteenth.detach(),
            "thirty_second": thirty_second.detach(),
        }


def _missed(found: Tensor, wanted: Tensor) -> Tensor:
    """Returns the share of the variance of features (B, c, h, w) that is not met, the mean over channels."""
    error, variance = (found - wanted).square().mean((0, 2, 3)), wanted.var((0, 2, 3))
    return (error / variance.clamp(min=_LEAST_VARIANCE)).mean()


class BackboneStage(Stage):
    """Trains the beginning of a `LatentBackbone`; `finish` makes its features uncorrelated."""

    def __init__(self, config: TrainConfig) -> None:
        if not isinstance(config.model.vae, str) or config.teacher is None:
            raise ConfigError("stage backbone needs model.vae (a folder) and teacher (a weight file)")
        vae: Any = load_model(Path(config.model.vae), UnshuffleAutoencoder)
        teacher = load_teacher(config.teacher)
        self.backbone = LatentBackbone(vae.config.latent_channels)
        take_blocks(self.backbone, teacher)
        self.backbone.requires_grad_(False).stem.requires_grad_(True)
        self.module: Matching = Matching(self.backbone, vae, teacher)
        self.dataset = ViewDataset(config.data, config.seed)
        self.collate = collate_views
        width, height = config.data.sizes[0]
        self.size = width, height

    @torch.no_grad()
    def finish(self) -> None:
        """Measures the features of photographs, and whitens them."""
        features = [
            joined(*self.backbone.depths(self.module.latents(self._pixels(i, 1)))[1:]).flatten(2)[0].T
            for i in range(_MEASURED)
        ]
        self.backbone.whiten(torch.cat(features))

    def save(self, folder: Path) -> None:
        """Writes `backbone`."""
        self.backbone.save_pretrained(folder / "backbone")

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Returns photographs above their first three features, as colours."""
        pixels = self._pixels(HELD_INDEX, 6)
        features = self.backbone(self.module.latents(pixels))[:, :3]
        centred = features - features.mean((0, 2, 3), keepdim=True)
        seen = to_images(centred / (2 * centred.std((0, 2, 3), keepdim=True)))
        return grid([to_images(pixels), [image.resize(self.size) for image in seen]])

    def _pixels(self, first: int, count: int) -> Tensor:
        views = [self.dataset[first + i, self.size] for i in range(count)]
        return collate_views(views)["source"].to(self.backbone.device)


@torch.no_grad()
def take_blocks(backbone: LatentBackbone, teacher: Any) -> None:
    """Copies EfficientNet-lite0's blocks from an eighth of the picture's size on, batch norms folded in."""
    blocks = list(backbone.blocks())
    for block, taken in zip(blocks, teacher._blocks[-len(blocks) :], strict=True):
        for convolution, norm, into in (
            (taken._expand_conv, taken._bn0, block.expand),
            (taken._depthwise_conv, taken._bn1, block.depthwise),
            (taken._project_conv, taken._bn2, block.project),
        ):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight, bias = into.parameters()
            weight.copy_(convolution.weight * scale[:, None, None, None])
            bias.copy_(norm.bias - norm.running_mean * scale)

"""Stage `autoencoder`: latents for the UNet, learned from photographs and from made edits of them."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional

from mgie.config import TrainConfig
from mgie.data.collate import collate_pictures, to_tensor
from mgie.data.dataset import open_dataset
from mgie.errors import ConfigError
from mgie.models.autoencoder import UnshuffleAutoencoder
from mgie.training.stages.base import HELD_INDEX, Stage, grid, load_or_build, to_images

KL_WEIGHT = 2e-4
"""Keeps a little noise on the latents, so that the decoder bears the UNet's small errors."""


class Reconstruction(nn.Module):
    """Loss of the autoencoder: mean absolute error, and a weak pull of the latents towards a normal one."""

    def __init__(self, vae: UnshuffleAutoencoder) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns `loss`, `l1` and `psnr`; half of the rows are sources, half edited pictures."""
        edited = torch.rand(len(batch["source"]), generator=generator) < 0.5
        pixels = torch.where(
            edited[:, None, None, None].to(batch["source"].device), batch["target"], batch["source"]
        )
        latents = self.vae.encode(pixels).latent_dist
        decoded = self.vae.decode(latents.sample(generator)).sample.float()
        l1 = functional.l1_loss(decoded, pixels)
        kl = latents.kl().mean() / latents.mean[0].numel()
        psnr = -10 * torch.log10(functional.mse_loss(decoded.detach(), pixels) / 4)
        return {"loss": l1 + KL_WEIGHT * kl, "l1": l1.detach(), "psnr": psnr}


class AutoencoderStage(Stage):
    """Trains the autoencoder; `finish` gives its latents zero mean and unit variance."""

    def __init__(self, config: TrainConfig) -> None:
        part = config.model.vae
        if part is None:
            raise ConfigError("stage autoencoder needs model.vae: a folder, or the sizes of a new one")
        vae: Any = load_or_build("model.vae", part, UnshuffleAutoencoder)
        self.vae = vae.to(memory_format=torch.channels_last)
        self.module = Reconstruction(self.vae)
        self.dataset = open_dataset(config.data, config.seed)
        self.collate = collate_pictures

    @torch.no_grad()
    def finish(self) -> None:
        """Measures the latents of 256 pictures and folds the normalisation into the weights."""
        samples = [self.dataset[HELD_INDEX + i, (128, 128)] for i in range(256)]
        pixels = to_tensor([s.source if i % 2 else s.target for i, s in enumerate(samples)]).to(
            self.vae.device
        )
        latents = torch.cat([self.vae.encode(chunk).latent_dist.mode() for chunk in pixels.split(16)])
        self.vae.normalise_latents(latents.mean((0, 2, 3)), latents.std((0, 2, 3)))

    def save(self, folder: Path) -> None:
        """Writes `vae`."""
        self.vae.save_pretrained(folder / "vae")

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Returns pictures above their reconstructions."""
        samples = [self.dataset[HELD_INDEX + i, (128, 128)] for i in range(6)]
        pixels = to_tensor([s.source if i % 2 else s.target for i, s in enumerate(samples)]).to(
            self.vae.device
        )
        decoded = self.vae.decode(self.vae.encode(pixels).latent_dist.mode()).sample
        return grid([to_images(pixels), to_images(decoded)])

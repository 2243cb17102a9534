"""The small autoencoder."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mgie.models.autoencoder import ResidualBlock, UnshuffleAutoencoder


@pytest.fixture
def vae() -> UnshuffleAutoencoder:
    torch.manual_seed(0)
    vae = UnshuffleAutoencoder(
        latent_channels=3,
        encoder_channels=16,
        decoder_channels=(16, 8),
        encoder_layers=1,
        decoder_layers=(1, 1),
    )
    for module in vae.modules():  # residual blocks start as the identity; here they take part
        if isinstance(module, nn.Conv2d):
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.05)
    return vae.eval()


def test_shapes(vae: UnshuffleAutoencoder):
    latents = vae.encode(torch.rand(2, 3, 32, 48) * 2 - 1).latent_dist.mode()
    assert latents.shape == (2, 3, 4, 6)
    assert vae.decode(latents).sample.shape == (2, 3, 32, 48)


@torch.no_grad()
def test_normalised_latents_have_unit_variance_and_decode_as_before(vae: UnshuffleAutoencoder):
    pixels = torch.rand(4, 3, 128, 128) * 2 - 1
    before = vae.encode(pixels).latent_dist
    decoded = vae.decode(before.mode()).sample
    mean, std = before.mode().mean((0, 2, 3)), before.mode().std((0, 2, 3))
    assert (std - 1).abs().min() > 0.05  # else there is nothing to see

    vae.normalise_latents(mean, std)

    after = vae.encode(pixels).latent_dist
    torch.testing.assert_close(after.mode().mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.mode().std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.std, before.std / std[None, :, None, None], atol=1e-4, rtol=1e-3)
    inside = (
        ...,
        slice(40, 88),
        slice(40, 88),
    )  # the decoder sees four latents, then three quarter pixels far
    torch.testing.assert_close(vae.decode(after.mode()).sample[inside], decoded[inside], atol=1e-4, rtol=1e-3)


def test_round_trip_on_disk(vae: UnshuffleAutoencoder, tmp_path: Path):
    vae.save_pretrained(tmp_path)
    loaded = UnshuffleAutoencoder.from_pretrained(tmp_path)
    assert isinstance(loaded, UnshuffleAutoencoder)
    weights = vae.state_dict()
    assert loaded.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())


def test_a_new_residual_block_is_the_identity():
    block, x = ResidualBlock(6), torch.randn(1, 6, 4, 4)
    assert block.conv2.bias is not None
    shift = block.conv2.bias[None, :, None, None]
    torch.testing.assert_close(block(x), x + shift)

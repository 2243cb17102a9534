"""The widened UNet."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from mgie.models.unet import widen_conv_in


def small_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


@torch.no_grad()
def test_zero_source_latents_give_the_original_unet(tmp_path: Path):
    unet = small_unet()
    torch.nn.init.normal_(dict(unet.conv_in.named_parameters())["bias"])  # a forgotten bias would show
    latents, context = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8)
    before = unet(latents, 10, context).sample
    wide = widen_conv_in(unet, 8)
    after = wide(torch.cat([latents, torch.zeros_like(latents)], 1), 10, context).sample
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    changed = wide(torch.cat([latents, torch.ones_like(latents)], 1), 10, context).sample
    torch.testing.assert_close(changed, before, atol=1e-5, rtol=1e-5)  # the new channels start at zero

    wide.save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert isinstance(loaded, UNet2DConditionModel)
    assert loaded.config["in_channels"] == loaded.conv_in.in_channels == 8


def test_new_channels_learn():
    unet = widen_conv_in(small_unet(), 8)
    unet(torch.randn(1, 8, 8, 8), 10, torch.randn(1, 3, 8)).sample.square().mean().backward()
    grad = unet.conv_in.weight.grad
    assert grad is not None and grad[:, 4:].abs().sum() > 0


def test_a_wide_unet_stays_as_it_is():
    unet = widen_conv_in(small_unet(), 8)
    conv_in = unet.conv_in
    assert widen_conv_in(unet, 8).conv_in is conv_in

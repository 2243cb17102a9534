"""The backbone of the UNet; `tests/training/test_stages.py` has its weights and its training."""

import pytest
import torch

from mgie.models.backbone import FEATURES, LatentBackbone, joined


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 6), (1, 3)])
def test_features_have_the_size_of_the_latents(height: int, width: int):
    backbone = LatentBackbone(4).eval()
    latents = torch.randn(2, 4, height, width)
    assert [tuple(depth.shape[2:]) for depth in backbone.depths(latents)] == [
        (height, width),
        (-(-height // 2), -(-width // 2)),
        (-(-height // 4), -(-width // 4)),
    ]
    features = backbone(latents)
    assert features.shape == (2, FEATURES, height, width)
    torch.testing.assert_close(backbone(latents[1:]), features[1:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_features_move_with_the_picture():
    """By four places, of which a 32nd of the picture's size has one; away from the borders."""
    backbone = LatentBackbone(4).eval()
    latents = torch.zeros(1, 4, 96, 96)
    latents[..., 44:48, 44:48] = torch.randn(1, 4, 4, 4)
    moved = backbone(latents.roll((4, 8), (2, 3)))
    torch.testing.assert_close(
        moved[..., 40:60, 40:60], backbone(latents)[..., 36:56, 32:52], atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
def test_whitened_features_are_uncorrelated():
    backbone = LatentBackbone(4)
    sixteenth, thirty_second = torch.randn(1, 112, 60, 60), torch.randn(1, 320, 60, 60)
    sixteenth[:, 1:] += 3 * sixteenth[:, :1]  # all say the same, and each something of its own
    features = joined(sixteenth, thirty_second * 7 + 2)
    backbone.whiten(features.flatten(2)[0].T)
    white = backbone.projection(features).flatten(2)[0]
    torch.testing.assert_close(white.mean(1), torch.zeros(FEATURES), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(white), torch.eye(FEATURES), atol=1e-2, rtol=0)
    shared = torch.corrcoef(torch.stack([white[0], sixteenth[0, 0].flatten()]))[0, 1]
    assert shared.abs() > 0.9  # the main direction comes first

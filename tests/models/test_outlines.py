"""Outlines to the pixel; `tests/training/test_stages.py` has their training."""

import pytest
import torch

from mgie.models.outlines import PLACE, Outlines


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (72, 40), (8, 8)])
def test_new_outlines_are_those_of_the_places(size: tuple[int, int]):
    outlines, places = Outlines(), [side // PLACE for side in size]
    covered = torch.rand(2, 1, *places)
    logits = outlines(torch.rand(2, 3, *size) * 2 - 1, covered)
    assert logits.shape == (2, 1, *size)
    back = torch.nn.functional.avg_pool2d(logits, PLACE)  # the means of linear interpolation are near
    assert (back - covered.logit()).abs().mean() < 0.5 * covered.logit().abs().mean()
    flat = outlines(torch.rand(2, 3, *size), torch.full_like(covered, 0.3)).sigmoid()
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


@torch.no_grad()
def test_maps_that_are_sure_stay_finite():
    covered = torch.tensor([[[[0.0, 1.0]]]])
    outline = Outlines()(torch.zeros(1, 3, 8, 16), covered).sigmoid()
    assert outline.isfinite().all() and outline[..., 0].max() < 0.01 and outline[..., -1].min() > 0.99

"""What is behind holes; `tests/training/test_stages.py` has its training."""

import pytest
import torch

from mgie.models.inpainting import Inpainter, spread
from mgie.training.stages.inpainting import Inpainting


def pictures_and_hole(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    hole = torch.zeros(2, 1, height, width)
    hole[..., height // 4 : height // 2, width // 4 : width // 2] = 1
    return torch.rand(2, 3, height, width) * 2 - 1, hole


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (72, 40), (8, 8)])
def test_a_new_one_spreads_what_is_around(size: tuple[int, int]):
    pictures, hole = pictures_and_hole(*size)
    torch.testing.assert_close(Inpainter((8, 8, 8))(pictures, hole), spread(pictures, 1 - hole))


@torch.no_grad()
def test_only_the_hole_is_painted_and_what_is_in_it_is_not_seen():
    inpainter = Inpainter((8, 8, 8))
    for parameter in inpainter.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    pictures, hole = pictures_and_hole(64, 96)
    painted = inpainter(pictures, hole)
    assert torch.equal(painted * (1 - hole), pictures * (1 - hole))
    assert (painted - spread(pictures, 1 - hole)).abs().max() > 0.1
    others = torch.where(hole > 0, torch.rand_like(pictures), pictures)
    torch.testing.assert_close(inpainter(others, hole), painted)


def test_it_learns_how_edges_run_on():
    torch.manual_seed(0)
    module = Inpainting(Inpainter((16, 24, 32)))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    x = torch.arange(32.0).expand(1, 32, 32)
    ratios = list[float]()
    for step in range(80):
        edges = torch.randint(8, 24, (8, 1, 1))
        behind = torch.where(x < edges, -0.7, 0.7)[:, None].expand(-1, 3, -1, -1).contiguous()
        hole = torch.zeros(8, 1, 32, 32)
        hole[..., 11:21, 9:23] = 1
        batch = {"source": torch.where(hole > 0, 0.0, behind), "behind": behind, "hole": hole}
        loss = module(batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss["loss"].backward()
        optimizer.step()
        ratios.append((loss["loss"] / loss["spread_loss"]).item())
    assert ratios[0] == pytest.approx(1) and sum(ratios[-10:]) / 10 < 0.6


def test_what_is_spread_keeps_what_is_known_and_invents_nothing():
    picture = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(2))
    known = (torch.rand(1, 1, 37, 50, generator=torch.Generator().manual_seed(3)) < 0.7).float()
    known[..., 10:30, 12:40] = 0
    shown = spread(picture, known)
    assert torch.equal(shown * known, picture * known)
    assert (shown[..., 18:22, 24:28] - 0.5).abs().max() < 0.2
    plain = spread(torch.where(known > 0, 0.25, 9.0).expand_as(picture), known)
    torch.testing.assert_close(plain, torch.full_like(plain, 0.25))
    assert spread(picture, torch.zeros_like(known)).isfinite().all()

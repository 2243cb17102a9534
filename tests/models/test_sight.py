"""What the patches of a picture tell."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from mgie.models.sight import Sight, edited_patches

SIDE, WIDTH = 4, 16


@pytest.fixture
def rows() -> dict[str, Tensor]:
    """Two pictures: on one a thing that was put there and a region, on the other nothing known."""
    generator = Generator().manual_seed(0)
    things = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    things[0, 0, :2], things[0, 2:] = 1, 2
    return {
        "patches": torch.randn(2, SIDE * SIDE, WIDTH, generator=generator),
        "things": things.flatten(1),
        "pasted": torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        "names": torch.tensor([[[5, 6], [7, 0]], [[0, 0], [0, 0]]]),
        "embeddings": torch.randn(12, WIDTH, generator=generator, requires_grad=True),
    }


def test_it_learns_from_the_patches_and_not_from_the_words(rows: dict[str, Tensor]):
    sight = Sight(WIDTH)
    patches = rows["patches"].requires_grad_()
    optimizer = torch.optim.Adam([patches, *sight.parameters()], lr=0.05)
    first = sight(**rows).item()
    for _ in range(200):
        optimizer.zero_grad()
        sight(**rows).backward()
        optimizer.step()
    assert sight(**rows).item() < 0.2 * first
    assert rows["embeddings"].grad is None

    told = functional.layer_norm(patches, (WIDTH,))
    presence = sight.presence(told)[..., 0] > 0
    assert torch.equal(presence, rows["things"] == 1)
    read = functional.normalize(sight.name(told), dim=-1)
    likely = (read @ functional.normalize(rows["embeddings"]).T).topk(2)
    assert all(set(ids.tolist()) == {5, 6} for ids in likely.indices[0, :2])
    assert (likely.indices[0, 2 * SIDE :, 0] == 7).all()
    assert (sight.position(told)[0, 0] - torch.tensor([-1.0, -1.0])).abs().max() < 0.3  # the top left
    assert (sight.position(told)[0, SIDE - 1] - torch.tensor([1.0, -1.0])).abs().max() < 0.3


def test_pictures_of_which_nothing_is_known(rows: dict[str, Tensor]):
    rows["things"].zero_()
    loss = Sight(WIDTH)(**rows)
    assert loss.isfinite() and loss > 0


def test_aiming_is_learned_from_what_an_edit_is_about():
    generator = Generator().manual_seed(0)
    asked, shown = (torch.randn(3, *size, WIDTH, generator=generator) for size in ((), (SIDE**2,)))
    edited = torch.zeros(3, SIDE**2)
    edited[0, 5], edited[1, 2:4] = 1, torch.tensor([0.9, 0.3])  # nothing in the third row
    sight = Sight(WIDTH)
    asked.requires_grad_(), shown.requires_grad_()
    optimizer = torch.optim.Adam([asked, shown, *sight.parameters()], lr=0.05)
    first = sight.aim(asked, shown, edited)
    for _ in range(100):
        optimizer.zero_grad()
        sight.aim(asked, shown, edited).backward()
        assert asked.grad is not None and not asked.grad[2].any()
        optimizer.step()
    assert first > 1 and sight.aim(asked, shown, edited) < 0.02
    assert sight.aim(asked, shown, 0 * edited) == 0


def test_what_an_edit_is_about():
    """A corner that goes, a square that comes again, one that changes, and all of a picture."""
    pictures = torch.zeros(4, 3, 64, 64)
    behind, target = pictures.clone(), pictures.clone()
    arrivals = torch.zeros(4, 2, 2, 4)
    behind[0, :, :32, :32] = 0.5
    target[:2, :, 32:, 32:] = target[2, :, :16, :32] = 0.5
    arrivals[0, 0] = torch.tensor([[0.0, 0.0, 1.0, 1.0], [-1.0, 0.0, 0.0, 1.0]])
    arrivals[1, 0] = torch.tensor([[-1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    target[3] = 0.5
    batch = {"source": pictures, "target": target, "behind": behind, "arrivals": arrivals}
    goes, stands, changes, everything = edited_patches(batch, 4).view(4, 4, 4)
    wanted = torch.zeros(3, 4, 4)
    wanted[0, :2, :2] = wanted[1, 2:, :2] = wanted[2, :1, :2] = 1
    torch.testing.assert_close(torch.stack([goes, stands, changes]).round(), wanted)
    assert not everything.any()

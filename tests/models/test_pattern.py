"""Patterns of waves."""

import pytest
import torch
from torch.nn import functional

from mgie.data.synth.material import pattern
from mgie.models.layers import gate
from mgie.models.pattern import _WAVES, STEPS, Pattern

SIN = {wave: 1 + i for i, wave in enumerate(_WAVES)}
COS = {wave: 1 + len(_WAVES) + i for i, wave in enumerate(_WAVES)}
"""Where the coefficients of waves are, (across, down), after that of the constant."""
CLOTH = {
    "stripes": {COS[0, 8]: 1.0},
    "checks": {COS[4, 4]: -1.0, COS[4, -4]: -1.0},
    "dots": {0: -0.25, COS[0, 8]: -1.0, SIN[8, 4]: -1.0, SIN[8, -4]: 1.0},
}


def woven(name: str, text: int = 6) -> Pattern:
    """Returns a pattern of cloth, whatever the text."""
    module = Pattern(text)
    with torch.no_grad():
        bias = torch.zeros_like(module.hear[-1].bias)
        for index, coefficient in CLOTH[name].items():
            bias[index] = coefficient
        module.hear[-1].bias.copy_(bias)
    return module


@torch.no_grad()
def test_a_new_pattern_covers_all():
    covered = gate(Pattern(6)(torch.randn(2, 6), 4, 5))
    assert covered.shape == (2, 1, 4 * STEPS, 5 * STEPS) and (covered == 1).all()


@torch.no_grad()
@pytest.mark.parametrize("name", CLOTH)
@pytest.mark.parametrize("size", [(32, 32), (26, 39), (48, 27)])
def test_few_waves_are_a_pattern_of_cloth(name: str, size: tuple[int, int]):
    covered = gate(woven(name)(torch.zeros(1, 6), *size))[0, 0]
    apart = (covered - torch.from_numpy(pattern(name, *covered.shape))).abs()
    assert apart.mean() < 0.06 and (apart > 0.5).float().mean() < 0.05


@torch.no_grad()
@pytest.mark.parametrize("name", CLOTH)
@pytest.mark.parametrize(("width", "height"), [(256, 396), (256, 384), (320, 256)])
def test_a_picture_that_hardly_fits_the_latents_gets_the_same_pattern(name: str, width: int, height: int):
    wanted, text = torch.from_numpy(pattern(name, height, width)), torch.zeros(1, 6)

    def apart(aspects: torch.Tensor | None) -> float:
        covered = gate(woven(name)(text, 39, 26, aspects))
        native = functional.interpolate(covered, (height, width), mode="bilinear")[0, 0]
        return (native - wanted).abs().mean().item()

    assert apart(torch.tensor([width / height])) < 0.08
    assert (apart(None) < 0.08) == (height == 384)  # as the latents are


def test_the_text_learns_its_pattern():
    torch.manual_seed(0)
    module, texts = Pattern(6), torch.eye(6)[:3]
    wanted = torch.stack([torch.from_numpy(pattern(name, 32, 32)) for name in CLOTH])[:, None]
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(module(texts, 8, 8), wanted).backward()
        optimizer.step()
    assert (gate(module(texts, 8, 8)) - wanted).abs().mean().item() < 0.05

"""Patterns, as of cloth, which the text says: sums of few waves, and so known to the pixel."""

import torch
from torch import Tensor, nn

STEPS = 4
"""Points on a side of a place at which a pattern is taught, and from which it is enlarged."""
_FINEST = 8
"""Most periods of a wave on a short side, across and down."""
_WAVES = tuple(
    (across, down)
    for across in range(_FINEST + 1)
    for down in range(-_FINEST, _FINEST + 1)
    if across > 0 or down > 0  # the others are these, or no waves
)
_HEARD = 256
"""Width of what hears the text."""
_LOUD = 8.0
"""Logit of one wave's crest: its edges are sharp to a pixel."""


class Pattern(nn.Module):
    """Says by the text alone where what an edit paints is to be seen: all over, or in a pattern.

    A pattern covers what is above zero in a sum of waves of the position (Fourier features; Tancik et al.,
    2020), whose coefficients the text chooses: stripes are one wave, checks two, dots three. Positions are in
    short sides of the picture, so that it is the same pattern at every resolution. A new one covers all.

    Args:
        text: width of all of the text, Q * C.
    """

    def __init__(self, text: int) -> None:
        super().__init__()
        self.hear = nn.Sequential(nn.Linear(text, _HEARD), nn.SiLU(), nn.Linear(_HEARD, 1 + 2 * len(_WAVES)))
        weight, bias = self.hear[-1].parameters()
        nn.init.zeros_(weight)
        nn.init.zeros_(bias)
        nn.init.ones_(bias[:1])

    def forward(self, text: Tensor, height: int, width: int, aspects: Tensor | None = None) -> Tensor:
        """Returns logits (B, 1, STEPS * height, STEPS * width) of how much of each point is covered.

        Args:
            text: (B, Q * C).
            height: of the latents, in places.
            width: likewise.
            aspects: (B,), width by height of each picture; None for those of the latents. Their sides are
                whole places, and after twelve stripes an aspect off by 1 % is an eighth of a period.
        """
        num, device = len(_WAVES), text.device
        if aspects is None:
            aspects = torch.tensor([width / height], device=device)
        in_short_sides = torch.stack([aspects, 1 / aspects]).clamp(min=1)[..., None, None]
        constant, sines, cosines = self.hear(text).float()[..., None].split([1, num, num], dim=1)
        across, down = torch.tensor(_WAVES, device=device).T[..., None]
        x, y = (
            2 * torch.pi * periods * side * (torch.arange(points, device=device) + 0.5) / points
            for periods, side, points in (
                (across, in_short_sides[0], STEPS * width),
                (down, in_short_sides[1], STEPS * height),
            )
        )
        # A wave of x + y is a sum of products of waves of x and of y, which are far fewer.
        of_x = torch.cat([cosines * x.cos() + sines * x.sin(), sines * x.cos() - cosines * x.sin()], dim=1)
        of_y = torch.cat([y.cos(), y.sin()], dim=1).expand(len(text), -1, -1)
        # Sums of waves have more than the eight bits of mixed precision.
        with torch.autocast(device.type, enabled=False):
            return _LOUD * (constant + of_y.mT @ of_x)[:, None]

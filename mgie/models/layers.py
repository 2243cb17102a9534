"""Things that go and come, as layers over the picture: a hole that is filled, and what is laid on it.

An edit of a thing is known exactly by what goes, what is behind it, and of what comes by the square that it
stands in. Each of these is said apart, so that each can be taught apart. Squares are (x, y, side), the middle
and the side, in places of the latents from the top left; side 0 is no square.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mgie.images import Box, Rearrangement
from mgie.models.autoencoder import ResidualBlock
from mgie.models.inpainting import Inpainter, spread
from mgie.models.outlines import Outlines

MAX_ARRIVALS = 2
"""Most things that come in one edit."""
MARGIN = 0.1
"""How far what belongs to a thing, as its shadow, reaches out of its square, as a share of its side."""
OUTSIDE = -12.0
"""Logit of the outline of what comes, out of its square."""
_MAPS = 3 + MAX_ARRIVALS
"""That the finder gives."""
_GOING, _SQUARES, _OUTLINE = slice(0, 1), slice(1, _MAPS - 1), slice(_MAPS - 1, _MAPS)
"""What goes, the square where a thing stands that comes again and those that something comes into, and which
places the thing that stands there covers."""
_WIDTH, _HEARD = 96, 256
"""Of the finder, and of what hears the text."""
_DILATIONS = 1, 2, 4, 2
_SETTLING = 256
"""Width of what settles squares."""
_OCTAVES = 2, 4, 8, 16, 32
"""Half periods on a side of the waves of a square's numbers: steps between sizes are steep."""
_SETTLED, _SIDE = 2.0, 32
"""Places by which a square settles at most, in each of its three numbers, on such a short side."""
_ALIKE = 1.3
"""Ratio of sides below which two squares are meant to be of one size."""
_CANVAS, _DRAWN = 16, 96
"""Places on a side of what is drawn, and the width of what draws."""
_AROUND, _MENDING = 5, 256
"""Places on a side of what is seen of where something comes from, and width of what mends it."""
_SHUT = -4.0
"""Logit of each map at first: nothing goes or comes."""
_STRETCH, _SQUARE_STRETCH = 3.0, 1.2
"""Gates are 0 where a third of a place is covered or less, 1 from two thirds on. Squares need fractions."""
_SHOWS = 0.05
"""Share of a pixel that goes from which on it does not say what is behind."""
_LEAST_AREA = 4.0
"""Places of the smallest square that counts."""


@dataclass
class TrueLayers:
    """What truly goes and comes in B edits."""

    gone: Tensor
    """(B, 1, h, w), how much of each place goes, 0 to 1."""
    come: Tensor
    """(B, 1, h, w), how much of each place is covered by what comes."""
    behind: Tensor
    """(B, c, h, w), latents of the source without what goes."""
    squares: Tensor
    """(B, 1 + MAX_ARRIVALS, 3), where a thing stands that comes again, then what comes, left to right."""


@dataclass
class LayersOutput:
    """What a `Layers` says and paints."""

    logits: Tensor
    """(B, 3 + MAX_ARRIVALS, h, w): what goes; squares standing and coming; outline of what stands there."""
    squares: Tensor
    """(B, 1 + MAX_ARRIVALS, 3), as the maps of squares have them."""
    contents: Tensor
    """(B, MAX_ARRIVALS, c, h, w), what comes."""
    outlines: Tensor
    """(B, MAX_ARRIVALS, 1, h, w), logits of how much of each place it covers."""

    @property
    def opened(self) -> Tensor:
        """(B,) in [0, 1], the most that an edit's layers cover of a place; 0 where there are none."""
        return gate(torch.cat([self.logits[:, _GOING], self.outlines.flatten(1, 2)], dim=1)).amax((1, 2, 3))

    def laid_over(self, source: Tensor, in_place: Tensor) -> Tensor:
        """Returns latents (B, c, h, w): the layers over the source, where there are any, else `in_place`."""
        going = gate(self.logits[:, _GOING]).to(source)  # in mixed precision they are not alike
        latents = torch.lerp(source, spread(source, 1 - grown((going > 0).to(source))), going)
        for k in range(MAX_ARRIVALS):
            latents = torch.lerp(latents, self.contents[:, k], gate(self.outlines[:, k]).to(source))
        return torch.lerp(in_place, latents, self.opened.to(source).view(-1, 1, 1, 1))


class Layers(nn.Module):
    """Says what goes and comes, fills the hole, and brings what comes from where it stands or draws it.

    The finder is convolutions over a UNet's last features and what is known of each place, that hear the text
    by scale and shift (Perez et al., 2018). Its maps say squares to a third of a place, so what is sharp
    would come beside its place: they settle where things of the size stand, by what the text says. What is
    behind a hole is what is around it, spread smoothly (pull and push; Gortler et al., 1996). What comes is
    fetched from the square where it stands, as a spatial transformer does it (Jaderberg et al., 2015), with
    its outline: the square gives the offsets exactly, which convolutions do not. Between places there are no
    latents, so from the nearest ones it is mended what lies between. If there is no such square, it is new,
    and drawn by the text on a canvas as large as it will be. On the photograph itself, `rearrangements` says
    to the pixel what goes, and what is behind.

    Args:
        channels: c of the latents.
        features: channels of the UNet's last features.
        known: channels of what is known of each place.
        text: width of all of the text, Q * C.
    """

    def __init__(self, channels: int, features: int, known: int, text: int) -> None:
        super().__init__()
        self.hear = nn.Sequential(nn.Linear(text, _HEARD), nn.SiLU())
        self.finder = _Finder(features + known)
        self.settle = _Settling()
        self.mend = nn.Sequential(
            nn.Linear(_AROUND**2 * channels + 3, 2 * _MENDING),
            nn.SiLU(),
            nn.Linear(2 * _MENDING, _MENDING),
            nn.SiLU(),
            nn.Linear(_MENDING, channels),
        )
        for parameter in self.mend[-1].parameters():
            nn.init.zeros_(parameter)
        self.canvas = _Canvas(channels, text + 2 * channels)
        # Of photographs, by stages of their own.
        self.outlines, self.inpainter = (part().requires_grad_(False) for part in (Outlines, Inpainter))

    def forward(
        self, features: Tensor, known: Tensor, source: Tensor, text: Tensor, truth: TrueLayers | None = None
    ) -> LayersOutput:
        """Returns what goes and comes.

        Args:
            features: (B, f, h, w), the UNet's last.
            known: (B, k, h, w) of each place.
            source: latents (B, c, h, w).
            text: (B, Q * C).
            truth: what to bring, in training: what is learned from wrong squares is to blur.
        """
        heard = self.hear(text)
        logits = self.finder(torch.cat([features, known], dim=1), heard)
        squares = self.settle(_squares(logits[:, _SQUARES]), heard, source.shape[2], source.shape[3])
        given = squares if truth is None else truth.squares
        drawn = self.canvas(text, source)
        arrivals = [
            self.arrival(source, logits[:, _OUTLINE], drawn, given[:, 0], given[:, 1 + k])
            for k in range(MAX_ARRIVALS)
        ]
        contents, outlines = (torch.stack(parts, dim=1) for parts in zip(*arrivals, strict=True))
        return LayersOutput(logits, squares, contents, outlines)

    def rearrangements(self, found: LayersOutput, pictures: Tensor) -> list[Rearrangement]:
        """Returns what each of B edits takes from its picture, what is behind that, and what it shows again.

        What comes in nearly the size that it has comes in just that size, as what is moved or doubled does.

        Args:
            found: what goes and comes in these edits, and maybe in more.
            pictures: (B, 3, H, W) in [-1, 1], at the latents' own size.
        """
        logits, squares, outlines = (
            rows[: len(pictures)] for rows in (found.logits, found.squares, found.outlines)
        )
        stands = squares[:, 0, 2] > 0
        comes = gate(outlines).amax(1)  # (B, 1, h, w)
        drawn = comes * ~stands.view(-1, 1, 1, 1)
        going, standing = logits[:, _GOING], logits[:, _OUTLINE]
        gone = self.to_the_pixel(going, pictures, gate(going).amax((1, 2, 3)) > 0)
        outline = self.to_the_pixel(standing, pictures, stands)
        shown = self._behind(pictures, gone), gone, drawn, outline
        maps = (map_.permute(0, 2, 3, 1).float().cpu().numpy() for map_ in shown)
        height, width = logits.shape[2:]
        rearranged: list[Rearrangement] = []
        for behind, gone, drawn, outline, (old, *new) in zip(*maps, squares.tolist(), strict=True):
            side = old[2]
            coming = [
                (*middle, side if side / _ALIKE < own < side * _ALIKE else own)
                for *middle, own in new
                if side > 0 and own > 0
            ]
            boxes = tuple((_box(old, height, width), _box(square, height, width)) for square in coming)
            rearranged.append(Rearrangement(behind, gone, drawn, outline, boxes))
        return rearranged

    def _behind(self, pictures: Tensor, gone: Tensor) -> Tensor:
        """Returns pictures (B, 3, H, W) in [0, 1] without what goes (B, 1, H, W)."""
        behind, rows = pictures.clone(), gone.amax((1, 2, 3)) > _SHOWS
        if rows.any():
            hole = grown((gone[rows] > _SHOWS).to(gone))  # rims keep a little of what goes
            behind[rows] = self.inpainter(pictures[rows].to(gone), hole).to(behind)
        return (behind / 2 + 0.5).clamp(0, 1)

    def to_the_pixel(self, logits: Tensor, pictures: Tensor, rows: Tensor) -> Tensor:
        """Returns how much of each pixel (B, 1, H, W) is covered; nothing but in these rows (B,), bool."""
        covered = logits.new_zeros(len(pictures), 1, *pictures.shape[2:])
        if rows.any():
            chances = logits[rows].sigmoid()
            covered[rows] = gate(self.outlines(pictures[rows].to(chances), chances))
        return covered

    def arrival(
        self, source: Tensor, outline: Tensor, drawn: Tensor, old: Tensor, new: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what comes (B, c, h, w) into squares and logits of its outline (B, 1, h, w).

        Args:
            source: latents (B, c, h, w).
            outline: logits (B, 1, h, w) of what stands in the old square.
            drawn: (B, c + 1, _CANVAS, _CANVAS), of what is new, and the logits of its outline.
            old: squares (B, 3) where from.
            new: squares (B, 3) where to.
        """
        share = shares(new, source)  # (B, 2, h, w)
        is_new = (old[:, 2] == 0).view(-1, 1, 1, 1)
        reach = (1 + 2 * MARGIN) / 2
        inside = ((share - 0.5).abs() <= reach).all(1, keepdim=True) & (new[:, 2] > 0).view(-1, 1, 1, 1)
        scale = old[:, 2] / new[:, 2].clamp(min=1)
        fetched = self.fetched(source, outline, at(share, old), scale, inside & ~is_new)
        grid = ((share - 0.5) / reach).permute(0, 2, 3, 1)
        placed = functional.grid_sample(drawn.float(), grid, padding_mode="border", align_corners=False)
        content = torch.where(is_new, placed.to(source), fetched)
        return content[:, :-1], content[:, -1:].masked_fill(~inside, OUTSIDE)

    def fetched(self, source: Tensor, outline: Tensor, where: Tensor, scale: Tensor, seen: Tensor) -> Tensor:
        """Returns what source and outline show at places (B, 2, h, w), as (B, c + 1, h, w).

        Args:
            source: latents (B, c, h, w).
            outline: (B, 1, h, w).
            where: x and y in places.
            scale: (B,), of the side there to the side here.
            seen: (B, 1, h, w), where it is mended: nobody sees the rest.
        """
        sides = where.new_tensor([source.shape[3], source.shape[2]]).view(1, 2, 1, 1)
        grid = (2 * where / sides - 1).permute(0, 2, 3, 1)
        both = torch.cat([source, outline], dim=1).float()  # places have more than eight bits
        sampled = functional.grid_sample(both, grid, padding_mode="border", align_corners=False)
        row, _, y, x = seen.nonzero(as_tuple=True)
        there = where[row, :, y, x]  # (N, 2)
        nearest = torch.minimum(there.floor().clamp(min=0), sides.flatten() - 1)
        rim, steps = _AROUND // 2, torch.arange(_AROUND, device=source.device)
        padded = functional.pad(source, 4 * (rim,), mode="replicate").permute(0, 2, 3, 1)
        left, top = nearest.long().unbind(1)
        around = padded[
            row[:, None, None], (top[:, None] + steps)[..., None], (left[:, None] + steps)[:, None]
        ]
        fraction = (there - nearest - 0.5).clamp(-1, 1)
        between = torch.cat([fraction, scale[row, None].clamp(min=0.1).log()], dim=1).to(source)
        # Of a channel, the places beside each other.
        mended = self.mend(torch.cat([around.permute(0, 3, 1, 2).flatten(1), between], dim=1))
        latents = sampled[:, :-1].to(source).permute(0, 2, 3, 1)
        latents = latents.index_put((row, y, x), mended.to(source), accumulate=True)
        return torch.cat([latents.permute(0, 3, 1, 2), sampled[:, -1:].to(source)], dim=1)


class _Finder(nn.Module):
    def __init__(self, places: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(places, _WIDTH, 1)
        self.told = nn.Linear(_HEARD, 2 * len(_DILATIONS) * _WIDTH)
        self.blocks = nn.ModuleList(_Block(dilation) for dilation in _DILATIONS)
        self.say = nn.Conv2d(_WIDTH, _MAPS, 3, padding=1)
        for parameter in self.told.parameters():
            nn.init.zeros_(parameter)
        weight, bias = self.say.parameters()
        nn.init.zeros_(weight)
        nn.init.constant_(bias, _SHUT)

    def forward(self, places: Tensor, heard: Tensor) -> Tensor:
        x = self.join(places)
        told = self.told(heard).view(len(heard), len(self.blocks), 2, _WIDTH, 1, 1)
        for i, block in enumerate(self.blocks):
            x = block(x, *told[:, i].unbind(1))
        return self.say(functional.silu(x))


class _Block(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, _WIDTH)
        self.wide = nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, padding=dilation, dilation=dilation)
        self.narrow = nn.Conv2d(2 * _WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return x + self.narrow(functional.silu(self.wide(self.norm(x) * (1 + scale) + shift)))


class _Settling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        numbers = 3 * (1 + MAX_ARRIVALS)
        self.say = nn.Sequential(
            nn.Linear(_HEARD + numbers * (1 + 2 * len(_OCTAVES)) + 1, _SETTLING),
            nn.SiLU(),
            nn.Linear(_SETTLING, _SETTLING),
            nn.SiLU(),
            nn.Linear(_SETTLING, numbers),
        )
        for parameter in self.say[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, squares: Tensor, heard: Tensor, height: int, width: int) -> Tensor:
        """Returns squares (B, 1 + MAX_ARRIVALS, 3) by what was heard (B, _HEARD); none stays none."""
        short = min(height, width)
        shares = (squares / squares.new_tensor([width, height, short])).flatten(1)
        phases = [torch.pi * octave * shares for octave in _OCTAVES]
        waves = [wave for phase in phases for wave in (phase.sin(), phase.cos())]
        form = shares.new_full((len(shares), 1), 4 * math.log(width / height))
        told = torch.cat([8 * shares - 4, *waves, form], dim=1)
        by = self.say(torch.cat([heard, told.to(heard)], dim=1)).to(squares)
        by = _SETTLED * torch.tanh(by * short / (_SIDE * _SETTLED))
        return squares + by.view_as(squares) * (squares[..., 2:] > 0)


class _Canvas(nn.Module):
    def __init__(self, channels: int, heard: int) -> None:
        super().__init__()
        quarter = _CANVAS // 4
        self.hear = nn.Sequential(
            nn.Linear(heard, _HEARD),
            nn.SiLU(),
            nn.Linear(_HEARD, _HEARD),
            nn.SiLU(),
            nn.Linear(_HEARD, _DRAWN * quarter**2),
            nn.Unflatten(1, (_DRAWN, quarter, quarter)),
        )
        self.draw = nn.Sequential(
            ResidualBlock(_DRAWN),
            nn.Upsample(scale_factor=2),
            ResidualBlock(_DRAWN),
            nn.Upsample(scale_factor=2),
            ResidualBlock(_DRAWN),
            nn.SiLU(),
            nn.Conv2d(_DRAWN, channels + 1, 3, padding=1),
        )

    def forward(self, text: Tensor, source: Tensor) -> Tensor:
        """Returns (B, c + 1, side, side), the light on it that of the picture."""
        light = torch.cat([source.mean((2, 3)), source.std((2, 3))], dim=1)
        return self.draw(self.hear(torch.cat([text, light], dim=1)))


def _box(square: Sequence[float], height: int, width: int) -> Box:
    """Returns a square in places as shares of the sides."""
    x, y, side = square
    return (x - side / 2) / width, (y - side / 2) / height, (x + side / 2) / width, (y + side / 2) / height


def gate(logits: Tensor, stretch: float = _STRETCH) -> Tensor:
    """Returns sigmoids, stretched around one half and clipped so that they reach 0 and 1.

    Louizos et al., 2018, equation 11.
    """
    return (stretch * (logits.sigmoid() - 0.5) + 0.5).clamp(0, 1)


def grown(covered: Tensor) -> Tensor:
    """Returns (B, 1, h, w) a place more on each side: the autoencoder smears what goes over neighbours."""
    return functional.max_pool2d(covered, 3, stride=1, padding=1)


def cover(squares: Tensor, height: int, width: int) -> Tensor:
    """Returns how much of each place squares (B, N, 3) cover, (B, N, height, width)."""
    x, y, side = squares[..., None].unbind(2)

    def along(middle: Tensor, num: int) -> Tensor:
        places = torch.arange(num, device=squares.device)
        end, start = torch.minimum(middle + side / 2, places + 1), torch.maximum(middle - side / 2, places)
        return (end - start).clamp(min=0)

    return along(y, height)[..., :, None] * along(x, width)[..., None, :]


def _squares(logits: Tensor) -> Tensor:
    """Returns the squares (B, N, 3) of maps (B, N, h, w) of how much of each place they cover.

    The side is the root of all that is covered, the middle the mean of where.
    """
    covered = gate(logits.float(), _SQUARE_STRETCH)
    area = covered.sum((2, 3))
    height, width = covered.shape[2:]
    x = (covered.sum(2) * (torch.arange(width, device=covered.device) + 0.5)).sum(2)
    y = (covered.sum(3) * (torch.arange(height, device=covered.device) + 0.5)).sum(2)
    least = area.clamp(min=1)
    squares = torch.stack([x / least, y / least, area.clamp(min=1e-6).sqrt()], dim=2)
    return squares * (area >= _LEAST_AREA)[..., None]


def shares(squares: Tensor, latents: Tensor) -> Tensor:
    """Returns how far through squares (B, 3) the middle of each place is, (B, 2, h, w); 0 to 1 is inside."""
    height, width = latents.shape[2:]
    x = torch.arange(width, device=latents.device) + 0.5
    y = torch.arange(height, device=latents.device) + 0.5
    place = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    side = squares[:, 2].clamp(min=1).view(-1, 1, 1, 1)
    return (place - squares[:, :2, None, None]) / side + 0.5


def at(shares: Tensor, squares: Tensor) -> Tensor:
    """Returns the places (B, 2, h, w) at shares (B, 2, h, w) of squares (B, 3)."""
    return squares[:, :2, None, None] + (shares - 0.5) * squares[:, 2].view(-1, 1, 1, 1)

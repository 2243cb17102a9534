"""The UNet of InstructPix2Pix: diffusers' `UNet2DConditionModel` with source latents on extra channels."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn
from torch.nn import functional

from mgie.models.backbone import FEATURES, LatentBackbone
from mgie.models.inpainting import spread
from mgie.models.layers import Layers, LayersOutput, TrueLayers, gate, grown
from mgie.models.pattern import STEPS, Pattern

__all__ = [
    "ChangeUNet2DConditionModel",
    "ChangeUNet2DConditionOutput",
    "FindingUNet2DConditionModel",
    "ModelMixin",
    "widen_conv_in",
]  # diffusers looks for `ModelMixin` here

_LAST_TIMESTEP = 999
"""Of diffusers' noise schedules."""
_POSITIONS = 6
"""Polynomials of second degree in a place's x and y."""
_OCTAVES = 1, 2, 4, 8
_WAVES = tuple((k * across, k * down) for k in _OCTAVES for across, down in ((1, 0), (0, 1), (1, 1), (1, -1)))
"""Periods of the waves of a place's position on a short side, across and down."""
_BLOCKS = (2, 4)
"""Places on a side of the squares whose mean a place knows."""
_BINS = 32
"""Of the guide."""
_BIN_WIDTH = 0.7 / _BINS
"""Standard deviation of a bin, in grey values from 0 to 1: neighbours overlap."""
_GREY = 0.299, 0.587, 0.114
"""Shares of red, green and blue in a grey value."""
_MENDING = 96
"""Width of what mends what was sampled between places."""
_PART = 0.02
"""Least share of the places that an edit of a part changes, and that it does not."""
_BESIDE = 0.5
"""Share of its change that an edit of a part would make beside it, too. One of the whole leaves alone what it
would hardly change, or fades: those that blur or pixelate are all below, of 10 vignettes 8, of regions one in
twenty."""
_NEAR = 0.85
"""Share of the chance of places that an edit changes, at which half of the change shows."""
_LEAST_CHANCE = 0.5
"""Least such chance: what is more likely to stay than to change hardly shows, however low all chances are."""


@dataclass
class ChangeUNet2DConditionOutput(UNet2DConditionOutput):
    """What a `ChangeUNet2DConditionModel` gives."""

    change: Any = None
    """(B, c, h, w), what the edit adds to the source where it changes all of the place."""
    changed_logits: Any = None
    """(B, 1, h, w), logits of how much of each place the edit changes, but for a pattern."""
    pattern_logits: Any = None
    """(B, 1, STEPS * h, STEPS * w), logits of how much a pattern covers; see `mgie.models.pattern`."""
    everywhere: Any = None
    """(B, c, h, w), the target's latents if the edit were of every place, and without pattern."""
    offsets: Any = None
    """(B, 2, h, w), how far across and down from each place that is which a copy shows there; a side is 2."""
    layers: LayersOutput | None = None
    """What goes and comes."""


class ChangeUNet2DConditionModel(UNet2DConditionModel):
    """A UNet that paints what changes, and where: outside of that its prediction is the source, exactly.

    It predicts the target's latents (`prediction_type: sample`) as `source + gate * change`: where an outline
    crosses a place, its share of the change, as in compositing. One more channel of the last layer holds the
    logits of the gate, which `mgie.diffusion.location_loss` teaches; the gate is their sigmoid, in relation
    to those where most of the change is, stretched around one half and clipped so that it reaches 0 and 1
    (Louizos et al., 2018, eq. 11). If the change is to be seen in a pattern, the text says in which
    (`mgie.models.pattern`).

    What is behind a thing that goes is guessed from what is around it: what the gate leaves alone, spread
    smoothly over the rest (pull and push; Gortler et al., 1996). Another channel says how far the change goes
    there. And a thing that is moved, resized or doubled is taken from where it stands, as a spatial
    transformer does it (Jaderberg et al., 2015): two channels say from where, one how much of the change
    that is. Between places there are no latents, so what was sampled there is mended by convolutions that
    know how far between it was.

    To these channels it adds an affine map of what is known of each place, whose coefficients come from the
    text and the picture as a whole, as in HDRNet (Gharbi et al., 2017). A change of tone or light is nearly
    such a map of a place's own source latents in latents too, and convolutions are slow to find it. Means of
    squares of places take away detail, or sharpen, going the other way; by the position, light falls off;
    and by the bins of a guide, among which a place is shared out, such as by its grey value, tone curves
    take any form, even that of a poster's steps. The first layer gets all of this as well, and every
    residual block the whole text beside the timestep.

    What goes or comes as a whole has layers of its own, over the source: see `mgie.models.layers`. Where
    there are any, what was painted in place is not seen.

    The noisy latents come in about as strong as the signal in them, so at the last timestep not at all: there
    they are noise alone, which would blur all that the first layers see of the source.

    A pretrained UNet knows how to keep what an edit does not touch. One trained from nothing would have to
    learn copying first, and the change of one object would drown in the error of that. For latents with a
    scaling factor of 1.

    The arguments are those of `UNet2DConditionModel`; `in_channels` is twice `out_channels`, and
    `projection_class_embeddings_input_dim` is Q * C of the text.
    """

    features = 0
    """Channels that a subclass knows besides."""

    @functools.wraps(UNet2DConditionModel.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"class_embed_type": "projection", **kwargs})
        old: Any = self.conv_out
        width, channels = self.time_embedding.linear_2.out_features, old.out_channels
        painted = channels + 5
        self.conv_out = _WithFeatures(old.in_channels, painted, old.kernel_size, padding=old.padding)
        self.guide = nn.Conv2d(channels, _BINS, 3, padding=1)
        known = (1 + len(_BLOCKS)) * channels + _BINS + _POSITIONS + self.features
        first: Any = self.conv_in
        self.conv_in = nn.Conv2d(
            channels + known, first.out_channels, first.kernel_size, padding=first.padding
        )
        text = self.config["projection_class_embeddings_input_dim"]
        self.affine = nn.Sequential(
            nn.Linear(text + 2 * channels, width),
            nn.SiLU(),
            nn.Linear(width, painted * known),
        )
        self.mend = nn.Sequential(
            nn.Conv2d(channels + 4, _MENDING, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_MENDING, _MENDING, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_MENDING, channels, 3, padding=1),
        )
        self.layers = Layers(channels, old.in_channels, known, text)
        self.pattern = Pattern(text)
        for layer in (self.conv_out, self.affine[-1], self.mend[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def guide_by_grey(self, vae: Any) -> None:
        """Has the guide share out places by their grey value, which a new one would be long in finding.

        What an autoencoder decodes is nearly linear in the latents of a place and its neighbours: by the
        gradient of mgie-tiny's decoder at zero, 99 % of the variance of places' grey values is known (90
        photographs). The bins are Gaussian, around grey values that are spread evenly.

        Args:
            vae: autoencoder of the latents, which gives pictures in [-1, 1].
        """
        latents = torch.zeros(1, self.guide.in_channels, 5, 5, device=self.device, requires_grad=True)
        picture = vae.decode(latents).sample[0]
        side = picture.shape[-1] // 5
        place = picture[:, 2 * side : 3 * side, 2 * side : 3 * side].mean((1, 2)) / 2 + 0.5
        grey = place @ place.new_tensor(_GREY)
        (gradient,) = torch.autograd.grad(grey, latents)
        centres = torch.linspace(0, 1, _BINS, device=self.device)
        weight, bias = self.guide.parameters()
        with torch.no_grad():  # the logarithm of each bin at a grey value, but for what all have in common
            weight.copy_(centres.view(-1, 1, 1, 1) * gradient[:, :, 1:4, 1:4] / _BIN_WIDTH**2)
            bias.copy_(centres * (grey - centres / 2) / _BIN_WIDTH**2)

    def known(self, source: Tensor) -> Tensor:
        """Returns what is known of each place of source latents (B, c, h, w), as (B, k, h, w)."""
        means = [_block_means(source, side) for side in _BLOCKS]
        bins = self.guide(source).softmax(dim=1)
        return torch.cat([source, *means, bins, _positions(source)], dim=1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        *,
        return_dict: bool = True,
        truth: TrueLayers | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the target's latents (B, c, h, w), and with `return_dict` what changes, and where.

        Args:
            sample: (B, 2c, h, w), noisy latents and source latents.
            timestep: (B,) or one for all, from 0 to 999.
            encoder_hidden_states: (B, Q, C).
            return_dict: whether as `ChangeUNet2DConditionOutput`, otherwise the latents alone in a tuple.
            truth: see `Layers.forward`.
            added_cond_kwargs: `{"aspects": (B,)}`, see `Pattern.forward`.
            kwargs: as of `UNet2DConditionModel.forward`, but for `class_labels`, which are the text.
        """
        noisy, source = sample.chunk(2, dim=1)
        signal = 1 - torch.as_tensor(timestep, device=sample.device).to(sample.dtype) / _LAST_TIMESTEP
        known = self.known(source)
        both = torch.cat([noisy * signal.view(-1, 1, 1, 1), known], dim=1)
        text = encoder_hidden_states.flatten(1)
        (last,) = super().forward(
            both, timestep, encoder_hidden_states, class_labels=text, return_dict=False, **kwargs
        )
        painted, features = last.split([self.conv_out.out_channels, self.conv_out.in_channels], dim=1)
        layers = self.layers(features, known, source, text, truth)
        whole = torch.cat([text, source.mean((2, 3)), source.std((2, 3))], dim=1)
        coefficients = self.affine(whole).view(len(source), painted.shape[1], -1)
        # In fp32, since the offset of a place has more than eight bits.
        with torch.autocast(sample.device.type, enabled=False):
            painted = painted.float() + torch.einsum("bof,bfhw->bohw", coefficients.float(), known.float())
        painted, offsets = painted[:, :-2].to(source.dtype), painted[:, -2:]
        change, logits, to_surroundings, to_copy = painted.split([source.shape[1], 1, 1, 1], dim=1)
        changed = gate(_decided(logits))
        change = change + to_surroundings * (spread(source, 1 - grown(changed.detach())) - source)
        change = change + to_copy * (self.copied(source, offsets) - source)
        pattern_logits = self.pattern(text, *source.shape[2:], (added_cond_kwargs or {}).get("aspects"))
        covered = functional.avg_pool2d(gate(pattern_logits), STEPS).to(source)
        latents = layers.laid_over(source, source + changed * covered * change)
        if not return_dict:
            return (latents,)
        return ChangeUNet2DConditionOutput(
            sample=latents,
            change=change,
            changed_logits=logits,
            pattern_logits=pattern_logits,
            everywhere=source + change,
            offsets=offsets,
            layers=layers,
        )

    def changed_pixels(self, output: ChangeUNet2DConditionOutput, pictures: Tensor) -> list[Tensor | None]:
        """Returns how much of each pixel B edits change in place, (1, H, W) each; None for those of a whole.

        What is known of places is outlined on the photograph. An edit is of a part if it leaves places beside
        it alone that it would change.

        Args:
            output: of these edits, and maybe of more.
            pictures: (B, 3, H, W) in [-1, 1], at the latents' own size.
        """
        rows = len(pictures)
        assert output.layers is not None
        logits = _decided(output.changed_logits[:rows])
        covered = gate(logits)
        size = output.change[:rows].abs().mean(1, keepdim=True)
        inside, outside = (covered == 1).to(size), (covered == 0).to(size)
        beside = outside * grown(grown(inside))
        changes, would_change = (
            (size * places).sum((1, 2, 3)) / places.sum((1, 2, 3)).clamp(min=1) for places in (inside, beside)
        )
        are_parts = (
            (output.layers.opened[:rows] == 0)
            & (inside.mean((1, 2, 3)) > _PART)
            & (outside.mean((1, 2, 3)) > _PART)
            & (would_change > _BESIDE * changes)
        )
        changed = self.layers.to_the_pixel(logits, pictures, are_parts)
        covers = functional.interpolate(output.pattern_logits[:rows], pictures.shape[2:], mode="bilinear")
        changed = changed * gate(covers)
        return [row if is_part else None for row, is_part in zip(changed, are_parts.tolist(), strict=True)]

    def copied(self, source: Tensor, offsets: Tensor) -> Tensor:
        """Returns what source latents (B, c, h, w) show at offsets (B, 2, h, w) from each place."""
        # torch's grids have the middles of places, x and y in [-1, 1].
        here = functional.affine_grid(
            torch.eye(2, 3, device=source.device)[None], list(source[:1].shape), False
        )
        there = here + offsets.permute(0, 2, 3, 1)
        sampled = functional.grid_sample(source.float(), there, padding_mode="border", align_corners=False)
        sides = there.new_tensor([source.shape[3], source.shape[2]])
        phases = (torch.pi * there.detach() * sides).permute(0, 3, 1, 2)
        known = torch.cat([sampled, phases.sin(), phases.cos()], dim=1).to(source.dtype)
        return sampled.to(source.dtype) + self.mend(known)


class FindingUNet2DConditionModel(ChangeUNet2DConditionModel):
    """One that knows the features of a backbone, too: by them the text tells apart what is to change.

    The backbone is trained before (`mgie.training.stages.backbone`) and stays as it is. And it knows waves of
    the position (Fourier features; Tancik et al., 2020), by which the text tells places apart.
    """

    features = FEATURES + 2 * len(_WAVES)

    @functools.wraps(UNet2DConditionModel.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backbone = LatentBackbone(self.guide.in_channels).requires_grad_(False)

    def known(self, source: Tensor) -> Tensor:
        """Returns what `ChangeUNet2DConditionModel.known` does, then the features and the waves."""
        return torch.cat([super().known(source), self.backbone(source), _waves(source)], dim=1)


class _WithFeatures(nn.Conv2d):
    """A last layer that gives what it reads as well, beside what it makes of it."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([super().forward(features), features], dim=1)


def _decided(logits: Tensor) -> Tensor:
    """Returns logits (B, 1, h, w) less that at which half of the change shows.

    Where it is hard to say what is meant, all chances are low, and most of the change is still where they are
    highest; where it is easy, what is changed beside a region is seen more than what is left of it. So half
    shows a little below the chance of a place of the change: the mean chance, each place by its own. Of 267
    edits of regions, a tenth more were in their place, and by a tenth at most beside it, than by one chance
    for all.
    """
    chances = logits.float().sigmoid()
    level = chances.square().sum((1, 2, 3), keepdim=True) / chances.sum((1, 2, 3), keepdim=True).clamp(1e-6)
    return logits - (_NEAR * level).clamp(min=_LEAST_CHANCE).logit().to(logits)


def _positions(latents: Tensor) -> Tensor:
    """Returns where each place of latents (B, c, h, w) is, as polynomials of its x and y in [-1, 1]."""
    size = latents.shape[2:]
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n).to(latents) for n in size), indexing="ij")
    return torch.stack([x, y, x * x, y * y, x * y, torch.ones_like(x)]).expand(len(latents), -1, -1, -1)


def _waves(latents: Tensor) -> Tensor:
    """Returns sines, then cosines, of where each place of latents (B, c, h, w) is, by `_WAVES`."""
    size = latents.shape[2:]
    places = ((torch.arange(n, device=latents.device) + 0.5) / min(size) for n in size)  # phases need fp32
    y, x = torch.meshgrid(*places, indexing="ij")
    phases = 2 * torch.pi * torch.stack([across * x + down * y for across, down in _WAVES])
    return torch.cat([phases.sin(), phases.cos()]).to(latents).expand(len(latents), -1, -1, -1)


def _block_means(latents: Tensor, side: int) -> Tensor:
    """Returns the mean of its square of side x side places, at each place of latents (B, c, h, w)."""
    height, width = latents.shape[2:]
    means = functional.avg_pool2d(latents, side, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(means, scale_factor=float(side))[..., :height, :width]


@torch.no_grad()
def widen_conv_in(unet: UNet2DConditionModel, in_channels: int) -> UNet2DConditionModel:
    """Returns `unet`, widened in place for source latents: weights and bias copied, new channels zero.

    With zero source latents the widened UNet therefore equals the original. (The code released with MGIE, and
    diffusers' own InstructPix2Pix training script, forget the bias.)

    Args:
        unet: a text-to-image UNet; one that already has `in_channels` is returned as it is.
        in_channels: the wanted number of input channels, twice the latent channels.
    """
    old: Any = unet.conv_in
    if unet.config["in_channels"] == in_channels:
        return unet
    new: Any = nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, padding=old.padding, dtype=old.weight.dtype
    )
    new.weight.zero_()
    new.weight[:, : old.in_channels] = old.weight
    new.bias.copy_(old.bias)
    unet.conv_in = new.to(old.weight.device)
    unet.register_to_config(in_channels=in_channels)
    return unet

"""The training side of the diffusion half: latents, condition dropout and the denoising loss.

InstructPix2Pix (Brooks et al., CVPR 2023), section 3.2; prediction types as in diffusers' schedulers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mgie.models.layers import MARGIN, OUTSIDE, LayersOutput, TrueLayers, at, cover, shares

PREDICTION_TYPES = "epsilon", "v_prediction", "sample"
"""What a UNet may predict, as a scheduler's `prediction_type` says it."""
_LEAST_CHANGE = 0.02
"""Squared change of latents of unit variance; an edit that changes less counts less."""
_VISIBLE = 16 / 255
"""Change of pixels in [-1, 1], eight grey levels of a picture, from which on they count as changed."""
_CLOSED = 9
"""Pixels; a gap among changed ones that is narrower counts as changed: a blur leaves what is flat."""
_COPY_WEIGHT = 4.0
"""Of the error of where a copy comes from: half a picture's side is 1, a pixel too much to be off."""
_SQUARES_WEIGHT = 4.0
"""Of how far off squares are, in shares of their sides: what comes is as soft as its square is unsure."""
_LEAST_ENTROPY = 0.1
"""In nats; an edit of nearly nothing or nearly everything counts less."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Everything random in one pass through the diffusion half, for B pairs and K draws of each."""

    latent_noise: Tensor
    """(B, c, h, w) unit normal: which sample of the target's latent distribution is learned."""
    condition_dropout: Tensor
    """(B * K,) uniform in [0, 1): which conditions are dropped, see `drop_conditions`."""
    noise: Tensor
    """(B * K, c, h, w) unit normal."""
    timesteps: Tensor
    """(B * K,) int64."""

    @classmethod
    def sample(
        cls,
        generator: Generator,
        shape: tuple[int, ...],
        *,
        num_train_timesteps: int = 1000,
        draws_per_pair: int = 1,
        timestep_shift: float = 1.0,
    ) -> "Draws":
        """Returns draws on the CPU, the same for the same generator on every device.

        Args:
            generator: CPU generator.
            shape: (B, c, h, w) of the latents.
            num_train_timesteps: T of the noise schedule.
            draws_per_pair: K.
            timestep_shift: s > 1 draws noisy timesteps more often, by t -> s t / (1 + (s - 1) t) as in Stable
                Diffusion 3 (Esser et al., 2024), equation 23; 1 is uniform.
        """
        latent_noise = torch.randn(shape, generator=generator)
        num = shape[0] * draws_per_pair
        condition_dropout = torch.rand(num, generator=generator)
        noise = torch.randn((num, *shape[1:]), generator=generator)
        uniform = torch.rand(num, generator=generator)
        shifted = timestep_shift * uniform / (1 + (timestep_shift - 1) * uniform)
        # The shift may round up to 1.
        timesteps = (shifted * num_train_timesteps).long().clamp(max=num_train_timesteps - 1)
        return cls(
            latent_noise=latent_noise, condition_dropout=condition_dropout, noise=noise, timesteps=timesteps
        )


@torch.no_grad()
def encode_pair(vae: Any, source: Tensor, target: Tensor) -> tuple[Any, Tensor]:
    """Returns the latent distribution of the target, and the `image_latents` (B, c, h, w) of the source.

    The asymmetry is InstructPix2Pix's: the target is what the UNet learns to denoise, so it is *sampled* and
    *scaled* to unit variance (`target_latents`); the source is a condition, so it is the distribution's
    *mode* and stays *unscaled*. Every checkpoint of this family expects it so.

    Args:
        vae: an autoencoder with diffusers' interface.
        source: (B, 3, H, W) in [-1, 1].
        target: (B, 3, H, W) in [-1, 1].
    """
    return vae.encode(target).latent_dist, encode_source(vae, source)


@torch.no_grad()
def encode_source(vae: Any, source: Tensor) -> Tensor:
    """Returns latents (B, c, h, w) of pictures (B, 3, H, W) in [-1, 1] as a condition; see `encode_pair`."""
    return vae.encode(source).latent_dist.mode()


def target_latents(latent_dist: Any, scaling_factor: float, latent_noise: Tensor) -> Tensor:
    """Returns the scaled latents (B, c, h, w) of one sample of the target's distribution.

    Args:
        latent_dist: diagonal Gaussian with `mean` and `std`, as `encode_pair` gives it.
        scaling_factor: the autoencoder's.
        latent_noise: (B, c, h, w) unit normal.
    """
    return (latent_dist.mean + latent_dist.std * latent_noise.to(latent_dist.mean)) * scaling_factor


def drop_conditions(
    prompt_embeds: Tensor, null_embeds: Tensor, image_latents: Tensor, draw: Tensor, rate: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Returns the conditions, some dropped as three-way guidance needs: text, image, and both at `rate` each.

    Args:
        prompt_embeds: (B, Q, C).
        null_embeds: (1, Q, C), the null condition that takes the place of a dropped text.
        image_latents: (B, c, h, w), zeros where dropped.
        draw: (B,) uniform in [0, 1): text is dropped below 2 * rate, the image from rate up to 3 * rate.
        rate: share of each of the three cases, 0.05 in InstructPix2Pix and in MGIE.
    """
    draw = draw.to(prompt_embeds.device)
    drop_text = (draw < 2 * rate)[:, None, None]
    drop_image = ((draw >= rate) & (draw < 3 * rate))[:, None, None, None]
    return torch.where(drop_text, null_embeds, prompt_embeds), image_latents.masked_fill(drop_image, 0)


def denoising_loss(
    unet: Any,
    scheduler: Any,
    latents: Tensor,
    image_latents: Tensor,
    prompt_embeds: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    changed: Tensor,
    relative_to_copy: bool = False,
    location_weight: float = 1.0,
    layers: TrueLayers | None = None,
    covered: Tensor | None = None,
) -> Tensor:
    """Returns the mean squared error of the UNet's prediction, a scalar (MGIE, equation 4).

    A UNet that says where it changes the picture learns what to paint where it truly changes, and by
    `location_loss` where that is: apart, so that painting faintly wherever it might be is no way out.

    Args:
        unet: takes noisy latents and source latents side by side, (B, 2c, h, w).
        scheduler: diffusers noise schedule; its `prediction_type` says what the UNet predicts.
        latents: (B, c, h, w) of the target.
        image_latents: (B, c, h, w) of the source, after condition dropout.
        prompt_embeds: (B, Q, C), after condition dropout.
        noise: (B, c, h, w) unit normal.
        timesteps: (B,) int64.
        changed: (B, 1, h, w), how much of each place the edit changes, as of `changed_places`; for a UNet
            that says where it changes the picture.
        relative_to_copy: whether each row's error is divided by that of leaving the source as it is, so that
            an edit of a small object counts as much as one of all the picture.
        location_weight: weight of `location_loss`.
        layers: what goes and comes, see `copy_loss` and `layers_loss`; for a UNet that says where it changes
            the picture.
        covered: (B, 1, STEPS * h, STEPS * w), how much a pattern covers, for such a UNet: `latents` and
            `changed` are those of the target without it.
    """
    noise, timesteps = noise.to(latents), timesteps.to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    given = {} if layers is None else {"truth": layers}
    output = unet(torch.cat([noisy, image_latents], dim=1), timesteps, prompt_embeds, **given)
    prediction = output.sample
    location: Tensor | float = 0.0
    if hasattr(output, "changed_logits"):
        # An outline crosses most places of a small object. There, what comes is mixed with what was there by
        # their shares of the place, which latents close to linear in the pixels allow: the UNet need not
        # paint mixtures, but say how much.
        prediction = image_latents + changed * output.change
        location = location_loss(output.changed_logits, changed)
        if layers is not None:
            location = location + _COPY_WEIGHT * copy_loss(output.offsets, layers.squares, changed)
            location = location + layers_loss(output.layers, layers, latents)
        if covered is not None:
            location = location + location_loss(output.pattern_logits, covered)
    wanted = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: scheduler.get_velocity(latents, noise, timesteps),
        "sample": lambda: latents,
    }[scheduler.config.prediction_type]()
    error, change = (
        (a.float() - b.float()).square().mean(dim=(1, 2, 3))
        for a, b in ((prediction, wanted), (latents, image_latents))
    )
    loss = (error / (change + _LEAST_CHANGE)).mean() if relative_to_copy else error.mean()
    return loss + location_weight * location


@torch.no_grad()
def changed_places(source: Tensor, target: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns how much of each place of the latents an edit changes, (B, 1, h, w) in [0, 1].

    Args:
        source: (B, 3, H, W) in [-1, 1].
        target: the same after the edit.
        size: (h, w) of the latents.
    """
    visible = ((target - source).abs().amax(dim=1, keepdim=True) > _VISIBLE).float()
    closed = -_local_maximum(-_local_maximum(visible))
    return functional.adaptive_avg_pool2d(closed, size)


def copy_loss(offsets: Tensor, squares: Tensor, changed: Tensor) -> Tensor:
    """Returns how far off is where things are copied from, a scalar: the mean over the rows.

    Args:
        offsets: (B, 2, h, w), see `mgie.models.unet.ChangeUNet2DConditionOutput`.
        squares: (B, 1 + MAX_ARRIVALS, 3), see `mgie.models.layers.TrueLayers`.
        changed: (B, 1, h, w) in [0, 1], as of `changed_places`.
    """
    side = offsets.new_tensor([offsets.shape[3], offsets.shape[2]]).view(1, 2, 1, 1) / 2
    old, *coming = squares.unbind(1)
    loss = offsets.new_zeros(len(offsets))
    for new in coming:
        share = shares(new, offsets)
        inside = ((share > 0) & (share < 1)).all(dim=1, keepdim=True) * changed
        inside = inside * ((old[:, 2] > 0) & (new[:, 2] > 0)).view(-1, 1, 1, 1)
        error = (offsets - (at(share, old) - at(share, new)) / side).abs().sum(dim=1, keepdim=True)
        loss = loss + (error * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)
    return loss.mean()


def true_layers(arrivals: Tensor, gone: Tensor, come: Tensor, behind: Tensor) -> TrueLayers:
    """Returns what truly goes and comes in B edits; nothing comes in those that only change what is there.

    Args:
        arrivals: (B, MAX_ARRIVALS, 2, 4), see `mgie.data.collate.collate_pictures`.
        gone: (B, 1, h, w), see `changed_places`, from the source to what is behind.
        come: (B, 1, h, w), from there to the target.
        behind: (B, c, h, w), latents of the source without what goes.
    """
    height, width = gone.shape[2:]
    corners = (arrivals + 1) / 2 * arrivals.new_tensor([width, height, width, height])
    middles, sides = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
    squares = torch.cat([middles, sides.mean(-1, keepdim=True)], dim=-1)  # (B, arrivals, 2, 3)
    squares = squares * (sides.amin(-1, keepdim=True) > 0)
    old, new = squares.unbind(2)
    squares = torch.cat([old[:, :1], new], dim=1)
    comes = (new[..., 2] > 0).any(1).view(-1, 1, 1, 1)
    return TrueLayers(gone, come * comes, behind, squares)


def layers_loss(output: LayersOutput, truth: TrueLayers, target: Tensor) -> Tensor:
    """Returns how badly what goes and comes is found and painted, a scalar.

    It is the sum of how well the maps are known (`location_loss`), how far off the squares are, in shares of
    their sides, and how far what comes is from how it should look, in relation to leaving it out. Each part
    is judged as if the others were right.

    Args:
        output: of a UNet that was told the truth, see `mgie.models.layers.Layers.forward`.
        truth: what goes and comes.
        target: latents (B, c, h, w) after the edit.
    """
    height, width = target.shape[2:]
    maps = torch.cat([truth.gone, cover(truth.squares, height, width)], dim=1)
    found = sum(
        location_loss(output.logits[:, i : i + 1], true[:, None]) for i, true in enumerate(maps.unbind(1))
    )
    sides = truth.squares[..., 2:].clamp(min=1)
    is_there = truth.squares[..., 2] > 0
    off = ((output.squares - truth.squares).abs() / sides).sum(-1) * is_there
    squares_loss = off.sum() / len(target)

    # In mixed precision they are not alike, and a loss wants all bits.
    target, behind = target.float(), truth.behind.float()
    laid, outline = behind, torch.full_like(truth.come, OUTSIDE)
    for k in range(output.contents.shape[1]):
        reach = truth.squares[:, 1 + k : 2 + k] * truth.squares.new_tensor([1, 1, 1 + 2 * MARGIN])
        here = (cover(reach, height, width) > 0).to(target)
        laid = torch.lerp(laid, output.contents[:, k].float(), truth.come * here)
        outline = torch.where(here > 0, output.outlines[:, k].float(), outline)
    wanted = torch.lerp(behind, target, truth.come)
    error, change = ((a - wanted).square().mean((1, 2, 3)) for a in (laid, behind))
    painted = (error / (change + _LEAST_CHANGE)).mean()
    return found + _SQUARES_WEIGHT * squares_loss + location_loss(outline, truth.come) + painted


def _local_maximum(x: Tensor) -> Tensor:
    for kernel in ((1, _CLOSED), (_CLOSED, 1)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        x = functional.max_pool2d(x, kernel, stride=1, padding=padding)
    return x


def location_loss(changed_logits: Tensor, changed: Tensor) -> Tensor:
    """Returns how badly a UNet knows where an edit changes the picture, a scalar.

    The mean over rows of the cross-entropy in relation to its value for who knows only how much changes, so
    that a small object counts as much as a large region.

    Args:
        changed_logits: (B, 1, h, w), see `mgie.models.unet.ChangeUNet2DConditionOutput`; or of a pattern.
        changed: (B, 1, h, w) in [0, 1], as of `changed_places`.
    """
    changed = changed.float()
    share = changed.mean(dim=(1, 2, 3))
    entropy = torch.special.entr(share) + torch.special.entr(1 - share)
    cross_entropy = functional.binary_cross_entropy_with_logits(
        changed_logits.float(), changed, reduction="none"
    ).mean(dim=(1, 2, 3))
    return (cross_entropy / (entropy + _LEAST_ENTROPY)).mean()

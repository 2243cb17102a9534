"""The training side of the diffusion half: latents, condition dropout and the denoising loss.

InstructPix2Pix (Brooks et al., CVPR 2023), section 3.2; prediction types as in diffusers' schedulers.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional


@torch.no_grad()
def encode_pair(vae: Any, source: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns the latents of the target and the `image_latents` of the source, both (B, c, h, w).

    The asymmetry is InstructPix2Pix's: the target is what the UNet learns to denoise, so it is *sampled* and
    *scaled* to unit variance; the source is a condition, so it is the distribution's *mode* and stays
    *unscaled*. Every checkpoint of this family expects it so.

    Args:
        vae: an autoencoder with diffusers' interface.
        source: (B, 3, H, W) in [-1, 1].
        target: (B, 3, H, W) in [-1, 1].
        generator: draws the sample of the target's distribution.
    """
    latents = vae.encode(target).latent_dist.sample(generator) * vae.config.scaling_factor
    return latents, vae.encode(source).latent_dist.mode()


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
    generator: Generator,
    timestep_shift: float = 1.0,
) -> Tensor:
    """Returns the mean squared error of the UNet's prediction, a scalar (MGIE, equation 4).

    Args:
        unet: takes noisy latents and source latents side by side, (B, 2c, h, w).
        scheduler: diffusers noise schedule; its `prediction_type` says what the UNet predicts.
        latents: (B, c, h, w) of the target.
        image_latents: (B, c, h, w) of the source, after condition dropout.
        prompt_embeds: (B, Q, C), after condition dropout.
        generator: CPU generator of the noise and then of the timesteps.
        timestep_shift: s > 1 draws noisy timesteps more often, by t -> s t / (1 + (s - 1) t) as in Stable
            Diffusion 3 (Esser et al., 2024), equation 23; 1 is uniform.
    """
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    uniform = torch.rand(latents.shape[:1], generator=generator)
    shifted = timestep_shift * uniform / (1 + (timestep_shift - 1) * uniform)
    num_timesteps = scheduler.config.num_train_timesteps
    timesteps = (shifted * num_timesteps).long().clamp(max=num_timesteps - 1)  # the shift may round up to 1
    timesteps = timesteps.to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = unet(torch.cat([noisy, image_latents], dim=1), timesteps, prompt_embeds).sample
    wanted = {
        "epsilon": lambda: noise,
        "v_prediction": lambda: scheduler.get_velocity(latents, noise, timesteps),
        "sample": lambda: latents,
    }[scheduler.config.prediction_type]()
    return functional.mse_loss(prediction.float(), wanted.float())

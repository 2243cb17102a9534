"""How a picture is painted: the number of steps, and three-way classifier-free guidance."""

import math
from dataclasses import dataclass
from numbers import Integral, Real

from torch import Tensor

from mgie.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of the denoising loop."""

    num_inference_steps: int
    """Steps of the solver."""
    guidance_scale: float
    """Weight s_T of the words; 1 or less switches all guidance off, as in the original."""
    image_guidance_scale: float
    """Weight s_I of the source picture."""

    def __post_init__(self) -> None:
        """Refuses values that no solver can follow."""
        steps = self.num_inference_steps
        if not (isinstance(steps, Integral) and steps >= 1):
            raise ConfigError(f"num_inference_steps is {steps!r}; expected a whole number, 1 or more")
        for name in ("guidance_scale", "image_guidance_scale"):
            value = getattr(self, name)
            if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
                raise ConfigError(f"{name} is {value!r}; expected a number from 0 up, such as 1.5 or 7.5")

    @property
    def needs_image(self) -> bool:
        """Whether the UNet is also asked without the words."""
        return self.guidance_scale > 1

    @property
    def needs_uncond(self) -> bool:
        """Whether the UNet is also asked without any condition; at s_I = 1 that answer has no weight."""
        return self.needs_image and self.image_guidance_scale != 1


def guide(
    noise_text: Tensor,
    noise_image: Tensor,
    noise_uncond: Tensor | None,
    guidance_scale: float,
    image_guidance_scale: float,
) -> Tensor:
    """Returns the guided prediction (B, c, h, w), InstructPix2Pix (Brooks et al., CVPR 2023), equation 3.

    The weights of the three predictions add up to one, so it holds for noise and for v-prediction alike.

    Args:
        noise_text: (B, c, h, w), the UNet's prediction with source picture and words.
        noise_image: (B, c, h, w), with the source picture alone.
        noise_uncond: (B, c, h, w), with neither; may be None where s_I is 1 and it cancels.
        guidance_scale: weight s_T of the words.
        image_guidance_scale: weight s_I of the source picture.
    """
    guided = noise_image + guidance_scale * (noise_text - noise_image)
    if noise_uncond is None:
        return guided
    return guided + (image_guidance_scale - 1) * (noise_image - noise_uncond)

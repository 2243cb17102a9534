"""Stage `language`: language model and projector learn to describe pictures and to word edits."""

from pathlib import Path

from PIL import Image
from torch import Generator, Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from mgie.config import TrainConfig
from mgie.data.collate import EditCollator
from mgie.data.dataset import PhotographDataset, RecordDataset, open_dataset
from mgie.errors import ConfigError
from mgie.models.loading import load_model, load_processor
from mgie.models.mllm import build_mllm, build_processor, read_answers, train_tokenizer
from mgie.models.sight import Sight, seen
from mgie.training.stages.base import HELD_INDEX, Stage, grid, named, transformers_config

TOKENIZER_ROWS = 6_000
"""Rows whose words the tokenizer is learned from."""


class LanguageModelling(nn.Module):
    """Loss of the language model alone."""

    def __init__(self, mllm: LlavaForConditionalGeneration, sight_weight: float = 0.0) -> None:
        super().__init__()
        self.mllm, self.sight_weight = mllm, sight_weight
        if sight_weight:
            self.sight = Sight(mllm.lm_head.in_features)

    def forward(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
        """Returns `loss`, the cross-entropy of the answers, and of what is where if that has a weight."""
        reading = read_answers(self.mllm, batch)
        loss = reading.loss
        if self.sight_weight:
            loss = loss + self.sight_weight * seen(self.sight, self.mllm, reading, batch)
        return {"loss": loss}


class LanguageStage(Stage):
    """Trains `mllm`; its vision tower only where the configuration says so.

    With `model.conditioning: lgie` it sees no pictures, which costs half as much, and learns to read
    instructions and to word edits.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.dataset = open_dataset(config.data, config.seed)
        self.mllm, self.processor = load_mllm(config, self.dataset)
        sees = config.model.conditioning != "lgie"
        set_sight(self.mllm, sees=sees, train_tower=config.train_vision_tower)
        self.module = LanguageModelling(self.mllm, config.sight_weight if sees else 0.0)
        self.collate = EditCollator(
            self.processor, "mgie" if sees else "lgie", with_things=self.module.sight_weight > 0
        )

    def save(self, folder: Path) -> None:
        """Writes `mllm` and `processor`."""
        self.mllm.save_pretrained(folder / "mllm")
        self.processor.save_pretrained(folder / "processor")

    def picture(self) -> Image.Image:
        """Returns the pictures of six rows that training never reaches."""
        return grid([[self.dataset[HELD_INDEX + i, (128, 128)].picture.resize((128, 128)) for i in range(6)]])


def set_sight(mllm: LlavaForConditionalGeneration, *, sees: bool, train_tower: bool) -> None:
    """Has the projector trained where the language model sees, and then the vision tower too if wanted."""
    mllm.model.vision_tower.requires_grad_(sees and train_tower)
    mllm.model.vision_tower.post_layernorm.requires_grad_(False)  # LLaVA takes what comes before it
    mllm.model.multi_modal_projector.requires_grad_(sees)


def load_mllm(
    config: TrainConfig, dataset: PhotographDataset | RecordDataset | None = None
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Returns language model and processor of an earlier stage, or new ones with a newly learned tokenizer.

    Raises:
        ConfigError: if the configuration gives neither.
    """
    model = config.model
    if model.mllm is not None:
        folder = Path(model.mllm)
        return load_model(folder / "mllm", LlavaForConditionalGeneration), load_processor(
            folder / "processor"
        )
    if model.vision_tower is None or model.language_model is None:
        raise ConfigError(
            "give model.mllm (a folder), or model.vision_tower and model.language_model for a new one"
        )
    if isinstance(model.vision_tower, str):
        tower = load_model(Path(model.vision_tower), CLIPVisionModel)
        vision = tower.config.to_dict()
    else:
        tower, vision = None, model.vision_tower
        transformers_config("model.vision_tower", vision, CLIPVisionConfig)
    transformers_config("model.language_model", model.language_model, LlamaConfig)
    data, (width, height) = dataset or open_dataset(config.data, config.seed), config.data.sizes[0]
    rows = (data[i, (width, height)] for i in range(TOKENIZER_ROWS))
    with named("model.vocab_size"):
        tokenizer = train_tokenizer((f"{row.question} {row.answer}" for row in rows), model.vocab_size)
    with named("model.vision_tower with model.language_model"):
        processor = build_processor(tokenizer, vision["image_size"], vision["patch_size"])
        mllm = build_mllm(processor, vision, model.language_model)
    if tower is not None:
        mllm.model.vision_tower.load_state_dict(tower.state_dict())
    return mllm, processor

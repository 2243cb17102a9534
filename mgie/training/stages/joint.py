"""Stage `joint`: MGIE from end to end."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from mgie.config import Part, TrainConfig
from mgie.data.collate import EditCollator
from mgie.data.dataset import open_dataset
from mgie.data.synth import as_picture
from mgie.diffusion import PREDICTION_TYPES
from mgie.errors import ConfigError
from mgie.model_folder import read_json
from mgie.models.autoencoder import UnshuffleAutoencoder
from mgie.models.backbone import LatentBackbone
from mgie.models.edit_head import EditHead
from mgie.models.inpainting import Inpainter
from mgie.models.loading import load_model
from mgie.models.mgie import MGIE
from mgie.models.mllm import visual_token_ids
from mgie.models.outlines import Outlines
from mgie.models.unet import ChangeUNet2DConditionModel, FindingUNet2DConditionModel, widen_conv_in
from mgie.pipeline import MGIEPipeline
from mgie.training.optim import freeze_parts
from mgie.training.stages.base import HELD_INDEX, Stage, grid, load_or_build, named
from mgie.training.stages.language import load_mllm, set_sight


class JointStage(Stage):
    """Trains language model, edit head and UNet together; saves a whole pipeline."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.pipeline = pipeline = build_pipeline(config)
        pipeline.set_progress_bar_config(disable=True)
        self.module: MGIE = build_module(pipeline, config)
        self.dataset = open_dataset(config.data, config.seed)
        self.collate = EditCollator(
            pipeline.processor,
            pipeline.config["conditioning"],
            with_things=self.module.sight_weight > 0,
        )

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what language model and autoencoder make of a batch: see `mgie.models.mgie.MGIE.encode`.

        Raises:
            ConfigError: if the language model is trained, or nothing but its word embeddings is used.
        """
        if not _answers_at_rest(self.module):
            raise ConfigError(
                "cached_batches needs a frozen language model: set learning_rates.mllm=0, and a "
                "model.conditioning other than ip2p, or cached_batches=0"
            )
        return self.module.encode(batch)

    def save(self, folder: Path) -> None:
        """Writes the whole pipeline and `mgie.json`, which says how it was trained."""
        self.pipeline.save_pretrained(folder)
        provenance = {"training_config": dataclasses.asdict(self.config)}
        (folder / "mgie.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")

    def picture(self) -> Image.Image:
        """Returns six rows that training never reaches: source, exact target, and the bare decoded edit."""
        width, height = self.config.data.sizes[0]
        edits = open_dataset(dataclasses.replace(self.config.data, describe_rate=0.0), self.config.seed)
        samples = [edits[HELD_INDEX + i, (width, height)] for i in range(6)]
        sources, targets = (
            [as_picture(getattr(sample, name)) for sample in samples] for name in ("source", "target")
        )
        instructions = [s.question.partition("'")[2].removesuffix("'") for s in samples]
        generators = [torch.Generator().manual_seed(i) for i in range(6)]
        edited = self.pipeline(sources, instructions, generator=generators, keep_native=False).images
        return grid([sources, targets, [image.resize((width, height)) for image in edited]])


def build_module(pipeline: MGIEPipeline, config: TrainConfig) -> MGIE:
    """Returns what is trained, of the pipeline's own parts; what is not used or has the rate 0 is frozen.

    Raises:
        ConfigError: if a condition is to be held that the language model's answers do not give, it is to
            learn from its own, or only an answer would tell the edit, and there is none; or a part that is
            named in `learning_rates` does not exist.
    """
    if config.hold_weight and (pipeline.config["conditioning"] == "ip2p" or config.cached_batches):
        raise ConfigError(
            f"hold_weight is {config.hold_weight}, for a language model whose answers are trained; set 0, or "
            "cached_batches=0 and a model.conditioning other than ip2p"
        )
    if config.data.exchanged_rate and pipeline.config["conditioning"] == "ip2p":
        raise ConfigError(
            f"data.exchanged_rate is {config.data.exchanged_rate}, for a UNet that an answer tells which "
            "edit is meant; set 0, or a model.conditioning other than ip2p"
        )
    sees = pipeline.config["conditioning"] == "mgie"
    module = MGIE(
        mllm=pipeline.mllm,
        edit_head=pipeline.edit_head,
        vae=pipeline.vae,
        unet=pipeline.unet,
        scheduler=cast(DDPMScheduler, DDPMScheduler.from_config(pipeline.scheduler.config)),
        visual_token_ids=visual_token_ids(pipeline.processor, pipeline.config["num_visual_tokens"]),
        draws_per_pair=config.draws_per_pair,
        condition_dropout=config.condition_dropout,
        diffusion_weight=config.diffusion_weight,
        timestep_shift=config.timestep_shift,
        relative_to_copy=config.relative_to_copy,
        location_weight=config.location_weight,
        conditioning=pipeline.config["conditioning"],
        # Where the language model sees, and has not yet seen all there is.
        sight_weight=config.sight_weight if sees and not config.cached_batches else 0.0,
        hold_weight=config.hold_weight,
        own_words_rate=config.own_words_rate,
    )
    mllm = module.mllm
    if not config.diffusion_weight:
        module.unet.requires_grad_(False)
    set_sight(mllm, sees=sees, train_tower=config.train_vision_tower)
    if module.conditioning == "ip2p":
        mllm.lm_head.requires_grad_(False)
        mllm.get_input_embeddings().requires_grad_(True)  # they may be the same tensor
    freeze_parts(module, config)
    if config.own_words_rate and not _answers_at_rest(module):
        raise ConfigError(
            f"own_words_rate is {config.own_words_rate}, for a language model that answers and is not "
            "trained; set learning_rates.mllm=0 and a model.conditioning other than ip2p, or own_words_rate=0"
        )
    return module


def _answers_at_rest(module: MGIE) -> bool:
    """Returns whether the language model answers, and nothing of it is trained."""
    trained = any(parameter.requires_grad for parameter in module.mllm.parameters())
    return module.conditioning != "ip2p" and not trained


def build_pipeline(config: TrainConfig) -> MGIEPipeline:
    """Returns the pipeline that the configuration describes, of loaded and new parts, in fp32.

    What it does not say, `model.pipeline` gives: parts and defaults alike.

    Raises:
        ConfigError: if a part is neither named nor given by `model.pipeline`.
    """
    model = config.model
    base: dict[str, Any] = {}
    defaults: dict[str, Any] = model.defaults
    if model.conditioning is not None:
        defaults = defaults | {"conditioning": model.conditioning}
    if model.pipeline is not None:
        pipeline = MGIEPipeline.from_pretrained(model.pipeline)
        base, defaults = pipeline.components, pipeline.defaults | defaults
    processor: LlavaProcessor
    mllm: LlavaForConditionalGeneration
    if model.mllm is None and base:
        mllm, processor = base["mllm"], base["processor"]
    else:
        mllm, processor = load_mllm(config)
    vae = _part("vae", model.vae, base, UnshuffleAutoencoder)
    width = mllm.get_input_embeddings().embedding_dim
    edit_head = _part("edit_head", model.edit_head, base, EditHead, mllm_dim=width)
    channels = vae.config.latent_channels
    scheduler = base.get("scheduler")
    if model.scheduler is not None:
        with named("model.scheduler"):
            scheduler = DPMSolverMultistepScheduler(**model.scheduler)
    if scheduler is None:
        raise ConfigError("model.scheduler is missing; give its arguments, or a model.pipeline that has one")
    if (kind := scheduler.config["prediction_type"]) not in PREDICTION_TYPES:
        expected = " or ".join(map(repr, PREDICTION_TYPES))
        raise ConfigError(f"model.scheduler.prediction_type is {kind!r}; expected {expected}")
    unet_class, head = _unet_class(model.unet, scheduler, vae, model.backbone), edit_head.config
    sizes = {
        "in_channels": 2 * channels,
        "out_channels": channels,
        "cross_attention_dim": head.context_dim,
    }
    if issubclass(unet_class, ChangeUNet2DConditionModel):
        sizes["projection_class_embeddings_input_dim"] = head.num_queries * head.context_dim
    unet = _part("unet", model.unet, base, unet_class, **sizes)
    if isinstance(model.unet, dict) and isinstance(unet, ChangeUNet2DConditionModel):
        unet.guide_by_grey(vae)
    if model.backbone is not None:
        if not (isinstance(model.unet, dict) and isinstance(unet, FindingUNet2DConditionModel)):
            raise ConfigError(
                "model.backbone is for a new UNet with prediction_type: sample; leave it out, or give the "
                "sizes of a new model.unet"
            )
        unet.backbone = _backbone(Path(model.backbone), channels)
    for name, cls in (("outlines", Outlines), ("inpainter", Inpainter)):
        folder = getattr(model, name)
        if folder is None:
            continue
        if not isinstance(unet, ChangeUNet2DConditionModel):
            raise ConfigError(
                f"model.{name} is for a UNet that says where it changes a picture, got "
                f"{type(unet).__name__}; leave it out"
            )
        setattr(unet.layers, name, load_model(Path(folder), cls).requires_grad_(False))
    parts = {"mllm": mllm, "processor": processor, "edit_head": edit_head, "vae": vae, "scheduler": scheduler}
    with named("model.defaults"):
        return MGIEPipeline(**parts, unet=widen_conv_in(unet, 2 * channels), **defaults)


def _backbone(folder: Path, channels: int) -> LatentBackbone:
    backbone = load_model(folder, LatentBackbone)
    if (own := backbone.config.in_channels) != channels:
        raise ConfigError(
            f"model.backbone reads latents of {own} channels; expected {channels}, as model.vae gives them"
        )
    return backbone.requires_grad_(False)


def _unet_class(part: Part, scheduler: Any, vae: Any, backbone: str | None) -> type[UNet2DConditionModel]:
    """Returns the class of the UNet: its folder's own, or for a new one whichever can paint the change."""
    if isinstance(part, str):
        own = read_json(Path(part) / "config.json").get("_class_name")
        known = {c.__name__: c for c in (ChangeUNet2DConditionModel, FindingUNet2DConditionModel)}
        return known.get(str(own), UNet2DConditionModel)
    if scheduler.config.prediction_type != "sample" or vae.config.scaling_factor != 1:
        return UNet2DConditionModel
    return ChangeUNet2DConditionModel if backbone is None else FindingUNet2DConditionModel


def _part(name: str, part: Part, base: dict[str, Any], cls: Any, **sizes: Any) -> Any:
    if part is not None:
        return load_or_build(f"model.{name}", part, cls, **sizes)
    if name not in base:
        raise ConfigError(f"model.{name} is missing; give a folder, sizes, or a model.pipeline that has it")
    return base[name]

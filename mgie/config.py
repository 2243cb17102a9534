"""The configuration of a training run: typed, read from YAML, with unknown keys refused."""

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from mgie.errors import ConfigError

Part = str | dict[str, Any] | None
"""A part of the model: a folder to load it from, or a mapping of sizes to build it anew."""
Conditioning = Literal["mgie", "lgie", "ip2p"]
"""What tells the UNet which edit to make: the answer of a language model that sees the picture, the answer of
one that does not, or the instruction itself. See `mgie.pipeline.MGIEPipeline`."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The parts of the model: a text names a folder to load, a mapping gives the sizes of a new one."""

    pipeline: str | None = None
    """Pipeline (built-in name, folder or hub id) that gives every part not named below."""
    vae: Part = None
    """Autoencoder; sizes of `mgie.models.autoencoder.UnshuffleAutoencoder`."""
    vision_tower: Part = None
    """CLIP-type vision tower; arguments of transformers' `CLIPVisionConfig`."""
    language_model: dict[str, Any] | None = None
    """Arguments of transformers' `LlamaConfig`, for a new `mllm`."""
    vocab_size: int = 4096
    """Size of the vocabulary that is learned for a new `mllm`."""
    mllm: str | None = None
    """Folder with `mllm` and `processor` of an earlier stage."""
    edit_head: Part = None
    """Sizes of `mgie.models.edit_head.EditHead`; the language model's width is filled in."""
    unet: Part = None
    """Arguments of diffusers' `UNet2DConditionModel`; its channels and context width are filled in."""
    backbone: str | None = None
    """Folder with the `backbone` of an earlier stage, for a new UNet that says where it changes a picture."""
    outlines: str | None = None
    """Folder with the `outlines` of an earlier stage, for any UNet that says where it changes a picture, or
    for that stage to go on from."""
    inpainter: str | None = None
    """Folder with the `inpainter` of an earlier stage, likewise."""
    scheduler: dict[str, Any] | None = None
    """Arguments of diffusers' `DPMSolverMultistepScheduler`, the solver of a new pipeline."""
    conditioning: Literal[Conditioning, None] = None
    """Baseline of an ablation in the place of MGIE; by default that of `pipeline`, or `mgie`."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """A new pipeline's own settings, such as `working_size`, `num_inference_steps` and `copy_bias`."""


_OF_MADE_EDITS = (
    "requests",
    "objects",
    "addable_objects",
    "families",
    "vague_rate",
    "invented_rate",
    "misplaced_rate",
    "exchanged_rate",
    "crowded_rate",
    "light",
    "describe_rate",
)
"""Options of data that pairs of one's own have no use for."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is learned from: photographs for made edits, or records of before/after pairs."""

    photographs: str | None = None
    """Folder of photographs that are edited on the fly (`mgie.data.synth`)."""
    records: str | None = None
    """Folder with `records.jsonl`: pairs of one's own, in the place of `photographs`. They are mirrored at
    random, but for those that speak of left or right."""
    requests: str | None = None
    """File with real people's wordings, used beside the grammar's."""
    objects: str | None = None
    """Folder of objects (`objects.jsonl`) that edits put on photographs; without it no family does."""
    addable_objects: str | None = None
    """Folder with those of them that edits may put where there was no such object; all when not given."""
    families: list[str] | dict[str, int] | None = None
    """Families of made edits, or how often each is drawn; all of them when not given."""
    vague_rate: float = 0.0
    """Share of the instructions that leave the edit open, so that only the expressive instruction says it."""
    invented_rate: float = 0.0
    """Share of the edits that call what they name by an invented name (stage `language`)."""
    misplaced_rate: float = 0.0
    """Share of the edits whose expressive instruction says at random what the picture shows, such as where a
    thing is, so that the UNet looks for itself; for a language model that is not trained with it."""
    exchanged_rate: float = 0.0
    """Share of the edits that are asked for by another's instruction: the condition is to be what it is with
    their own, so that only the expressive instruction counts, and no words are learned (stage `joint`)."""
    crowded_rate: float = 0.0
    """Share of the edits of whole pictures and of regions whose photographs have things on them, as edits of
    objects find them: else a UNet may take it from the picture that it is one of objects."""
    split: str = "train"
    """Which rows are used."""
    sizes: list[list[int]] = field(default_factory=lambda: [[128, 128]])
    """Training sizes, (width, height) in pixels; each batch has one of them."""
    crop: list[float] = field(default_factory=lambda: [0.7, 1.0])
    """Range of the random crop's side, as a share of the largest crop of the wanted aspect."""
    light: float = 0.0
    """How much light and colour of photographs are varied, 0.1 for a tenth; not for pairs of one's own."""
    describe_rate: float = 0.0
    """Share of rows that say what is to be seen, or where, instead of editing it (stages `language`
    and `joint`)."""
    num_workers: int = 0
    """Processes that make batches ahead of time."""

    @property
    def made_of(self) -> Literal["train", "test"]:
        """Which objects and wordings edits are made of: whoever does not train gets those held out."""
        return "train" if self.split == "train" else "test"

    def __post_init__(self) -> None:
        """Checks what the types do not say."""
        if (self.photographs is None) == (self.records is None):
            raise ConfigError("data needs exactly one of data.photographs and data.records; set one of them")
        _check_numbers(self, "data.")
        if self.families is not None and not self.families:
            raise ConfigError("data.families is empty; name some, or leave it out for all of them")
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if option.name.endswith("_rate") and not 0 <= value <= 1:
                raise ConfigError(f"data.{option.name} is {value}; expected a share, 0 to 1")
            if self.records is not None and option.name in _OF_MADE_EDITS and value != option.default:
                raise ConfigError(
                    f"data.{option.name} is for edits of data.photographs; leave it out with data.records"
                )
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ConfigError(f"data.crop is {self.crop}; expected two shares with 0 < low <= high <= 1")
        if not self.sizes or any(
            len(size) != 2 or min(size) < 8 or size[0] % 8 or size[1] % 8 for size in self.sizes
        ):
            raise ConfigError(f"data.sizes is {self.sizes}; expected pairs [width, height] of multiples of 8")
        for family, weight in self.families.items() if isinstance(self.families, dict) else ():
            if weight < 1:
                raise ConfigError(f"data.families.{family} is {weight}; expected 1 or more, or leave it out")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    stage: Literal["autoencoder", "backbone", "outlines", "inpainting", "vision", "language", "joint"]
    """What is trained: autoencoder, the UNet's backbone, what says outlines or what inpaints, vision tower,
    language model with its projector, or all of MGIE."""
    output_dir: str
    """The run folder: configuration, log, checkpoints, pictures, and the pipeline."""
    model: ModelConfig
    data: DataConfig
    seed: int = 0
    """Seed of everything random; a step's draws depend on it, the step and the process alone."""
    max_steps: int
    """Optimizer steps in all, those before a resume counted in."""
    batch_size: int
    """Rows for each process and forward pass."""
    gradient_accumulation_steps: int = 1
    """Forward passes for each optimizer step."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW for everything, or Muon for the matrices of hidden layers and AdamW for the rest: a step costs
    more, by as much for any number of rows, and teaches small models more. Rates mean the same to both."""
    learning_rate: float = 3e-4
    """Peak learning rate."""
    learning_rates: dict[str, float] = field(default_factory=dict)
    """Other peak rates for single parts: `mllm`, `edit_head`, `unet`, or what is within, as `unet.layers`,
    whose own rate counts; 0 freezes a part."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    decay_steps: int = 0
    """The last so many steps fall linearly to zero; between warm-up and decay the rate is constant."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Largest norm of all gradients together; longer ones are scaled down."""
    ema_decay: float = 0.999
    """Decay of the moving average of the trained weights that the pipeline is saved from; 0 for none."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Autocast of the forward pass; weights and optimizer stay in fp32."""
    draws_per_pair: int = 4
    """K noise and timestep draws for each pass through the language model (stage `joint`)."""
    condition_dropout: float = 0.05
    """Rate of each of: no text, no picture, neither (stage `joint`)."""
    diffusion_weight: float = 0.5
    """Weight of the denoising loss beside the language model's loss (MGIE, section 3.3); with 0 nothing is
    painted, and the UNet stays as it is."""
    timestep_shift: float = 1.0
    """Above 1, noisy timesteps are drawn more often: they decide a whole-picture edit (stage `joint`)."""
    relative_to_copy: bool = False
    """Whether a row's denoising loss is in relation to that of copying its source: then an edit of a small
    object counts as much as one of all the picture (stage `joint`)."""
    location_weight: float = 1.0
    """Weight, within the denoising loss, of knowing where an edit changes the picture, for a UNet that says
    it (stage `joint`)."""
    cached_batches: int = 0
    """Batches that a frozen language model and the autoencoder read once, and the rest is trained on again
    and again, from memory; 0 for new ones at every step (stage `joint` with `learning_rates: {mllm: 0}`)."""
    own_words_rate: float = 0.0
    """Share of the rows, of those whose instruction says the edit, that a language model which is not trained
    answers itself: so the UNet learns to bear with its errors, as of where a thing is (stage `joint`)."""
    sight_weight: float = 0.0
    """Weight of knowing what is where on made edits, which is read off the vision tower's patches: its
    answers alone teach a small language model hardly to look (stages `language` and `joint`)."""
    hold_weight: float = 0.0
    """Weight of giving the UNet the condition that it got before the run, for true expressive instructions:
    a language model learns on, and a UNet that rests understands it still (stage `joint`)."""
    train_vision_tower: bool = False
    """Whether the vision tower is trained with the language model (stages `language` and `joint`)."""
    teacher: str | None = None
    """Weight file of the EfficientNet-lite0 teacher (stages `backbone` and `vision`)."""
    log_every: int = 10
    """Steps between lines of `log.jsonl`."""
    save_every: int = 500
    """Steps between checkpoints; the pipeline is saved at the same time."""
    sample_every: int = 500
    """Steps between picture grids."""

    def __post_init__(self) -> None:
        """Checks what the types do not say."""
        counts = ("max_steps", "batch_size", "gradient_accumulation_steps", "draws_per_pair")
        for name in (*counts, "log_every", "save_every", "sample_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more")
        _check_numbers(self, "")
        if not self.output_dir:
            raise ConfigError("output_dir is empty; expected a folder for the run")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}; expected 0 or more and less than 1")
        if not 0 <= 3 * self.condition_dropout <= 1:
            raise ConfigError(f"condition_dropout is {self.condition_dropout}; expected 0 to 1/3")
        if self.own_words_rate > 1:
            raise ConfigError(f"own_words_rate is {self.own_words_rate}; expected a share, 0 to 1")
        if self.timestep_shift <= 0:
            raise ConfigError(f"timestep_shift is {self.timestep_shift}; expected more than 0, 1 for uniform")
        if self.warmup_steps + self.decay_steps > self.max_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps} and decay_steps {self.decay_steps} do not fit into "
                f"max_steps {self.max_steps}; shorten them or train longer"
            )


def _check_numbers(config: DataConfig | TrainConfig, prefix: str) -> None:
    """Refuses negative numbers, and those that are none: no setting has a use for them."""
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        numbers = value if isinstance(value, dict) else {"": value}
        for name, number in numbers.items():
            if isinstance(number, int | float) and not 0 <= number < math.inf:
                key = f"{prefix}{option.name}{name and '.'}{name}"
                raise ConfigError(f"{key} is {number}; expected a number from 0 on")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Returns the configuration in a YAML file, with `key.subkey=value` overrides applied.

    Raises:
        ConfigError: for a file that cannot be read, an unknown key, or a value of the wrong type.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}; expected a YAML file") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; expected keys and values")
    for override in overrides:
        _set(values, override)
    return _build(TrainConfig, values, "")


def dump_config(config: TrainConfig) -> str:
    """Returns the whole configuration as YAML, defaults included."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected key=value, for instance max_steps=1000")
    *path, last = key.split(".")
    for name in path:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {name} is a single value, it has no keys below it")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {override}: {text} is not a YAML value; check brackets and quotes"
        ) from error


def _build(cls: type, values: dict[str, Any], prefix: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"unknown key {prefix}{name}; {hint}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigError(f"the configuration lacks {prefix}{name}; add it")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _convert(value, hints[name], f"{prefix}{name}") for name, value in values.items()})


def _convert(value: Any, hint: Any, key: str) -> Any:
    """Returns `value` as the type `hint` wants it; whole numbers and texts like `3e-4` become floats."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{key} is {value!r}; expected keys and values")
        return _build(typing.cast(type, hint), value, f"{key}.")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        return [_convert(item, arguments[0], f"{key}[{index}]") for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {name: _convert(item, arguments[1], f"{key}.{name}") for name, item in value.items()}
    if origin is types.UnionType:
        for choice in arguments:
            with contextlib.suppress(ConfigError):
                return _convert(value, choice, key)
    if hint is float and isinstance(value, str | int) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)  # YAML 1.1 reads 3e-4, without a point, as text
    if origin is Literal and "no" in arguments and value is False:
        return "no"  # as YAML 1.1 reads it, and a shell takes the quotes away
    if hint is Any or (origin is Literal and value in arguments):
        return value
    if origin is None and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = " or ".join(map(repr, arguments)) if origin is Literal else str(hint).replace("typing.", "")
    expected = hint.__name__ if origin is None else expected
    raise ConfigError(f"{key} is {value!r}; expected {expected}")

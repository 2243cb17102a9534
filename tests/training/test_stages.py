"""The stages on toy models and the sample photographs."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import mgie.models.mgie
import mgie.training.stages.backbone
import mgie.training.stages.vision
from mgie.config import TrainConfig
from mgie.errors import CheckpointError, ConfigError, DataError, MGIEError
from mgie.models.autoencoder import UnshuffleAutoencoder
from mgie.models.backbone import LatentBackbone, joined
from mgie.models.inpainting import Inpainter
from mgie.models.mgie import MGIE
from mgie.models.outlines import Outlines
from mgie.models.unet import ChangeUNet2DConditionModel
from mgie.pipeline import MGIEPipeline
from mgie.training.loop import step_generator, train
from mgie.training.stages import JointStage, LanguageStage, build_stage
from mgie.training.stages.outlines import uncertain
from mgie.training.stages.vision import Distillation, teacher_features

Smoke = Callable[..., TrainConfig]


def norm(channels: int) -> nn.BatchNorm2d:
    """Returns a batch norm that has seen something."""
    norm = nn.BatchNorm2d(channels)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 1.5)
    return norm


class TeacherBlock(nn.Module):
    """An inverted residual as the package of EfficientNet-lite has it, with its batch norms."""

    def __init__(self, kernel: int, stride: int, channels: int, out: int) -> None:
        super().__init__()
        wide = 6 * channels
        self._expand_conv, self._bn0 = nn.Conv2d(channels, wide, 1, bias=False), norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, out, 1, bias=False), norm(out)
        total = kernel - stride  # of even sizes
        self.padding = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu6(self._bn0(self._expand_conv(x)))
        wide = functional.relu6(self._bn1(self._depthwise_conv(functional.pad(wide, self.padding))))
        out = self._bn2(self._project_conv(wide))
        return x + out if x.shape == out.shape else out


class Teacher(nn.Module):
    """Has the parts of EfficientNet-lite0 that the stages use, with a toy's beginning and end."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 40, 8, stride=8), norm(40)
        plan = [(3, 2, 40, 80), *[(3, 1, 80, 80)] * 2, (5, 1, 80, 112), *[(5, 1, 112, 112)] * 2]
        plan += [(5, 2, 112, 192), *[(5, 1, 192, 192)] * 3, (3, 1, 192, 320)]
        self._blocks = nn.ModuleList([nn.Identity(), *(TeacherBlock(*block) for block in plan)])
        self._conv_head, self._bn1 = nn.Conv2d(320, 16, 1), norm(16)
        self._fc = nn.Linear(16, 1000)
        self._swish = nn.ReLU6()


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    torch.manual_seed(1)
    teacher = Teacher()
    for stage in (mgie.training.stages.backbone, mgie.training.stages.vision):
        monkeypatch.setattr(stage, "load_teacher", lambda weights: teacher)
    return teacher


@pytest.fixture
def on_objects(tmp_path: Path) -> dict[str, Any]:
    """Returns the changes of a configuration that learns outlines, of discs and of rings."""
    rows, across = [], np.hypot(*(np.mgrid[:48, :48] - 23.5))
    for name, alpha in (("disc", across < 24), ("ring", (across < 24) & (across > 9))):
        picture = np.full((48, 48, 4), (200, 30, 160, 0), np.uint8)
        picture[..., 3] = 255 * alpha
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        rows.append({"name": name, "image": f"{name}.png", "split": "train"})
    (tmp_path / "objects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"stage": "outlines", "data.objects": str(tmp_path), "data.sizes": [[160, 128]]}


def losses(run: Path, name: str = "loss") -> list[float]:
    return [json.loads(line)[name] for line in (run / "log.jsonl").read_text().splitlines()]


def falls(values: list[float], last: int = 10) -> bool:
    """Returns whether the last values are on average below the first."""
    return sum(values[-last:]) < sum(values[:last])


def with_vae(folder: Path) -> dict[str, Any]:
    """Returns the change of a configuration that names a trained autoencoder."""
    small = {"latent_channels": 4, "encoder_channels": 8, "decoder_channels": (8, 8)}
    UnshuffleAutoencoder(**small).save_pretrained(folder / "vae")
    return {"model.vae": str(folder / "vae")}


def batch_of(stage: Any, size: tuple[int, int] = (32, 32)) -> dict[str, Tensor]:
    return stage.collate([stage.dataset[i, size] for i in range(4)])


@pytest.mark.parametrize("name", ["autoencoder", "backbone", "vision", "language", "joint"])
def test_all_that_is_trained_gets_gradients(name: str, smoke: Smoke, teacher: Teacher, tmp_path: Path):
    """Several processes wait for ever, or stop, for a parameter that no gradient reaches."""
    stage = build_stage(smoke(stage=name, teacher="given", **with_vae(tmp_path)))
    stage.module(batch_of(stage), step_generator(0, 0, 0))["loss"].backward()
    lacking = [key for key, p in stage.module.named_parameters() if p.requires_grad and p.grad is None]
    wrongly = [
        key for key, p in stage.module.named_parameters() if not p.requires_grad and p.grad is not None
    ]
    assert not lacking and not wrongly


@pytest.mark.parametrize("kind", ["lgie", "ip2p"])
def test_all_that_a_baseline_trains_gets_gradients(kind: str, smoke: Smoke):
    stage = build_stage(smoke(**{"model.conditioning": kind}))
    stage.module(batch_of(stage), step_generator(0, 0, 0))["loss"].backward()
    trained = {name: p for name, p in stage.module.named_parameters() if p.requires_grad}
    assert not [name for name, p in trained.items() if p.grad is None]
    assert {name.split(".")[0] for name in trained} == {"mllm", "edit_head", "unet"}
    assert not [name for name in trained if "vision_tower" in name or "projector" in name]
    assert ("mllm.lm_head.weight" in trained) == (kind == "lgie")


def test_a_text_encoder_whose_words_are_its_head_is_trained(smoke: Smoke):
    tied = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    changes = {"model.conditioning": "ip2p", "model.language_model": tied | {"tie_word_embeddings": True}}
    module: Any = build_stage(smoke(**changes)).module
    assert module.mllm.get_input_embeddings().weight.requires_grad


def test_conditionings_start_alike_and_see_the_same(smoke: Smoke):
    """An ablation compares them: weights and rows of one seed are equal."""
    stages: list[Any] = []
    for kind in ("mgie", "lgie", "ip2p"):
        torch.manual_seed(0)
        stages.append(build_stage(smoke(**{"model.conditioning": kind})))
    first, *others = ((stage.module.state_dict(), batch_of(stage)) for stage in stages)
    for weights, batch in others:
        assert all(torch.equal(tensor, first[0][name]) for name, tensor in weights.items())
        assert all(torch.equal(batch[name], first[1][name]) for name in ("source", "target"))
    assert [stage.module.conditioning for stage in stages] == ["mgie", "lgie", "ip2p"]


@pytest.mark.parametrize("kind", ["mgie", "lgie", "ip2p"])
def test_a_trained_conditioning_is_loaded_and_trained_on(kind: str, smoke: Smoke, tmp_path: Path):
    trained = train(smoke(max_steps=1, save_every=1, warmup_steps=1, **{"model.conditioning": kind}))
    pipe = MGIEPipeline.from_pretrained(trained)
    pipe.set_progress_bar_config(disable=True)
    edit = pipe(Image.new("RGB", (50, 40), (90, 60, 30)), "make it red").images[0]
    assert pipe.config["conditioning"] == kind and edit.size == (50, 40)
    assert (losses(tmp_path / "run", "lm_loss")[0] == 0) == (kind == "ip2p")
    parts = dict.fromkeys(("vae", "edit_head", "unet", "scheduler", "language_model", "vision_tower"))
    again = build_stage(
        smoke(**{f"model.{name}": None for name in parts}, **{"model.pipeline": str(trained)})
    )
    assert isinstance(again, JointStage) and again.pipeline.config["conditioning"] == kind


def test_joint_training_learns_both(smoke: Smoke, tmp_path: Path):
    pipeline = train(smoke(max_steps=50, save_every=50))
    run = tmp_path / "run"
    assert falls(losses(run, "lm_loss")) and falls(losses(run, "diffusion_loss"))
    with Image.open(run / "samples" / "0000050.png") as grid:
        assert grid.size == (6 * 36 - 4, 3 * 36 - 4)  # six columns of source, target and edit
    pipe = MGIEPipeline.from_pretrained(pipeline)
    pipe.set_progress_bar_config(disable=True)
    photo = Image.new("RGB", (50, 40), (90, 60, 30))
    out = pipe(photo, "make it red", generator=torch.Generator().manual_seed(0))
    assert out.images[0].size == (50, 40)
    provenance = json.loads((pipeline / "mgie.json").read_text())
    assert provenance["training_config"]["max_steps"] == 50


def test_joint_training_in_mixed_precision_is_nearly_that_in_full(smoke: Smoke):
    stage: Any = build_stage(smoke())
    batch = batch_of(stage)
    full = stage.module(batch, step_generator(0, 0, 0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = stage.module(batch, step_generator(0, 0, 0))
    mixed["loss"].backward()
    for name, value in full.items():
        torch.testing.assert_close(mixed[name].float(), value, rtol=0.1, atol=0.05)


def test_joint_resume_is_bitwise(smoke: Smoke, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(smoke(output_dir=str(whole)))
    train(smoke(output_dir=str(parts), max_steps=3))
    train(smoke(output_dir=str(parts)))
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert len([path for path in files if path.suffix == ".safetensors"]) == 5  # four parts, one checkpoint
    unlike = [path for path in files if (whole / path).read_bytes() != (parts / path).read_bytes()]
    # The log has speeds in it, the two files with the configuration the name of the folder.
    allowed = {"log.jsonl", "config.yaml", "pipeline/mgie.json", "checkpoint/random_states_0.pkl"}
    assert {str(path) for path in unlike} <= allowed
    for name in ("loss", "lm_loss", "diffusion_loss", "grad_norm"):
        assert losses(whole, name) == losses(parts, name)


def test_settings_reach_the_joint_stage(smoke: Smoke):
    stage = build_stage(
        smoke(
            draws_per_pair=7,
            condition_dropout=0.1,
            diffusion_weight=0.25,
            timestep_shift=2.0,
            location_weight=3.0,
        )
    )
    assert isinstance(stage, JointStage) and isinstance(stage.module, MGIE)
    assert stage.module.draws_per_pair == 7
    assert stage.module.condition_dropout == 0.1
    assert stage.module.diffusion_weight == 0.25
    assert stage.module.timestep_shift == 2.0
    assert stage.module.location_weight == 3.0
    assert stage.module.scheduler.config["prediction_type"] == "sample"
    assert stage.module.scheduler.config["rescale_betas_zero_snr"] is True
    config = stage.pipeline.config
    assert (config["num_inference_steps"], config["guidance_scale"]) == (2, 2.0)
    assert config["working_size"]["max_pixels"] == 1024


def test_a_run_from_a_pipeline_keeps_its_settings(smoke: Smoke, pipeline_folder: Path):
    """Only what the configuration says is changed; a pipeline trained on would else lose its working size."""
    parts = dict.fromkeys(("vae", "edit_head", "unet", "scheduler", "language_model", "vision_tower"))
    changes = {f"model.{name}": value for name, value in parts.items()}
    base = MGIEPipeline.from_pretrained(pipeline_folder)
    stage = build_stage(
        smoke(
            **changes, **{"model.pipeline": str(pipeline_folder), "model.defaults": {"guidance_scale": 3.0}}
        )
    )
    assert isinstance(stage, JointStage)
    assert stage.pipeline.defaults == base.defaults | {"guidance_scale": 3.0}
    assert base.defaults["working_size"]["max_pixels"] != 512 * 512


def test_a_language_model_learns_on_under_a_unet_that_rests(smoke: Smoke, pipeline_folder: Path):
    """The condition that the UNet gets drifts less than without holding it, and a run is a whole model."""
    parts = dict.fromkeys(("vae", "edit_head", "unet", "scheduler", "language_model", "vision_tower"))
    changes: dict[str, Any] = {f"model.{name}": value for name, value in parts.items()}
    changes |= {"model.pipeline": str(pipeline_folder), "data.describe_rate": 0.5, "diffusion_weight": 0.0}
    drifts = []
    for weight in (1e-6, 30.0):
        config = smoke(max_steps=12, hold_weight=weight, learning_rates={"edit_head": 0}, **changes)
        config = dataclasses.replace(config, output_dir=f"{config.output_dir}/{weight}")
        trained = MGIEPipeline.from_pretrained(train(config))
        drifts.append(losses(Path(config.output_dir), "hold_loss")[-1])
    assert 0 < drifts[1] < drifts[0] / 2
    before = MGIEPipeline.from_pretrained(pipeline_folder)
    for name in ("unet", "edit_head"):
        for old, new in zip(*(p.components[name].parameters() for p in (before, trained)), strict=True):
            torch.testing.assert_close(old, new)
    assert not torch.equal(before.mllm.lm_head.weight, trained.mllm.lm_head.weight)


def test_some_rows_are_painted_by_the_models_own_words(smoke: Smoke, monkeypatch: pytest.MonkeyPatch):
    """Of the first half of the rows, those whose instruction says the edit; the others are as before."""
    frozen = {"learning_rates": {"mllm": 0}, "batch_size": 8}
    frozen |= {"data.vague_rate": 0.3, "data.exchanged_rate": 0.3}
    stage, asked = build_stage(smoke(**frozen, own_words_rate=0.5)), list[list[bool]]()

    def answered(mllm: object, batch: dict[str, Tensor], rows: Tensor, first_id: int) -> dict[str, Tensor]:
        asked.append(rows.tolist())
        answers = rows[:, None] & (batch["labels"] != -100)
        return batch | {"input_ids": torch.where(answers, first_id, batch["input_ids"])}

    monkeypatch.setattr(mgie.models.mgie, "in_own_words", answered)
    batch = stage.collate([stage.dataset[i, (32, 32)] for i in range(8)])
    module = stage.module.eval()
    with torch.no_grad():
        own, loss = module.encode(batch), module(batch, step_generator(0, 0, 0))["loss"]
        module.own_words_rate = 0.0
        true = module.encode(batch)
        assert module(batch, step_generator(0, 0, 0))["loss"] != loss
    exchanged = (batch["input_ids"] != batch["own_input_ids"]).any(1)
    assert exchanged.any() and batch["vague"][exchanged].all()
    vague = batch["vague"].tolist()
    assert asked == 2 * [[not row for row in vague[:4]] + [False] * 4] and 0 < sum(asked[0]) < 4
    apart = (own["visual_token_states"] - true["visual_token_states"]).abs().amax((1, 2)) > 1e-4
    assert apart.tolist() == asked[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"learning_rates": {"mllm": 0, "mllm.lm_head": 1e-4}},
        {"learning_rates": {"mllm": 0}, "model.conditioning": "ip2p"},
    ],
)
def test_a_language_model_does_not_learn_from_itself(smoke: Smoke, changes: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"own_words_rate is 0\.5, for a language model that answers and"):
        build_stage(smoke(own_words_rate=0.5, **changes))


@pytest.mark.parametrize("changes", [{"model.conditioning": "ip2p"}, {"cached_batches": 3}])
def test_only_a_condition_of_answers_that_are_trained_is_held(changes: dict[str, Any], smoke: Smoke):
    with pytest.raises(ConfigError, match=r"hold_weight is 1\.0, for a language model whose answers"):
        build_stage(smoke(hold_weight=1.0, **changes))


def test_an_exchanged_instruction_needs_an_answer(smoke: Smoke):
    with pytest.raises(ConfigError, match=r"data\.exchanged_rate is 0\.2, for a UNet that an answer tells"):
        build_stage(smoke(**{"data.exchanged_rate": 0.2, "model.conditioning": "ip2p"}))


def test_only_what_should_be_is_trained(smoke: Smoke):
    module = build_stage(smoke()).module
    trained = {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"mllm", "edit_head", "unet"}
    assert not any(p.requires_grad for name, p in module.named_parameters() if "vision_tower" in name)


def test_a_new_unet_starts_from_the_source_and_a_loaded_one_stays_what_it_is(smoke: Smoke, tmp_path: Path):
    def unet(**changes: Any) -> Any:
        stage = build_stage(smoke(**changes))
        assert isinstance(stage, JointStage)
        return stage.pipeline.unet

    latents = {"prediction_type": "sample"}
    change = unet(**{"model.scheduler": latents})
    assert type(change) is ChangeUNet2DConditionModel and not change.conv_out.weight.any()
    assert not change.guide.weight[0].any() and change.guide.weight[1:].any()  # the first bin is black
    plain = unet(**{"model.scheduler": {"prediction_type": "epsilon"}})
    assert type(plain) is UNet2DConditionModel
    for saved in (change, plain):
        saved.save_pretrained(tmp_path)
        assert type(unet(**{"model.scheduler": latents, "model.unet": str(tmp_path)})) is type(saved)


@pytest.mark.parametrize("stage", ["autoencoder", "joint"])
def test_a_part_that_lacks_a_tensor_is_refused(stage: str, smoke: Smoke, tmp_path: Path):
    folder = tmp_path / "vae"
    UnshuffleAutoencoder(latent_channels=2, encoder_channels=8, decoder_channels=(8, 8)).save_pretrained(
        folder
    )
    file = next(folder.glob("*.safetensors"))
    tensors = load_file(file)
    lost = tensors.popitem()[0]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"vae: tensor '{lost}' is missing"):
        build_stage(smoke(stage=stage, **{"model.vae": str(folder)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.unet": None}, r"model\.unet is missing"),
        ({"model.scheduler": None}, r"model\.scheduler is missing"),
        ({"model.language_model": None}, r"give model\.mllm"),
        ({"stage": "autoencoder", "model.vae": None}, r"stage autoencoder needs model\.vae"),
        ({"model.unet.foo": 1}, r"model\.unet cannot be used: TypeError: .*'foo'"),
        ({"model.unet.norm_num_groups": 7}, r"model\.unet cannot be used: ValueError"),
        ({"model.scheduler.foo": 1}, r"model\.scheduler cannot be used: TypeError"),
        ({"model.scheduler.prediction_type": "noise"}, r"prediction_type is 'noise'; expected 'epsilon' or"),
        (
            {"model.vision_tower.patch": 1},
            r"key model\.vision_tower\.patch; did you mean patch_size\?",
        ),
        ({"model.vision_tower.patch_size": 0}, r"model\.vision_tower with .* cannot be used: ZeroDivision"),
        ({"model.language_model.num_attention_heads": 3}, r"model\.language_model cannot be used"),
        ({"model.vocab_size": -1}, r"model\.vocab_size cannot be used: OverflowError"),
        ({"model.defaults.foo": 1}, r"model\.defaults cannot be used: TypeError"),
        ({"model.defaults.num_inference_steps": "abc"}, r"num_inference_steps is 'abc'; expected a whole"),
        ({"stage": "vision"}, "teacher"),
        ({"stage": "backbone"}, r"stage backbone needs model\.vae \(a folder\) and teacher"),
    ],
)
def test_missing_parts_are_named(changes: dict[str, Any], message: str, smoke: Smoke):
    with pytest.raises(ConfigError, match=message):
        build_stage(smoke(**changes))


def test_photographs_of_another_split_are_none(smoke: Smoke, teacher: Teacher):
    with pytest.raises(DataError, match="no photographs of split 'test'; set data.split"):
        build_stage(smoke(stage="vision", teacher="given", **{"data.split": "test"}))


def test_stages_build_upon_each_other(smoke: Smoke, teacher: Teacher, tmp_path: Path):
    """Each stage from the folders of those before, then joint again from the whole pipeline."""
    few = {"max_steps": 2, "save_every": 2, "ema_decay": 0}

    def run(stage: str, **changes: Any) -> Path:
        return train(smoke(stage=stage, output_dir=str(tmp_path / stage), **few, **changes))

    vae = run("autoencoder") / "vae"
    loaded = UnshuffleAutoencoder.from_pretrained(vae)
    tower = run("vision", teacher="given") / "vision_tower"
    changes = {"model.vision_tower": str(tower), "data.describe_rate": 0.5}
    language = run("language", **changes)
    stage = build_stage(smoke(stage="language", **changes))
    assert isinstance(stage, LanguageStage)
    parts = {
        "model.vae": str(vae),
        "model.mllm": str(language),
        "model.vision_tower": None,
        "model.language_model": None,
    }
    pipeline = MGIEPipeline.from_pretrained(run("joint", **parts))
    for name, tensor in pipeline.vae.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])  # frozen in joint training
    towers = (m.model.vision_tower.state_dict() for m in (stage.mllm, pipeline.mllm))
    assert all(torch.equal(a, b) for a, b in zip(*(tower.values() for tower in towers), strict=True))

    again = smoke(
        output_dir=str(tmp_path / "again"),
        **few,
        **{
            f"model.{name}": None
            for name in ("vae", "vision_tower", "language_model", "edit_head", "unet", "scheduler")
        },
        **{"model.pipeline": str(tmp_path / "joint" / "pipeline")},
    )
    tuned = build_stage(again)
    assert isinstance(tuned, JointStage)
    assert torch.equal(tuned.pipeline.unet.conv_in.weight, pipeline.unet.conv_in.weight)


def test_autoencoder_learns_and_is_normalised(smoke: Smoke, tmp_path: Path):
    pipeline = train(smoke(stage="autoencoder", max_steps=40, save_every=40, ema_decay=0))
    assert falls(losses(tmp_path / "run"))
    vae = UnshuffleAutoencoder.from_pretrained(pipeline / "vae")
    stage = build_stage(smoke(stage="autoencoder"))
    rows = [stage.dataset[2**40 + i, (128, 128)] for i in range(64)]
    with torch.no_grad():
        modes = vae.encode(stage.collate(rows)["source"]).latent_dist.mode()
    assert (modes.std((0, 2, 3)) - 1).abs().max() < 0.5  # of other crops, so not exact
    assert modes.mean((0, 2, 3)).abs().max() < 0.5


@pytest.mark.parametrize("name", ["language", "joint"])
def test_the_vision_tower_is_trained_where_the_configuration_says_so(name: str, smoke: Smoke):
    for trained in (True, False):
        stage: Any = build_stage(smoke(stage=name, train_vision_tower=trained))
        stage.module(batch_of(stage), step_generator(0, 0, 0))["loss"].backward()
        tower = dict(stage.module.mllm.model.vision_tower.named_parameters())
        assert {name for name, p in tower.items() if p.requires_grad} == {
            name for name in tower if trained and "post_layernorm" not in name
        }
        assert not [name for name, p in tower.items() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("name", ["language", "joint"])
def test_what_is_where_is_learned_where_the_configuration_says_so(name: str, smoke: Smoke):
    losses = []
    for weight in (0.0, 1.0):
        stage: Any = build_stage(smoke(stage=name, sight_weight=weight, train_vision_tower=True))
        loss = stage.module(batch_of(stage), step_generator(0, 0, 0))["loss"]
        loss.backward()
        losses.append(loss.item())
        read = [p for key, p in stage.module.named_parameters() if key.startswith("sight.")]
        assert bool(read) == bool(weight)
        assert all(p.grad is not None for p in read)
    assert losses[1] > losses[0]


def test_a_language_model_may_learn_without_pictures(smoke: Smoke):
    stage: Any = build_stage(
        smoke(**{"stage": "language", "model.conditioning": "lgie", "train_vision_tower": True})
    )
    batch = batch_of(stage)
    assert "pixel_values" not in batch
    stage.module(batch, step_generator(0, 0, 0))["loss"].backward()
    trained = {key for key, p in stage.module.named_parameters() if p.requires_grad}
    assert not [key for key in trained if "vision_tower" in key or "projector" in key]
    assert not [key for key, p in stage.module.named_parameters() if (key in trained) != (p.grad is not None)]


def test_language_learns(smoke: Smoke, tmp_path: Path):
    train(smoke(stage="language", max_steps=30, save_every=30, **{"data.describe_rate": 0.5}))
    assert falls(losses(tmp_path / "run"))


def test_vision_learns_from_its_teacher(smoke: Smoke, teacher: Teacher, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    train(smoke(stage="vision", teacher="given", max_steps=30, save_every=30))
    assert falls(losses(tmp_path / "run")) and falls(losses(tmp_path / "run", "dense"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_backbone_is_its_teacher_but_for_the_beginning(smoke: Smoke, teacher: Teacher, tmp_path: Path):
    stage: Any = build_stage(smoke(stage="backbone", teacher="given", **with_vae(tmp_path)))
    with torch.no_grad():
        taught = teacher_features(teacher, torch.rand(2, 3, 64, 96) * 2 - 1)
        sixteenth = stage.backbone.finer(taught[8])
        torch.testing.assert_close(sixteenth, taught[16], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(stage.backbone.coarser(sixteenth), taught[32], rtol=1e-3, atol=1e-3)


def test_a_backbone_learns_and_is_whitened(smoke: Smoke, teacher: Teacher, tmp_path: Path):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    changes = {"stage": "backbone", "teacher": "given", "max_steps": 30, "save_every": 30, "ema_decay": 0}
    changes |= with_vae(tmp_path)
    trained = train(smoke(**changes))
    assert falls(losses(tmp_path / "run")) and falls(losses(tmp_path / "run", "thirty_second"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())

    backbone = LatentBackbone.from_pretrained(trained / "backbone")
    stage: Any = build_stage(smoke(**changes))
    with torch.no_grad():
        pixels = stage.collate([stage.dataset[i, (32, 32)] for i in range(128)])["source"]
        _, *deep = backbone.depths(stage.module.latents(pixels))
        main = backbone.projection(joined(*deep))[:, :3].transpose(0, 1).flatten(1)
    torch.testing.assert_close(main.mean(1), torch.zeros(3), atol=1e-2, rtol=0)
    torch.testing.assert_close(torch.cov(main), torch.eye(3), atol=1e-2, rtol=0)


def test_a_new_unet_gets_its_backbone(smoke: Smoke, tmp_path: Path):
    LatentBackbone(4).save_pretrained(tmp_path / "four")
    LatentBackbone(8).save_pretrained(tmp_path / "eight")
    stage: Any = build_stage(smoke(**{"model.backbone": str(tmp_path / "four")}))
    backbone, latents = stage.pipeline.unet.backbone, torch.randn(2, 4, 8, 8)
    assert torch.equal(backbone(latents), LatentBackbone.from_pretrained(tmp_path / "four")(latents))
    assert not any(p.requires_grad for p in backbone.parameters())
    stage.pipeline.unet.save_pretrained(tmp_path / "unet")
    again: Any = build_stage(smoke(**{"model.unet": str(tmp_path / "unet")}))
    assert torch.equal(again.pipeline.unet.backbone(latents), backbone(latents))
    with pytest.raises(ConfigError, match=r"model\.backbone reads latents of 8 channels; expected 4"):
        build_stage(smoke(**{"model.backbone": str(tmp_path / "eight")}))
    other = {"model.scheduler.prediction_type": "epsilon", "model.backbone": str(tmp_path / "four")}
    with pytest.raises(ConfigError, match=r"model\.backbone is for a new UNet"):
        build_stage(smoke(**other))


def test_outlines_are_learned(smoke: Smoke, on_objects: dict[str, Any], tmp_path: Path):
    changes = on_objects | {"max_steps": 50, "save_every": 50, "ema_decay": 0, "learning_rate": 1e-3}
    trained = train(smoke(batch_size=4, **changes))
    learned, guessed = (losses(tmp_path / "run", name)[-20:] for name in ("loss", "places_loss"))
    assert sum(learned) < 0.9 * sum(guessed)

    def unet(**changes: Any) -> Any:
        stage: Any = build_stage(smoke(**changes))
        return stage.pipeline.unet

    own = unet(**{"model.outlines": str(trained / "outlines")})
    inputs = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 2, 2)
    told = Outlines.from_pretrained(trained / "outlines")(*inputs)
    torch.testing.assert_close(own.layers.outlines(*inputs), told)
    assert not any(p.requires_grad for p in own.layers.outlines.parameters())
    own.save_pretrained(tmp_path / "unet")
    again = unet(**{"model.unet": str(tmp_path / "unet")})
    torch.testing.assert_close(again.layers.outlines(*inputs), told)
    other = {"model.scheduler.prediction_type": "epsilon", "model.outlines": str(trained / "outlines")}
    with pytest.raises(ConfigError, match=r"model\.outlines is for a UNet that says where"):
        unet(**other)


@pytest.mark.parametrize(
    ("stage", "part", "model_class"),
    [("outlines", "outlines", Outlines), ("inpainting", "inpainter", Inpainter)],
)
def test_a_part_of_the_layers_learns_on(
    stage: str, part: str, model_class: Any, smoke: Smoke, on_objects: dict[str, Any], tmp_path: Path
):
    begun = model_class()
    for parameter in begun.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    begun.save_pretrained(tmp_path / part)
    changes = on_objects | {"stage": stage, f"model.{part}": str(tmp_path / part)}
    own: Any = getattr(build_stage(smoke(**changes)), part)
    for name, tensor in begun.state_dict().items():
        assert torch.equal(own.state_dict()[name], tensor)
    assert all(p.requires_grad for p in own.parameters())


def test_what_outlines_are_learned_from(smoke: Smoke, on_objects: dict[str, Any]):
    stage: Any = build_stage(smoke(**on_objects))
    rows = [stage.dataset[i, (160, 128)] for i in range(8)]
    parts = [part for row in rows for part in row]
    assert len({len(row) for row in rows}) > 1
    for part in parts:
        assert part.source.shape == (128, 128, 3) and part.covered.shape == (128, 128)
        assert 0.02 < part.covered.mean() < 0.98
    again = stage.dataset[3, (160, 128)]
    assert all(np.array_equal(a.source, b.source) for a, b in zip(rows[3], again, strict=True))
    shades = [part.source[part.covered].mean(0) for part in parts]
    assert all(red > 1.5 * green for red, green, _ in shades[:3])  # what is covered is the object

    batch = stage.collate(rows)
    maps = [uncertain(batch["covered"], torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert maps[0].shape == (len(parts), 1, 16, 16) and maps[0].min() > 0 and maps[0].max() < 1
    places = functional.avg_pool2d(batch["covered"], 8)
    apart = (maps[0] - places).abs().mean()
    assert 0.02 < apart < 0.5 * (places - places.mean()).abs().mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.objects": None}, "this stage puts objects on photographs"),
        ({"data.sizes": [[128, 96]]}, "expected 128 or more"),
        ({"data.split": "none"}, "has no photographs of split 'none'"),
    ],
)
def test_outlines_need_objects_and_room(
    change: dict[str, Any], message: str, smoke: Smoke, on_objects: dict[str, Any]
):
    with pytest.raises(MGIEError, match=message):
        build_stage(smoke(**on_objects | change))


def test_inpainting_is_trained_and_given_to_a_unet(smoke: Smoke, on_objects: dict[str, Any], tmp_path: Path):
    changes = on_objects | {"stage": "inpainting", "max_steps": 2, "save_every": 2, "ema_decay": 0}
    trained = train(smoke(batch_size=2, **changes))
    assert losses(tmp_path / "run")[0] == losses(tmp_path / "run", "spread_loss")[0]  # a new one spreads
    stage: Any = build_stage(smoke(**{"model.inpainter": str(trained / "inpainter")}))
    own, hole = stage.pipeline.unet.layers.inpainter, torch.zeros(1, 1, 32, 32)
    hole[..., 8:20, 8:20] = 1
    picture = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(
        own(picture, hole), Inpainter.from_pretrained(trained / "inpainter")(picture, hole)
    )
    assert not any(p.requires_grad for p in own.parameters())


def test_what_inpainting_is_learned_from(smoke: Smoke, on_objects: dict[str, Any]):
    stage: Any = build_stage(smoke(**on_objects | {"stage": "inpainting"}))
    rows = [stage.dataset[i, (160, 128)] for i in range(6)]
    for row in rows:
        goes = row.hole[..., None]
        assert row.source.shape == row.behind.shape == (128, 160, 3) and 0 < goes.mean() < 0.7
        assert np.abs(row.source - row.behind)[~row.hole].max() < 0.03
        red, green, _ = row.source[row.hole].mean(0)
        assert red > 1.3 * green  # what goes is an object
    again = stage.dataset[3, (160, 128)]
    assert np.array_equal(rows[3].source, again.source)
    assert stage.collate(rows)["hole"].shape == (6, 1, 128, 160)


def test_dense_features_are_learned_at_their_place(smoke: Smoke, teacher: Teacher):
    stage = build_stage(smoke(stage="vision", teacher="given"))
    assert isinstance(stage.module, Distillation)
    dense, logits = stage.module.teach(torch.rand(2, 3, 32, 48) * 2 - 1)
    assert dense.shape == (2, 320, 2, 3) and logits.shape == (2, 1000)


def test_teacher_without_its_package(smoke: Smoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match="needs the package efficientnet_lite_pytorch"):
        build_stage(smoke(stage="vision", teacher="weights.pth"))


@pytest.mark.parametrize("content", [None, b"no weights", "others"])
def test_teacher_with_other_weights(
    content: Any, smoke: Smoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = ModuleType("efficientnet_lite_pytorch")
    vars(package)["EfficientNet"] = SimpleNamespace(from_name=lambda name: Teacher())
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", package)
    weights = tmp_path / "weights.pth"
    if content == "others":
        torch.save({"weight": torch.ones(1)}, weights)
    elif content is not None:
        weights.write_bytes(content)
    with pytest.raises(ConfigError, match="expected the weights of EfficientNet-lite0") as error:
        build_stage(smoke(stage="vision", teacher=str(weights)))
    assert "\n" not in str(error.value)

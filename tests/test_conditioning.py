"""The baselines beside MGIE: what each one's condition depends on, and that it is the same in training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Generator, Tensor

import mgie.models.mgie
from mgie.cli import main
from mgie.data.collate import EditCollator
from mgie.data.dataset import Sample
from mgie.errors import ConfigError
from mgie.images import open_photo
from mgie.models.mgie import MGIE
from mgie.models.mllm import visual_token_ids
from mgie.pipeline import Imagination, MGIEPipeline
from mgie.prompts import answer, question
from mgie.session import EditSession
from tests.conftest import picture

KINDS = ("mgie", "lgie", "ip2p")
RED, BLUE = "make it red", "turn the picture blue, please"
OTHER = picture(64, 32).transpose(Image.Transpose.FLIP_LEFT_RIGHT)

Build = Callable[[str], MGIEPipeline]


@pytest.fixture
def build(pipeline: MGIEPipeline) -> Build:
    """Returns a function that gives the toy pipeline, the same weights, another conditioning."""

    def build(kind: str) -> MGIEPipeline:
        built = MGIEPipeline(**pipeline.components, **(pipeline.defaults | {"conditioning": kind}))
        built.set_progress_bar_config(disable=True)
        return built

    return build


def apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
def test_only_mgie_sees_the_picture(build: Build, kind: str):
    for words in (None,) if kind == "ip2p" else (None, "All would be red."):
        first, second = build(kind).encode_instruction([picture(), OTHER], RED, words).prompt_embeds
        # Rows of a batch differ by rounding, as the threads divide them.
        assert apart(first, second) > 1e-4 if kind == "mgie" else apart(first, second) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_the_instruction_and_has_one_null_condition(build: Build, kind: str):
    imagined = build(kind).encode_instruction(picture(), [RED, BLUE])
    assert imagined.prompt_embeds.shape == imagined.negative_prompt_embeds.shape == (2, 5, 16)
    assert apart(*imagined.prompt_embeds) > 1e-4
    null = build("mgie").encode_instruction(picture(), RED).negative_prompt_embeds[0]
    assert torch.equal(imagined.negative_prompt_embeds, torch.stack([null, null]))


def test_an_instruction_alone_is_not_touched_by_longer_ones_beside_it(build: Build):
    pipe = build("ip2p")
    together = pipe.encode_instruction(picture(), [RED, BLUE])
    for i, instruction in enumerate([RED, BLUE]):
        alone = pipe.encode_instruction(picture(), instruction)
        length = alone.visual_token_states.shape[1]
        assert apart(alone.visual_token_states[0], together.visual_token_states[i, :length]) < 1e-5
        assert apart(alone.prompt_embeds[0], together.prompt_embeds[i]) < 1e-5


def test_the_instruction_alone_writes_nothing_and_takes_no_words(build: Build):
    pipe = build("ip2p")
    output = pipe(picture(), [RED, BLUE], generator=Generator().manual_seed(0))
    assert output.expressive_instructions == ["", ""]
    imagined = pipe.encode_instruction(picture(), RED, keep_prompts=True)
    for ask in (
        lambda: pipe(picture(), RED, expressive_instruction="It would be red."),
        lambda: pipe.reimagine(imagined, "It would be red."),
    ):
        with pytest.raises(ConfigError, match="takes the instruction alone: leave it out") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_without_the_picture_other_words_still_pass_alone(build: Build):
    pipe, words = build("lgie"), ["All would be dark.", "The house would be blue, and the trees."]
    imagined = pipe.encode_instruction([picture(), OTHER], RED, keep_prompts=True)
    again, whole = (pipe.reimagine(imagined, words), pipe.encode_instruction(picture(), RED, words))
    assert apart(again.prompt_embeds, whole.prompt_embeds) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_works_with_every_kind(build: Build, kind: str):
    session = EditSession(build(kind), open_photo(picture()), "toy")
    first = session.edit(RED, seed=1)
    second = session.again(seed=2, expressive_instruction=first.edit.expressive_instruction)
    assert first.image.size == second.image.size == (48, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_keeps_its_kind(build: Build, kind: str, tmp_path: Path):
    build(kind).save_pretrained(tmp_path / kind)
    loaded = MGIEPipeline.from_pretrained(tmp_path / kind)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.config["conditioning"] == loaded.defaults["conditioning"] == kind
    first, second = (
        p(picture(), RED, generator=Generator().manual_seed(0)).images[0] for p in (build(kind), loaded)
    )
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_tells_what_was_imagined_if_anything_was(
    build: Build, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    build(kind).save_pretrained(tmp_path / "model")
    picture().save(tmp_path / "photo.png")
    photo, model = str(tmp_path / "photo.png"), str(tmp_path / "model")
    assert main(["edit", photo, RED, "--model", model, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "saved:" in out and ("imagined:" in out) == (kind != "ip2p")


def test_folders_from_before_are_of_mgie(pipeline_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(pipeline_folder, tmp_path / "old"))
    index = json.loads((folder / "model_index.json").read_text())
    assert index.pop("conditioning") == "mgie"
    (folder / "model_index.json").write_text(json.dumps(index))
    assert MGIEPipeline.from_pretrained(folder).config["conditioning"] == "mgie"


def test_other_kinds_are_refused(build: Build):
    with pytest.raises(ConfigError, match="conditioning is 'clip'; expected 'mgie', 'lgie' or 'ip2p'"):
        build("clip")


def trained_embeds(pipe: MGIEPipeline, samples: list[Sample], patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Returns the losses of a training pass, and as `prompt_embeds` the UNet's condition in it."""
    seen: list[Tensor] = []

    def loss(unet: Any, scheduler: Any, latents: Tensor, image_latents: Tensor, embeds: Tensor, *_: Any):
        seen.append(embeds)
        return embeds.mean()

    patch.setattr(mgie.models.mgie, "denoising_loss", loss)
    kind = pipe.config["conditioning"]
    module = MGIE(
        **{name: pipe.components[name] for name in ("mllm", "edit_head", "vae", "unet")},
        scheduler=DDPMScheduler(prediction_type="v_prediction"),
        visual_token_ids=visual_token_ids(pipe.processor),
        condition_dropout=0.0,
        conditioning=kind,
    )
    with torch.no_grad():
        losses = module(EditCollator(pipe.processor, kind)(samples), Generator().manual_seed(0))
    return losses | {"prompt_embeds": seen[0]}


@pytest.mark.parametrize("kind", KINDS)
def test_training_has_the_pipelines_condition(build: Build, kind: str, monkeypatch: pytest.MonkeyPatch):
    pipe, words = build(kind), ["It would be red.", "The trees would be blue and the house too."]
    pictures = [picture(), OTHER]
    samples = [
        Sample(image, np.zeros((32, 32, 3), np.float32), np.ones((32, 32, 3), np.float32), *texts)
        for image, *texts in zip(pictures, map(question, [RED, BLUE]), map(answer, words), strict=True)
    ]
    losses = trained_embeds(pipe, samples, monkeypatch)
    expected: Imagination = pipe.encode_instruction(pictures, [RED, BLUE], None if kind == "ip2p" else words)
    torch.testing.assert_close(losses["prompt_embeds"], expected.prompt_embeds, rtol=0, atol=1e-5)
    assert (losses["lm_loss"] == 0) == (kind == "ip2p")

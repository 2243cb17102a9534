"""The behaviour suite on the toy pipeline, and on one that does what it is told."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from mgie.data.synth import MadeEdit, Scene, as_pixels
from mgie.evaluation import behaviour, check_behaviour
from mgie.images import open_image
from mgie.pipeline import Imagination, MGIEPipeline, MGIEPipelineOutput
from tests.evaluation.made import make_records

LARGE = (160, 120)
EDITS = {
    "make it red": MadeEdit(family="tint", params={"colour": "red", "strength": "normal"}),
    "make it blue": MadeEdit(family="tint", params={"colour": "blue", "strength": "normal"}),
    "turn it into black and white": MadeEdit(family="grey", params={}),
    "make it look like night": MadeEdit(family="night", params={}),
    "invert the colours": MadeEdit(family="invert", params={}),
    "make it brighter": MadeEdit(family="brighter", params={"strength": "slight"}),
    "make it darker": MadeEdit(family="darker", params={"strength": "normal"}),
    "make it warmer": MadeEdit(family="warmer", params={"strength": "slight"}),
    "make it cooler": MadeEdit(family="cooler", params={"strength": "slight"}),
}
WORDS = list(EDITS)


@pytest.fixture(scope="module")
def made_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("made"))


class PerfectPipeline:
    """Applies the exact edit; its `prompt_embeds` hold the number of the instruction."""

    def encode_instruction(self, image: list[Image.Image], instruction: list[str] | str) -> Imagination:
        words = [instruction] * len(image) if isinstance(instruction, str) else instruction
        embeds = torch.tensor([WORDS.index(text) for text in words], dtype=torch.float32).view(-1, 1, 1)
        texts = [
            f"{text} {picture.size} {np.asarray(picture).mean()}"
            for text, picture in zip(words, image, strict=True)
        ]
        return Imagination(texts, embeds, embeds, torch.zeros_like(embeds))

    def __call__(
        self, image, instruction=None, *, prompt_embeds=None, keep_native=True, output_type="pil", **_
    ) -> MGIEPipelineOutput:
        images = [open_image(picture) for picture in image]
        texts = list(instruction or [])
        if prompt_embeds is not None:
            texts = [WORDS[int(number)] for number in prompt_embeds.flatten()]
        edits = [
            EDITS[text].make(Scene(pixels=as_pixels(picture))).target
            for text, picture in zip(texts, images, strict=True)
        ]
        if output_type == "pil":
            edits = [Image.fromarray((edit * 255).round().astype(np.uint8)) for edit in edits]
        return MGIEPipelineOutput(images=edits, expressive_instructions=texts, seconds={})


def test_a_model_that_does_what_it_is_told_meets_everything(made_records: Path):
    steps = []
    findings = check_behaviour(
        cast(MGIEPipeline, PerfectPipeline()),
        made_records,
        large=LARGE,
        progress=lambda *step: steps.append(step),
    )
    unmet = [finding for finding in findings if not finding.met]
    assert not unmet
    assert steps == [(i, 5) for i in range(1, 6)]


def test_a_model_that_copies_is_found_out(made_records: Path):
    class Copy(PerfectPipeline):
        def __call__(self, image, *args, **options) -> MGIEPipelineOutput:
            images = [open_image(picture) for picture in image]
            bare = options.get("output_type") == "np"
            edits = [as_pixels(picture) for picture in images] if bare else images
            return MGIEPipelineOutput(images=edits, expressive_instructions=[""] * len(images), seconds={})

    findings = {f.name: f for f in check_behaviour(cast(MGIEPipeline, Copy()), made_records, large=LARGE)}
    assert not findings["exchanged prompt embeds of red and blue exchange the colours"].met
    assert findings["bare decoded picture shows the edit"].value == 0
    assert findings["sharpness of a 160x120 photograph kept by changes of tone, least"].met


def test_a_random_model_repeats_itself(
    pipeline: MGIEPipeline, made_records: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(behaviour, "PHOTOGRAPHS", 1)
    findings = {f.name: f for f in check_behaviour(pipeline, made_records, large=LARGE)}
    assert findings["same seed, same bytes"].met
    assert findings["batch of 4 and 4 singles: same expressive instructions"].met


def test_a_picture_that_lies_on_its_side_is_found_out(made_records: Path):
    class Sideways(PerfectPipeline):
        def __call__(self, image, *args, **options) -> MGIEPipelineOutput:
            as_stored = [Image.fromarray(np.asarray(picture)) for picture in image]
            return super().__call__(as_stored, *args, **options)

    findings = {f.name: f for f in check_behaviour(cast(MGIEPipeline, Sideways()), made_records, large=LARGE)}
    assert not findings["likeness of the edit of a 160x120 photograph with EXIF rotation"].met

"""Batches as transformers and diffusers want them."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaProcessor

from mgie.data.collate import IGNORED, EditCollator, collate_pictures, to_tensor
from mgie.data.dataset import Sample
from mgie.data.synth import Box
from mgie.models.mllm import dialogue_text
from mgie.pipeline import MGIEPipeline
from mgie.prompts import answer, question


@pytest.fixture
def processor(pipeline: MGIEPipeline) -> LlavaProcessor:
    return pipeline.components["processor"]


def sample(instruction: str, expressive: str, grey: float = 0.25) -> Sample:
    source = np.full((16, 24, 3), grey, np.float32)
    picture = Image.new("RGB", (40, 30), (200, 0, 0))
    return Sample(picture, source, 1 - source, question(instruction), answer(expressive))


def test_pixels():
    pixels = np.zeros((2, 4, 3), np.float32)
    pixels[0, 1] = (1.0, 0.5, 0.0)
    tensor = to_tensor([pixels, pixels])
    assert tensor.shape == (2, 3, 2, 4) and tensor.is_contiguous()
    assert tensor[1, :, 0, 1].tolist() == [1.0, 0.0, -1.0]
    assert tensor.min() == -1


def test_sources_and_targets():
    batch = collate_pictures([sample("a", "b", 0.25), sample("a", "b", 1.0)])
    assert batch["source"][:, 0, 0, 0].tolist() == [-0.5, 1.0]
    assert batch["target"][:, 0, 0, 0].tolist() == [0.5, -1.0]


def test_of_a_pattern_what_it_is_painted_with_and_what_it_covers():
    cover = np.zeros((16, 24), np.float32)
    cover[3, 5] = 0.5
    patterned = replace(sample("a", "b"), plain=np.ones((16, 24, 3), np.float32), cover=cover)
    batch = collate_pictures([patterned, sample("a", "b", 0.75)])
    assert batch["target"][:, 0, 0, 0].tolist() == [0.5, -0.5]
    assert batch["plain"][:, 0, 0, 0].tolist() == [1.0, -0.5]
    assert batch["covered"].shape == (2, 1, 16, 24)
    assert torch.equal(batch["covered"][0, 0], torch.from_numpy(cover)) and (batch["covered"][1] == 1).all()


def test_only_the_answer_is_learned(processor: LlavaProcessor):
    samples = [
        sample("make it red", "It would be red."),
        sample("turn it blue, please", "The trees and the house turn."),
    ]
    batch = EditCollator(processor)(samples)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    assert batch["pixel_values"].shape == (2, 3, 32, 32) and batch["source"].shape == (2, 3, 16, 24)
    tokenizer = processor.tokenizer
    for row, row_sample in enumerate(samples):
        learned = batch["labels"][row] != IGNORED
        assert torch.equal(batch["labels"][row][learned], batch["input_ids"][row][learned])
        assert tokenizer.decode(batch["input_ids"][row][learned]) == f" {row_sample.answer}</s>"
        length = int(batch["attention_mask"][row].sum())
        assert batch["attention_mask"][row, :length].all()  # padding is on the right
        assert (batch["input_ids"][row, length:] == tokenizer.pad_token_id).all()
        assert not learned[length:].any() and learned[length - 1]


@pytest.mark.parametrize("conditioning", ["lgie", "ip2p"])
def test_rows_without_a_picture(processor: LlavaProcessor, conditioning: Any):
    row = sample("make it red", "It would be red.")
    batch = EditCollator(processor, conditioning)([row, sample("turn it blue, please", "It turns.")])
    tokenizer: Any = processor.tokenizer
    text = dialogue_text(processor, row.question, row.answer if conditioning == "lgie" else None)
    ids = batch["input_ids"][0][batch["attention_mask"][0] == 1]
    assert tokenizer.decode(ids) == text.replace("<image>", "")
    assert "pixel_values" not in batch and batch["source"].shape == (2, 3, 16, 24)
    learned = tokenizer.decode(batch["input_ids"][0][batch["labels"][0] != IGNORED])
    assert learned == (f" {row.answer}</s>" if conditioning == "lgie" else "")


def test_a_row_is_the_text_as_one(processor: LlavaProcessor):
    row = sample("make it red", "It would be red.")
    batch = EditCollator(processor)([row])
    text = dialogue_text(processor, row.question, row.answer)
    build: Any = processor  # whose arguments are not typed
    whole = build(images=[row.picture], text=[text], add_special_tokens=False)
    assert batch["input_ids"][0].tolist() == whole["input_ids"][0]
    np.testing.assert_array_equal(batch["pixel_values"][0].numpy(), whole["pixel_values"][0])


def test_of_rows_that_are_asked_anothers_question_no_words_are_learned(processor: LlavaProcessor):
    plain = [sample("make it red", "It would be red."), sample("add a hat", "A hat would be seen.")]
    other = replace(plain[0], instead=question("turn it upside down"))
    batch, own = EditCollator(processor)([other, plain[1]]), EditCollator(processor)(plain)
    assert "own_labels" not in own
    for name in ("input_ids", "attention_mask", "labels"):
        assert torch.equal(batch[f"own_{name}"], own[name])
    text = processor.tokenizer.decode(batch["input_ids"][0])
    assert "turn it upside down" in text and "It would be red." in text and "make it red" not in text
    learned, whole = (processor.tokenizer.decode(row[row != IGNORED]) for row in batch["labels"])
    assert learned.startswith("[IMG0]") and "[IMG7]" in learned
    assert whole.lstrip().startswith("A hat would be seen.")


def test_worker_processes_can_have_it(processor: LlavaProcessor):
    collate = pickle.loads(pickle.dumps(EditCollator(processor)))
    row = sample("make it red", "It would be red.")
    assert torch.equal(collate([row])["input_ids"], EditCollator(processor)([row])["input_ids"])


def test_what_is_where(processor: LlavaProcessor):
    """The right half of the picture is a region, and at its top right is a thing."""
    side = 32 // processor.patch_size
    right = np.zeros((32, 64), np.bool_)
    right[:, 32:] = True
    source = np.zeros((32, 64, 3), np.float32)
    picture = Image.new("RGB", (64, 32))
    row = Sample(
        picture,
        source,
        source,
        "q",
        "a",
        things=(("sky", right), ("red cup", Box(0, 48, 16))),
        behind=source + 1,
        arrivals=((Box(0, 48, 16), Box(16, 0, 16)), (None, Box(0, 0, 16))),
    )
    bare = Sample(picture, source, source, "q", "a")
    batch = EditCollator(processor, with_things=True)([row, bare])
    things = batch["things"].view(2, side, side)
    assert side >= 2 and (things[0, :, : side // 2] == 0).all() and (things[1] == 0).all()
    assert things[0, -1, -1] == 1 and things[0, 0, -1] == 2
    assert batch["pasted"][0, :2].tolist() == [0, 1]
    names = [processor.tokenizer.decode(ids[ids > 0]) for ids in batch["names"][0, :2]]
    assert names == [" sky", " red cup"]
    assert batch["arrivals"][0, 0].tolist() == [[0.5, -1, 1, 0], [-1, 0, -0.5, 1]]
    assert batch["arrivals"][0, 1].tolist() == [[0, 0, 0, 0], [-1, -1, -0.5, 0]]
    assert not batch["arrivals"][1].any()
    assert (batch["behind"][0] == 1).all() and (batch["behind"][1] == batch["source"][1]).all()
    assert "things" not in EditCollator(processor)([row])

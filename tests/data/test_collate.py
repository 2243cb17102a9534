"""Batches as transformers and diffusers want them."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaProcessor

from mgie.data.collate import IGNORED, EditCollator, collate_pictures, to_tensor
from mgie.data.dataset import Sample
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


def test_worker_processes_can_have_it(processor: LlavaProcessor):
    collate = pickle.loads(pickle.dumps(EditCollator(processor)))
    row = sample("make it red", "It would be red.")
    assert torch.equal(collate([row])["input_ids"], EditCollator(processor)([row])["input_ids"])

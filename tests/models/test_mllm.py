"""Dialogue, visual tokens, and where their states stand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from mgie.data.collate import EditCollator
from mgie.data.dataset import Sample
from mgie.models.loading import load_model
from mgie.models.mllm import (
    build_mllm,
    copying_words,
    dialogue_text,
    in_own_words,
    tokenize_dialogues,
    train_tokenizer,
    visual_token_embeds,
    visual_token_ids,
    visual_token_positions,
    visual_token_states,
)
from mgie.pipeline import MGIEPipeline
from mgie.prompts import answer, question, visual_tokens


@pytest.fixture
def processor(pipeline: MGIEPipeline) -> LlavaProcessor:
    return pipeline.components["processor"]


@pytest.fixture
def mllm(pipeline: MGIEPipeline) -> LlavaForConditionalGeneration:
    return pipeline.components["mllm"]


def ask(processor: Any, picture: Image.Image) -> Any:
    """Returns the model's inputs for one picture and a question."""
    return processor(images=[picture], text=[dialogue_text(processor, "what?")], return_tensors="pt")


def reference_position(row: list[int], first_id: int, num: int) -> int:
    """Returns where the states begin, as the original's code finds it."""
    first = row.index(first_id) if first_id in row else len(row)
    return max(0, min(first - 1, len(row) - 1 - num))


def test_a_word_that_was_begun_goes_on_as_in_its_own_instruction():
    tokenizer = train_tokenizer(["a dog, a den, a dig"], vocab_size=272)
    (begun, second, *_) = word = tokenizer(" doughnut", add_special_tokens=False).input_ids
    assert tokenizer.decode(begun) == " d" and len(word) > 3
    (copying,) = copying_words(tokenizer, ["make a doughnut!", "Doughnut", "red"], 2.5)
    scores = torch.zeros(3, len(tokenizer))
    biased: Any = copying(torch.tensor([[7, 7, begun]] * 3), scores)
    assert biased[:2].sum() == 5 and biased[0, second] == biased[1, second] == 2.5
    assert not biased[2].any() and not scores.any()
    farther: Any = copying(torch.tensor([[7, *word[:2]]] * 3), scores)
    assert farther[0, word[2]] == 2.5 and farther[0].sum() == 2.5
    (blank,) = tokenizer(" ", add_special_tokens=False).input_ids
    for elsewhere in ([7, 7, second], [begun, 7, 7], [7, 7, blank]):  # none has begun it
        assert not copying(torch.tensor([elsewhere] * 3), scores).any()
    assert not copying_words(tokenizer, ["make a doughnut"], 0.0)


@pytest.mark.parametrize(
    "row",
    [
        [5, 6, 7, 90, 91, 92, 93, 2],  # an answer as it should be
        [90, 91, 92, 93, 2, 0, 0, 0],  # nothing before the visual tokens
        [5, 6, 7, 8, 9, 10, 11, 2],  # no visual tokens
        [5, 6, 7, 8, 9, 10, 90, 2],  # begun too late
        [5, 90, 6, 90, 91, 92, 93, 2],  # the first one counts
    ],
)
def test_positions(row: list[int]):
    expected = reference_position(row, 90, 4)
    batch = torch.tensor([row, [1, 1, 90, 91, 92, 93, 2, 0]])
    assert visual_token_positions(batch, 90, 4).tolist() == [expected, 1]


def test_states_are_those_that_predict_the_visual_tokens():
    hidden = torch.arange(2 * 8 * 3).reshape(2, 8, 3).float()
    states = visual_token_states(hidden, torch.tensor([2, 0]), 4)
    assert torch.equal(states, torch.stack([hidden[0, 2:6], hidden[1, 0:4]]))


def test_visual_tokens_are_one_id_each(processor: LlavaProcessor, mllm: LlavaForConditionalGeneration):
    ids = visual_token_ids(processor)
    assert len(set(ids)) == 8
    assert [processor.tokenizer.decode(i) for i in ids] == visual_tokens()
    embeds = visual_token_embeds(mllm, ids)
    assert embeds.shape == (1, 8, 32)
    table: Any = mllm.get_input_embeddings()
    assert torch.equal(embeds[0, 3], table.weight[ids[3]])


@pytest.mark.parametrize(
    "words", ["The house would be red.", "  odd   blanks ", "caf\u00e9 \U0001f600 'quoted'", ""]
)
def test_a_dialogue_begins_with_the_ids_that_ask(words: str, processor: LlavaProcessor):
    picture, asked = Image.new("RGB", (32, 32)), question(words)
    (prompt,), (length,), _ = tokenize_dialogues(processor, [picture], [asked])
    (row,), same_length, pixel_values = tokenize_dialogues(processor, [picture], [asked], [answer(words)])
    assert same_length == [length] and len(prompt) == length
    assert row[:length] == prompt
    assert processor.tokenizer.decode(row[length:]) == f" {answer(words)}</s>"
    assert row[-9:] == [*visual_token_ids(processor), processor.tokenizer.eos_token_id]
    assert row[0] == processor.tokenizer.bos_token_id and row.count(row[0]) == 1
    assert pixel_values.shape == (1, 3, 32, 32)


def test_any_text_survives_the_tokenizer(processor: LlavaProcessor):
    text = "caf\u00e9 \u4f60\u597d \U0001f600\tx"
    assert processor.tokenizer.decode(processor.tokenizer(text, add_special_tokens=False).input_ids) == text


def test_the_picture_takes_as_many_places_as_it_has_patches(
    processor: LlavaProcessor, mllm: LlavaForConditionalGeneration
):
    picture = Image.new("RGB", (50, 20), "red")
    inputs = ask(processor, picture)
    image_id = mllm.config.image_token_id
    assert (inputs["input_ids"] == image_id).sum() == 4  # 32 pixels in patches of 16
    assert inputs["pixel_values"].shape == (1, 3, 32, 32)


@pytest.mark.parametrize("tied", [True, False])
def test_words_read_and_said_may_be_one_tensor(tied: bool, processor: LlavaProcessor, tmp_path: Path):
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = vision | {"tie_word_embeddings": tied}
    built = build_mllm(processor, vision | {"image_size": 32, "patch_size": 16}, text)
    built.save_pretrained(tmp_path)
    for mllm in (built, load_model(tmp_path, LlavaForConditionalGeneration)):
        table: Any = mllm.get_input_embeddings()
        assert (mllm.lm_head.weight is table.weight) == tied


@torch.no_grad()
def test_the_model_sees_the_picture(processor: LlavaProcessor, mllm: LlavaForConditionalGeneration):
    logits = []
    for colour in ("red", "blue"):
        inputs = ask(processor, Image.new("RGB", (32, 32), colour))
        logits.append(mllm(**inputs).logits[0, -1])
    assert not torch.allclose(logits[0], logits[1])


def test_rows_in_own_words_are_what_the_model_writes(
    processor: LlavaProcessor, mllm: LlavaForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
):
    """Four rows, three are asked: one answers longer than the truth, one calls for no picture."""
    grey = np.full((16, 16, 3), 0.5, np.float32)
    samples = [
        Sample(
            Image.new("RGB", (20, 20), (50 * i, 0, 0)), grey, grey, question(asked), answer("It would be.")
        )
        for i, asked in enumerate(("make it red", "blue", "turn the tree green", "grey"))
    ]
    batch, tokenizer = EditCollator(processor)(samples), processor.tokenizer
    rows, own = torch.tensor([True, False, True, True]), ("It would all be of a deep red.", "Green.", "Grey.")
    first_id, end = visual_token_ids(processor)[0], tokenizer.eos_token_id
    texts = [answer(own[0]), answer(own[1]), own[2]]
    answers = [[*tokenizer(f" {text}").input_ids, end] for text in texts]
    called: dict[str, Any] = {}

    def generate(input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        called.update(options, input_ids=input_ids)
        longest = max(map(len, answers)) + 2
        padded = torch.tensor(
            [ids + [7] * (longest - len(ids)) for ids in answers]
        )  # after the end, anything
        return torch.cat([input_ids, padded], 1)

    monkeypatch.setattr(mllm, "generate", generate)
    told = in_own_words(mllm, batch, rows, first_id)
    for asked, ids, mask in zip((0, 2, 3), called["input_ids"], called["attention_mask"], strict=True):
        prompt = batch["input_ids"][asked][: int((batch["labels"][asked] != -100).int().argmax())]
        assert torch.equal(ids[mask == 1], prompt) and mask[-1] == 1
    assert torch.equal(called["pixel_values"], batch["pixel_values"][rows])

    expected = [answers[0], None, answers[1], None]
    for row, own_ids in enumerate(expected):
        learned = told["labels"][row][told["labels"][row] != -100].tolist()
        was = batch["labels"][row][batch["labels"][row] != -100].tolist()
        assert learned == (was if own_ids is None else own_ids)
        told_row = told["input_ids"][row][told["attention_mask"][row] == 1].tolist()
        assert told_row[-len(learned) :] == learned
    assert told["source"] is batch["source"]
    assert in_own_words(mllm, batch, rows & False, first_id) == dict(batch)

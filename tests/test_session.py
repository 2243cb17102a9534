"""Turns: edits of edits, run again, undone and redone."""

import numpy as np
import pytest
from PIL import Image

from mgie.errors import ConfigError
from mgie.images import open_photo, read_edits
from mgie.session import EditSession
from tests.conftest import picture

RED, BLUE = "make it red", "turn the picture blue"


@pytest.fixture
def session(pipeline):
    return EditSession(pipeline, open_photo(picture()), "toy")


def test_a_turn_starts_from_what_the_one_before_left(session, pipeline):
    first = session.edit(RED, seed=1)
    second = session.edit(BLUE, seed=2)
    assert second.source.picture.tobytes() == first.image.tobytes()
    assert session.image is second.image
    alone = EditSession(pipeline, open_photo(first.image), "toy").edit(BLUE, seed=2)
    assert alone.image.tobytes() == second.image.tobytes()


def test_undo_and_redo(session):
    original = session.image.tobytes()
    first, second = session.edit(RED, seed=1), session.edit(BLUE, seed=2)
    session.undo()
    assert session.image is first.image and session.can_redo
    session.undo()
    assert session.image.tobytes() == original
    session.redo()
    session.redo()
    assert session.image is second.image and not session.can_redo
    session.undo()
    session.edit(BLUE, seed=3)  # a new turn: what was undone is gone
    with pytest.raises(ConfigError, match="no edit to redo"):
        session.redo()


def test_what_was_undone_does_not_come_back_on_another_picture(session):
    session.edit(RED, seed=1)
    session.edit(BLUE, seed=2)
    session.undo()
    session.again(seed=3)
    with pytest.raises(ConfigError, match="no edit to redo"):
        session.redo()


def test_a_turn_is_run_again_without_the_model_writing_or_the_picture_encoded_anew(
    session, pipeline, monkeypatch
):
    first = session.edit(RED, seed=1, expressive_instruction="The house would be red.")
    monkeypatch.setattr(pipeline.mllm, "generate", None)
    monkeypatch.setattr(pipeline.vae, "encode", None)
    other_seed = session.again(seed=2)
    other_words = session.again(expressive_instruction="The trees would be blue.", seed=1)
    same = session.again(expressive_instruction=first.edit.expressive_instruction)
    assert len(session.turns) == 1
    assert other_seed.edit.seed == 2 and other_seed.edit.instruction == RED
    assert other_words.edit.expressive_instruction == "The trees would be blue."
    # Back to the words that the model wrote: as its own reading of them, up to rounding.
    difference = np.abs(np.asarray(same.image, int) - np.asarray(first.image, int))
    assert difference.max() <= 1
    half = np.asarray(session.again(strength=0.5).image, int) - np.asarray(session.photo.image, int)
    full = np.asarray(same.image, int) - np.asarray(session.photo.image, int)
    assert np.abs(2 * half - full).max() <= 2


def test_nothing_to_run_again_or_to_undo(session):
    with pytest.raises(ConfigError, match="no edit to run again"):
        session.again()
    with pytest.raises(ConfigError, match="no edit to undo"):
        session.undo()


def test_a_mistake_leaves_the_session_as_it_was(session):
    turn = session.edit(RED, seed=1)
    for wrong in (
        lambda: session.edit("", seed=1),
        lambda: session.edit(BLUE, seed=1, strength=2),
        lambda: session.again(expressive_instruction="[IMG0]"),
    ):
        with pytest.raises(ConfigError):
            wrong()
    assert session.turns == [turn]


def test_the_result_tells_of_every_turn_and_keeps_the_transparency(pipeline):
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    session = EditSession(pipeline, open_photo(image), "toy")
    assert read_edits(session.result()[1].xmp) == []
    session.edit(RED, seed=1)
    session.edit(BLUE, seed=2)
    result, metadata = session.result()
    assert result.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert [(edit.instruction, edit.seed, edit.model) for edit in read_edits(metadata.xmp)] == [
        (RED, 1, "toy"),
        (BLUE, 2, "toy"),
    ]
    assert session.result(note=False, strip_metadata=True)[1].xmp is None

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.demo import actions
from mgie.demo.models import Models
from mgie.errors import ConfigError, ImageError
from mgie.images import read_edits


@pytest.fixture
def models(pipeline):
    return Models(["toy"], lambda name: pipeline)


@pytest.fixture
def bench(models, photo):
    return actions.open_workbench(photo, models, "toy")


def do(action, bench, *arguments, **settings):
    """Returns the steps that an action reports."""
    steps = []
    action(bench, *arguments, settings, steps.append)
    return steps


def pixels(bench):
    return np.asarray(bench.session.image)


def test_an_edit_reports_its_words_and_previews(bench):
    steps = do(actions.edit, bench, "make it red", 7)
    assert steps[0].text == "imagining"
    assert [step.words for step in steps if step.words] == [bench.turn.edit.expressive_instruction]
    previews = [step.preview for step in steps if step.preview]
    assert len(previews) == 3  # the toy's steps
    assert previews[0].size == bench.turn.source.size
    assert all(step.done <= step.total for step in steps)
    assert bench.turn.edit.seed == 7


def test_long_paintings_have_few_previews(bench):
    steps = do(actions.edit, bench, "make it red", 7, num_inference_steps=25)
    assert 2 <= sum(step.preview is not None for step in steps) <= actions.MAX_PREVIEWS


def test_painting_again_takes_other_words_and_writes_nothing(bench, pipeline, monkeypatch):
    do(actions.edit, bench, "make it red", 7)
    before = pixels(bench)
    monkeypatch.setattr(pipeline.mllm, "generate", None)
    do(actions.again, bench, "All is blue.", 7)
    assert bench.turn.edit.expressive_instruction == "All is blue."
    assert bench.turn.edit.instruction == "make it red"
    assert len(bench.session.turns) == 1
    assert (pixels(bench) != before).any()
    do(actions.again, bench, "All is blue.", 7, strength=0.0)
    assert (pixels(bench) == np.asarray(bench.session.photo.image)).all()


def test_variants_are_of_following_seeds_and_one_can_be_chosen(bench):
    do(actions.edit, bench, "make it red", 7)
    first = bench.turn
    do(actions.paint_variants, bench, 3)
    assert [turn.edit.seed for turn in bench.variants] == [7, 8, 9]
    assert bench.turn is first
    actions.choose_variant(bench, 2)
    assert bench.turn.edit.seed == 9
    assert len(bench.session.turns) == 1
    with pytest.raises(ConfigError, match="no variants"):
        actions.choose_variant(bench, 3)
    actions.undo(bench)
    assert (pixels(bench) == np.asarray(bench.session.photo.image)).all()
    assert bench.variants == []
    actions.redo(bench)
    assert bench.turn.edit.seed == 9


def test_what_fails_leaves_all_as_it_was(bench):
    do(actions.edit, bench, "make it red", 7)
    turn = bench.turn
    for action, arguments, settings in [
        (actions.edit, [" ", 1], {}),
        (actions.edit, ["make it red", 1], {"guidance_scale": -1.0}),
        (actions.again, [" ", 1], {}),
        (actions.again, ["blue [IMG0]", 1], {}),
        (actions.paint_variants, [2], {"strength": 2.0}),
    ]:
        with pytest.raises(ConfigError):
            do(action, bench, *arguments, **settings)
        assert bench.session.turns == [turn]


@pytest.mark.parametrize("action", [actions.undo, actions.redo, actions.Results().save])
def test_without_a_photo_there_is_nothing_to_do(action):
    with pytest.raises(ConfigError, match="no photo"):
        action(None)


def test_without_an_edit_there_is_nothing_to_run_again(bench):
    for action, arguments in [(actions.again, ["words", 1]), (actions.paint_variants, [2])]:
        with pytest.raises(ConfigError, match="no edit"):
            do(action, bench, *arguments)


def test_a_history_has_an_end(bench, monkeypatch):
    monkeypatch.setattr(actions, "MAX_TURNS", 1)
    do(actions.edit, bench, "make it red", 7)
    with pytest.raises(ConfigError, match="1 edits"):
        do(actions.edit, bench, "make it red", 7)


def test_a_photo_that_cannot_be_used(models, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match="not a picture"):
        actions.open_workbench(tmp_path / "text.png", models, "toy")
    with pytest.raises(ConfigError, match="no photo"):
        actions.open_workbench(None, models, "toy")


def test_another_model_makes_the_next_edits(bench, pipeline):
    do(actions.edit, bench, "make it red", 7)
    actions.use_model(bench, Models(["toy", "other"], lambda name: pipeline), "other")
    do(actions.edit, bench, "make it red", 7)
    assert [turn.edit.model for turn in bench.session.turns] == ["toy", "other"]
    with pytest.raises(ConfigError, match="no model 'wrong'"):
        actions.use_model(bench, Models(["toy"], lambda name: pipeline), "wrong")
    assert bench.session.model == "other"


def test_a_drawing_becomes_a_mask_and_the_rest_stays(bench):
    layer = Image.new("RGBA", (24, 20))  # half the photo's size
    layer.paste((255, 0, 80, 160), (6, 5, 18, 15))
    mask = actions.drawn_mask([layer, Image.new("RGBA", (24, 20))], (48, 40))
    levels = np.asarray(mask)
    assert levels.shape == (40, 48)
    assert (levels[12:28, 14:34] == 255).all()
    assert levels[:8].max() == levels[:, :10].max() == 0
    do(actions.edit, bench, "make it red", 7, mask=mask)
    changed = (pixels(bench) != np.asarray(bench.session.photo.image)).any(axis=2)
    assert changed.any()
    assert not changed[levels == 0].any()


def test_no_drawing_is_no_mask():
    assert actions.drawn_mask([], (48, 40)) is None
    assert actions.drawn_mask([Image.new("RGBA", (24, 20))], (48, 40)) is None


def test_results_are_whole_files_and_the_newest_stay(bench, tmp_path):
    do(actions.edit, bench, "make it red", 7)
    results = actions.Results(num=2)
    paths = [results.save(bench) for _ in range(3)]
    assert [Path(path).name for path in paths] == ["photo.edited.png"] * 3
    assert [Path(path).exists() for path in paths] == [False, True, True]
    with Image.open(paths[2]) as image:
        assert image.format == "PNG"
        assert (np.asarray(image) == pixels(bench)).all()
        (edit,) = read_edits(image.info["XML:com.adobe.xmp"])
    assert edit == bench.turn.edit


def test_words_cannot_bring_markup_into_the_history(bench):
    do(actions.edit, bench, "make it <b onclick=x>red</b>", 7)
    assert "<b onclick" not in actions.history(bench)
    assert "&lt;b onclick" in actions.history(bench)
    assert actions.history(None) == ""


def test_pictures_are_shown_no_larger_than_the_page():
    assert actions.shown(Image.new("RGB", (4000, 3000))).size == (1280, 960)
    assert actions.shown(Image.new("RGB", (48, 40))).size == (48, 40)

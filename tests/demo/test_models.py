import json
import threading

import pytest

from mgie.demo.models import Models, Step, notice
from mgie.errors import CheckpointError, ConfigError

CARD = """---
license: mit
---
# a-model

It paints at
128 px. Parts: many.

**State.** Colours are learned.

| a | table |

**Trained on** photographs.

**Limits.** No objects.
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    return tmp_path


def test_the_notice_is_what_the_card_says_of_state_and_limits(folder):
    (folder / "README.md").write_text(CARD)
    expected = "It paints at 128 px.\n\n**State.** Colours are learned.\n\n**Limits.** No objects."
    assert notice(str(folder)) == expected


def test_a_model_without_a_card_says_so_and_what_it_was_trained_on(folder):
    assert "no card" in notice(str(folder))
    families = {"training_config": {"data": {"families": ["tint", "fog", "tint", "contrast_up"]}}}
    (folder / "mgie.json").write_text(json.dumps(families))
    assert notice(str(folder)).endswith("contrast up, fog, tint.")


def test_measured_rates_are_told_in_the_place_of_families(folder):
    rates = {"fog": {"edits": 4, "success": 0.75}, "contrast_up": {"edits": 4, "success": 1.0}}
    rates["poster"] = {"edits": 4, "success": 0.0}
    (folder / "mgie.json").write_text(json.dumps({"success_rates": rates}))
    assert notice(str(folder)).endswith("- 100%: contrast up\n- 75%: fog")


@pytest.mark.parametrize("provenance", [{"training_config": None}, {"training_config": {"data": None}}, {}])
def test_other_provenance_is_no_obstacle(folder, provenance):
    (folder / "mgie.json").write_text(json.dumps(provenance))
    assert "no card" in notice(str(folder))


def test_the_notice_of_the_model_that_comes_with_the_package():
    told = notice("mgie-tiny")
    assert "**Limits" in told
    assert "sketch" in told


def test_the_notice_of_no_model():
    with pytest.raises(CheckpointError, match="no model 'nothing'"):
        notice("nothing")


def test_a_model_is_loaded_once_and_only_if_it_is_offered():
    loaded = []

    def load(name):
        loaded.append(name)
        return name.upper()

    models = Models(["a", "b", "a"], load)
    assert models.names == ["a", "b"]
    assert [models.get(name) for name in "abab"] == list("ABAB")
    assert loaded == ["a", "b"]
    with pytest.raises(ConfigError, match="no model '/etc'; expected one of a, b"):
        models.get("/etc")


def test_all_work_is_done_in_one_thread_and_reported_as_it_goes():
    models = Models([], lambda name: name)
    threads = {models.run(threading.get_ident) for _ in range(3)}
    steps = [Step(text=str(i), done=i, total=3) for i in range(3)]

    def work(report):
        threads.add(threading.get_ident())
        for step in steps:
            report(step)
        return "done"

    running = models.steps(work)
    seen = []
    with pytest.raises(StopIteration) as end:
        while True:
            seen.append(next(running))
    assert (seen, end.value.value) == (steps, "done")
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_failure_comes_after_what_was_reported():
    def work(report):
        report(Step(text="first", done=0, total=1))
        raise ConfigError("no")

    running = Models([], lambda name: name).steps(work)
    assert next(running).text == "first"
    with pytest.raises(ConfigError, match="no"):
        next(running)

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgie.data.photographs import Photograph
from mgie.data.synth import FAMILIES, EditSampler, MadeEdit, Objects, Pixels, Requests, Scene, make_edit
from mgie.data.synth.wording import Split, templates
from mgie.errors import DataError

COMMON = {"the", "to", "be", "in", "a", "of", "it", "and", "with", "all", "on", "for", "would", "only"}
NONE: frozenset[str] = frozenset()
STREET = Photograph(path=Path("street.jpg"), names=("building", "road"))


def street(photograph: Photograph) -> Scene:
    return Scene(pixels=np.zeros((8, 8, 3), np.float32), names=photograph.names)


def draws(count: int, seed: int = 0, **settings: Any) -> list[MadeEdit]:
    """Returns edits of the street."""
    sampler, rng = EditSampler([STREET], **settings), np.random.default_rng(seed)
    return [sampler.draw(rng, street)[-1] for _ in range(count)]


def test_same_seed_same_edit() -> None:
    first, second = draws(20, seed=7), draws(20, seed=7)
    assert first == second
    assert len({edit.instruction for edit in first}) > 15


def test_every_family_is_drawn_and_tints_more_often() -> None:
    drawn = Counter(edit.family for edit in draws(3000))
    taken = {name for name, family in FAMILIES.items() if family.takes(STREET)}
    assert drawn.keys() == {name for name in taken if not FAMILIES[name].needs_objects}
    assert drawn["tint"] > 2.5 * drawn["grey"]


def test_families_can_be_chosen() -> None:
    assert {edit.family for edit in draws(50, families=("grey", "fog"))} == {"grey", "fog"}
    with pytest.raises(DataError, match="'gray'.*known are brighter"):
        draws(1, families=("gray",))


def test_families_can_have_weights() -> None:
    drawn = [edit.family for edit in draws(200, families={"grey": 3, "fog": 1})]
    assert set(drawn) == {"grey", "fog"} and 2 < drawn.count("grey") / drawn.count("fog") < 4


def test_families_that_need_objects_are_drawn_where_there_are_some(objects: Objects) -> None:
    sampler = EditSampler([STREET], objects=objects)
    assert set(sampler.names) == {name for name, family in FAMILIES.items() if family.takes(STREET)}
    assert "object_add" not in EditSampler([STREET]).names
    with pytest.raises(DataError, match="object_add puts objects on photographs; give a folder"):
        EditSampler([STREET], families=("object_add",))


def test_an_edit_is_made_again_from_its_meta(photo: Callable[..., Pixels], objects: Objects) -> None:
    scene = Scene(pixels=photo(0), objects=objects)
    for name, family in FAMILIES.items():
        if (edit := make_edit(family, scene, np.random.default_rng(1))) is None:
            continue
        again = MadeEdit.from_meta(json.loads(json.dumps(edit.meta)))
        made, remade = edit.make(scene), again.make(scene)
        assert again.check(remade, made.target), name
        assert np.array_equal(remade.target, made.target)


def test_vague_instructions_come_as_often_as_wanted_and_are_marked() -> None:
    some = draws(400, vague_rate=0.3)
    assert 0.22 < np.mean([edit.vague for edit in some]) < 0.38
    assert all(edit.meta.get("vague", False) == edit.vague for edit in some)
    assert not any(edit.vague for edit in draws(50))
    vague = draws(300, vague_rate=1.0, families=("tint", "grey"))
    assert all(edit.vague for edit in vague)
    assert not any("black and white" in edit.instruction or " red" in edit.instruction for edit in vague)
    assert any(" red" in edit.expressive for edit in vague)


def test_invented_names_are_said_in_instruction_and_expressive_alike(
    photo: Callable[..., Pixels], objects: Objects
) -> None:
    scene, rng = Scene(pixels=photo(0), objects=objects), np.random.default_rng(2)
    for _ in range(20):
        edit = make_edit(FAMILIES["object_recolour"], scene, rng, invented_rate=1)
        assert edit is not None and edit.params["object"] in objects.names("train")
        assert edit.params["object"] not in edit.expressive.lower().replace(edit.params["other"], "")
        words = edit.instruction.lower().replace("?", " ").replace(".", " ").replace(",", " ").split()
        assert any(f" {word} " in f" {edit.expressive.lower()} " for word in words if word not in COMMON)
        assert edit.params["other"] in edit.expressive  # which the instruction does not name
    named = {edit.expressive for edit in draws(40, families=("grey",), invented_rate=1)}
    assert any("building" in text for text in named)  # families that name nothing are left alone


def test_misplaced_words_err_in_what_the_picture_shows_alone(
    photo: Callable[..., Pixels], objects: Objects
) -> None:
    scene, rng = Scene(pixels=photo(0), objects=objects), np.random.default_rng(3)
    wrong = 0
    for _ in range(40):
        edit = make_edit(FAMILIES["object_move"], scene, rng, misplaced_rate=1)
        assert edit is not None and edit.params["to"] in edit.expressive  # which the instruction says
        assert edit.params["object"] in edit.expressive
        wrong += edit.params["place"] not in edit.expressive.replace(edit.params["to"], "")
    assert wrong > 25
    for _ in range(10):
        added = make_edit(FAMILIES["object_add"], scene, rng, misplaced_rate=1)
        assert added is not None and added.params["place"] in added.expressive


def test_vague_wordings_are_held_out_for_all_families_alike() -> None:
    def vague(split: Split) -> set[str]:
        patterns = [pattern for family in FAMILIES.values() for pattern in family.wordings.vague]
        return {text for _, group in templates(tuple(patterns), (), "vague", split, NONE) for text in group}

    train, test = vague("train"), vague("test")
    assert len(train) > 200 and len(test) > 30 and not train & test


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "family of edits 'None'"),
        ({"family": "gray", "params": {}}, "'gray'"),
        ({"family": "tint", "params": {"colour": "red"}}, "expected colour, strength"),
        (
            {"family": "tint", "params": {"colour": "beige", "strength": "normal"}},
            "'beige'; expected one of red",
        ),
        ({"family": "grey", "params": None}, "expected none"),
    ],
)
def test_wrong_meta_is_refused(meta: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        MadeEdit.from_meta(meta)


def test_real_requests_are_used_for_a_quarter_and_by_split(tmp_path: Path) -> None:
    rows = [
        {"family": "grey", "params": {}, "instruction": "REAL train", "split": "train"},
        {"family": "grey", "params": {}, "instruction": "REAL test", "split": "test"},
        {"family": "darker", "params": {"strength": "strong"}, "instruction": "REAL dark", "split": "train"},
    ]
    (tmp_path / "requests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    requests = Requests.read(tmp_path)
    grey = [edit.instruction for edit in draws(800, families=("grey",), requests=requests)]
    assert "REAL test" not in grey and 0.2 < np.mean([text == "REAL train" for text in grey]) < 0.3
    held_out = [
        edit.instruction for edit in draws(100, families=("grey",), wording_split="test", requests=requests)
    ]
    assert "REAL test" in held_out and "REAL train" not in held_out
    for edit in draws(100, families=("darker",), requests=requests):
        assert edit.instruction != "REAL dark" or edit.params == {"strength": "strong"}


@pytest.mark.parametrize(
    "line", ['{"family": "grey"}', "[]", "{", '{"family": 1, "instruction": "", "split": ""}']
)
def test_wrong_requests_are_refused_with_their_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n" + line + "\n")
    with pytest.raises(DataError, match=r"mine\.jsonl:2"):
        Requests.read(file)

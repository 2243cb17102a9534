import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mgie.data.photographs import Photograph
from mgie.data.synth import FAMILIES, MadeEdit, Pixels, Requests, make_edit
from mgie.errors import DataError

STREET = Photograph(path=Path("street.jpg"), names=("building", "road"))


def test_same_seed_same_edit() -> None:
    first, second = (
        [make_edit(STREET, np.random.default_rng([7, i])) for i in range(20)],
        [make_edit(STREET, np.random.default_rng([7, i])) for i in range(20)],
    )
    assert first == second
    assert len({edit.instruction for edit in first}) > 15


def test_every_family_is_drawn_and_tints_more_often() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(make_edit(STREET, rng).family for _ in range(3000))
    assert drawn.keys() == FAMILIES.keys()
    assert drawn["tint"] > 2.5 * drawn["grey"]


def test_families_can_be_chosen() -> None:
    rng = np.random.default_rng(0)
    assert {make_edit(STREET, rng, families=("grey", "fog")).family for _ in range(50)} == {"grey", "fog"}
    with pytest.raises(DataError, match="'gray'.*known are brighter"):
        make_edit(STREET, rng, families=("gray",))


def test_an_edit_is_made_again_from_its_meta(photo: Callable[..., Pixels]) -> None:
    pixels = photo(0)
    for name in FAMILIES:
        edit = make_edit(STREET, np.random.default_rng(1), families=(name,))
        again = MadeEdit.from_meta(json.loads(json.dumps(edit.meta)))
        assert again.check(pixels, edit.apply(pixels))
        assert np.array_equal(again.apply(pixels), edit.apply(pixels))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "family of edits None"),
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
    rng = np.random.default_rng(0)
    grey = [make_edit(STREET, rng, families=("grey",), requests=requests).instruction for _ in range(800)]
    assert "REAL test" not in grey and 0.2 < np.mean([text == "REAL train" for text in grey]) < 0.3
    held_out = [
        make_edit(STREET, rng, families=("grey",), wording_split="test", requests=requests).instruction
        for _ in range(100)
    ]
    assert "REAL test" in held_out and "REAL train" not in held_out
    for _ in range(100):
        edit = make_edit(STREET, rng, families=("darker",), requests=requests)
        assert edit.instruction != "REAL dark" or edit.params == {"strength": "strong"}


@pytest.mark.parametrize(
    "line", ['{"family": "grey"}', "[]", "{", '{"family": 1, "instruction": "", "split": ""}']
)
def test_wrong_requests_are_refused_with_their_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n" + line + "\n")
    with pytest.raises(DataError, match=r"mine\.jsonl:2"):
        Requests.read(file)

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgie.data.records import Record, read_pairs, read_records, write_records
from mgie.errors import DataError

ROW: dict[str, Any] = {
    "id": "1",
    "task": "edit",
    "images": ["a.png"],
    "target": "b.png",
    "instruction": "make it red",
}
FULL = Record(
    id="2",
    task="compose",
    images=("a.png", "c.png"),
    target=None,
    instruction="put <image> on <image>",
    expressive="Größer würde es.",
    mask="m.png",
    media=({"type": "audio", "path": "a.wav"},),
    response="yes",
    group={"id": "g", "turn": 1},
    split="test",
    source="set:7",
    meta={"family": "tint", "params": {"colour": "red"}},
)


def write(folder: Path, *rows: object) -> Path:
    file = folder / "records.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def test_round_trip_by_folder_and_by_file(tmp_path: Path) -> None:
    minimal = Record(id="1", task="edit", images=(), target="b.png", instruction="")
    file = write_records([minimal, FULL], tmp_path)
    assert file == tmp_path / "records.jsonl"
    assert read_records(tmp_path) == read_records(file) == [minimal, FULL]


def test_optional_fields_may_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, ROW)
    assert read_records(tmp_path) == [
        Record(id="1", task="edit", images=("a.png",), target="b.png", instruction="make it red")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"task": "paint"}, "'paint'; expected one of edit, compose"),
        ({"images": "a.png"}, "'images' is 'a.png'; expected a list of paths"),
        ({"images": [1]}, "expected a list of paths"),
        ({"target": 3}, "'target' is 3; expected a path or null"),
        ({"instruction": None}, "'instruction' is None; expected a text"),
        ({"group": {"id": "g"}}, "expected an object with id and turn"),
        ({"meta": []}, "'meta' is \\[\\]; expected an object"),
        ({"media": ["a.wav"]}, "expected a list of objects"),
    ],
)
def test_wrong_field_is_refused_with_file_and_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path, ROW, ROW | {"id": "2"} | change)
    with pytest.raises(DataError, match=f"{file}:2: .*{message}"):
        read_records(tmp_path)


@pytest.mark.parametrize("name", list(ROW))
def test_missing_field_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in ROW.items() if key != name})
    with pytest.raises(DataError, match=f":1: field '{name}' is missing"):
        read_records(tmp_path)


def test_id_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ROW, ROW | {"id": "2"}, ROW)
    with pytest.raises(DataError, match=":3: id '1' is in line 1 too"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]", "nonsense"])
def test_what_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(content)
    with pytest.raises(DataError, match=":1: .*expected one object on each line"):
        read_records(tmp_path)


def test_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_records(tmp_path)
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot read .*UTF-8"):
        read_records(tmp_path)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = write_records([FULL], tmp_path)
    before = file.read_bytes()

    def records() -> Iterator[Record]:
        yield FULL
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device"):
        write_records(records(), tmp_path)
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["records.jsonl"]


def test_pairs_are_edits_of_one_picture_whose_files_are_there(tmp_path: Path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    assert read_pairs(write(tmp_path, ROW, ROW | {"id": "2", "target": None})) == [
        Record(**ROW | {"images": ("a.png",)})
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "c.png"}, r"record '1' of .* names c\.png, which is not there"),
        ({"mask": "m.png"}, r"record '1' of .* names m\.png, which is not there"),
        ({"instruction": " "}, r"record '1' of .* has an empty instruction"),
    ],
)
def test_broken_pairs_are_named(tmp_path: Path, changes: dict[str, Any], message: str):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        read_pairs(write(tmp_path, ROW | changes))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    file = write(tmp_path, ROW)
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert [record.id for record in read_records(file)] == ["1"]

"""What training sees, and in which order."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgie.config import DataConfig
from mgie.data.dataset import PhotographDataset, RecordDataset, Sample, StepSampler, open_dataset
from mgie.data.records import Record, write_records
from mgie.data.synth import Box
from mgie.data.synth.layout import PLACES, SCALES, Placed, box_of
from mgie.errors import DataError, MGIEError
from mgie.prompts import DESCRIBE, LOCATE

SIZE = (48, 32)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four photographs, three named, one held out."""
    folder = tmp_path_factory.mktemp("photographs")
    rows = []
    for i, (width, height) in enumerate([(80, 60), (60, 90), (64, 64), (70, 50)]):
        Image.fromarray(noise(i, width, height)).save(folder / f"{i}.png")
        rows.append(
            {"image": f"{i}.png", "names": ["cat", "tree"][: i % 3], "split": "test" if i == 3 else "train"}
        )
    rows[1]["captions"] = ["A cat sits still."]
    (folder / "photographs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of two records; targets are the sources inverted."""
    (tmp_path / "images").mkdir()
    records = []
    for i, (width, height) in enumerate([(90, 60), (64, 80)]):
        source = noise(i, width, height)
        Image.fromarray(source).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(255 - source).save(tmp_path / "images" / f"{i}.t.png")
        records.append(
            Record(
                id=str(i),
                task="edit",
                images=(f"images/{i}.png",),
                target=f"images/{i}.t.png",
                instruction="invert it",
                expressive="All colours would be inverted." if i else None,
            )
        )
    write_records(records, tmp_path)
    return tmp_path


def noise(seed: int, width: int, height: int) -> np.ndarray:
    """Returns smooth noise (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(30, 225, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def same(a: Sample, b: Sample) -> bool:
    pictures = np.array_equal(a.source, b.source) and np.array_equal(a.target, b.target)
    return (
        pictures
        and a.picture.tobytes() == b.picture.tobytes()
        and (a.question, a.answer) == (b.question, b.answer)
    )


def test_some_edits_are_asked_for_by_another_question(photographs: Path):
    config = DataConfig(photographs=str(photographs), exchanged_rate=0.5)
    rows = [PhotographDataset(config, 0)[i, (32, 32)] for i in range(60)]
    exchanged = [row for row in rows if row.instead is not None]
    assert 15 < len(exchanged) < 45
    assert all(row.instead.startswith("what will this image be like if") for row in exchanged if row.instead)
    assert sum(row.instead != row.question for row in exchanged) > 0.9 * len(exchanged)


@pytest.mark.parametrize("describe_rate", [0.0, 0.5])
def test_a_row_is_a_pure_function_of_its_index(photographs: Path, describe_rate: float):
    config = DataConfig(photographs=str(photographs), describe_rate=describe_rate)
    rows = [open_dataset(config, 3)[i, SIZE] for i in range(8)]
    other = open_dataset(config, 3)
    for i in reversed(range(8)):
        assert same(other[i, SIZE], rows[i])
    assert len({row.source.tobytes() for row in rows}) == 8
    assert not same(open_dataset(config, 4)[0, SIZE], rows[0])


def test_rows_are_as_a_stage_wants_them(photographs: Path):
    dataset = PhotographDataset(DataConfig(photographs=str(photographs), families=["invert"]), 0)
    for i in range(6):
        row = dataset[i, SIZE]
        assert row.source.shape == row.target.shape == (32, 48, 3)
        assert row.source.dtype == row.target.dtype == np.float32
        assert row.source.min() >= 0 and row.source.max() <= 1
        assert abs(row.picture.width / row.picture.height - 1.5) < 0.05  # the vision tower sees the same crop
        assert np.abs(row.target - row.source).mean() > 0.02
        assert row.question.startswith("what will this image be like if '")
        assert row.answer.endswith("[IMG7]")


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """A folder of three objects."""
    rows = []
    for i, name in enumerate(("cup", "kite", "sofa")):
        Image.new("RGBA", (20, 20), (90 * i, 200, 250 - 90 * i, 255)).save(tmp_path / f"{name}.png")
        rows.append({"name": name, "image": f"{name}.png", "split": "train"})
    (tmp_path / "objects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_photographs_of_other_edits_may_have_things_on_them(photographs: Path, objects: Path):
    families = {"invert": 3, "object_odd_one_out": 1}
    config = DataConfig(photographs=str(photographs), objects=str(objects), families=families)
    plain, crowded = (
        [PhotographDataset(replace(config, crowded_rate=rate), 0)[i, SIZE] for i in range(40)]
        for rate in (0.0, 0.5)
    )
    inverted = [row for row in crowded if np.allclose(row.target, 1 - row.source, atol=0.01)]
    on_them = [row for row in inverted if row.things]
    assert 8 < len(on_them) < len(inverted) - 8
    for row in on_them:
        names = [name for name, _ in row.things]
        assert max(map(names.count, names)) >= 2 and len(set(names)) == 2  # the odd one, and the others
        assert np.array_equal(np.asarray(row.picture), (row.source * 255 + 0.5).astype(np.uint8))
    assert not any(row.things for row in plain if np.allclose(row.target, 1 - row.source, atol=0.01))
    with pytest.raises(DataError, match="crowded_rate is 0.5, and no family puts objects on photographs"):
        PhotographDataset(replace(config, crowded_rate=0.5, families=["invert"]), 0)


def test_rows_with_objects_on_them(photographs: Path, objects: Path):
    config = DataConfig(photographs=str(photographs), objects=str(objects), families=["object_remove"])
    dataset = PhotographDataset(config, 0)
    for i in range(6):
        row = dataset[i, SIZE]
        assert np.abs(row.source - row.target).max() > 0.2
        # The vision tower sees the object too.
        assert np.array_equal(np.asarray(row.picture), (row.source * 255 + 0.5).astype(np.uint8))
        assert any(name in row.answer for name in ("cup", "kite", "sofa"))
    located = PhotographDataset(replace(config, describe_rate=1.0), 0)
    rows = [row for row in (located[i, SIZE] for i in range(12)) if row.question == LOCATE]
    assert 6 < len(rows) < 12
    assert all(np.array_equal(row.source, row.target) for row in rows)
    for row in rows:
        ((name, box),) = row.things[-1:]
        assert isinstance(box, Box)
        listed = [place for place in PLACES if f"{name} {place}" in row.answer]
        assert any(
            box == box_of(Placed(name, place, share), row.source.shape)
            for place in listed
            for share in SCALES.values()
        )


def test_described_pictures(photographs: Path):
    dataset = PhotographDataset(DataConfig(photographs=str(photographs), describe_rate=1.0), 0)
    rows = [dataset[i, SIZE] for i in range(12)]
    assert {row.question for row in rows} == {DESCRIBE}
    assert all("cat" in row.answer and "[IMG" not in row.answer for row in rows)
    assert any("A cat sits still." in row.answer for row in rows)
    assert all(np.array_equal(row.source, row.target) for row in rows)


def test_another_light_is_that_of_the_whole_row(photographs: Path):
    plain, lit = (
        PhotographDataset(DataConfig(photographs=str(photographs), families=["grey"], light=light), 0)
        for light in (0.0, 0.3)
    )
    changed = 0
    for i in range(6):
        row, other = plain[i, SIZE], lit[i, SIZE]
        changed += not np.array_equal(row.source, other.source)
        seen = np.asarray(other.picture.resize(SIZE, Image.Resampling.LANCZOS))
        assert np.abs(seen - other.source * 255).mean() < 2  # cropped and lit, in the one order or the other
        assert np.ptp(other.target, axis=2).max() < 0.01  # the target is made of what is lit
    assert changed == 6


def test_held_out_photographs_stay_out(photographs: Path):
    train = PhotographDataset(DataConfig(photographs=str(photographs)), 0)
    test = PhotographDataset(DataConfig(photographs=str(photographs), split="test"), 0)
    assert {p.path.name for p in train.photographs} == {"0.png", "1.png", "2.png"}
    assert [p.path.name for p in test.photographs] == ["3.png"]


def test_source_and_target_of_a_pair_are_cropped_alike(pairs: Path):
    dataset = RecordDataset(DataConfig(records=str(pairs), crop=[0.4, 0.9]), 0)
    rows = [dataset[i, SIZE] for i in range(10)]
    for row in rows:
        np.testing.assert_allclose(row.target, 1 - row.source, atol=0.02)
        assert row.source.std() > 0.02
    assert len({row.source.tobytes() for row in rows}) == 10


def test_pairs_are_found_from_any_folder(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    for records in (pairs, pairs / "records.jsonl"):
        dataset = RecordDataset(DataConfig(records=str(records)), 0)
        answers = {dataset[i, SIZE].answer.partition(" [IMG")[0] for i in range(12)}
        assert answers == {
            "invert it",
            "All colours would be inverted.",
        }  # the instruction where nothing better is known


def test_unequal_pairs_are_refused(pairs: Path):
    for i in range(2):
        Image.new("RGB", (50, 50)).save(pairs / "images" / f"{i}.t.png")
    with pytest.raises(DataError, match="make them equal"):
        RecordDataset(DataConfig(records=str(pairs)), 0)[0, SIZE]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "validation"}, "no photographs of split 'validation'"),
        ({"photographs": "nowhere"}, "nowhere"),
        ({"families": ["tinge"]}, "tinge"),
    ],
)
def test_what_cannot_be_learned_from(values: dict[str, Any], message: str, photographs: Path):
    config = DataConfig(**{"photographs": str(photographs), **values})
    with pytest.raises(MGIEError, match=message):
        open_dataset(config, 0)[0, SIZE]


@pytest.mark.parametrize(
    ("instruction", "expressive", "mirrored"),
    [
        ("brighten it", None, {False, True}),
        ("brighten it", "A window on the Left would shine.", {False}),
        ("make the rightmost cup red", "The cup would be red.", {False}),
    ],
)
def test_pairs_that_speak_of_sides_are_not_mirrored(
    instruction: str, expressive: str | None, mirrored: set[bool], tmp_path: Path
):
    Image.linear_gradient("L").rotate(90).convert("RGB").save(tmp_path / "0.png")
    row = Record(
        id="0",
        task="edit",
        images=("0.png",),
        target="0.png",
        instruction=instruction,
        expressive=expressive,
        meta={"vague": True},
    )
    write_records([row], tmp_path)
    dataset = RecordDataset(DataConfig(records=str(tmp_path)), 0)
    rows = [dataset[i, SIZE] for i in range(20)]
    assert {bool(row.source[0, 0, 0] > row.source[0, -1, 0]) for row in rows} == mirrored
    assert all(row.vague for row in rows)


def test_records_that_are_no_edits_are_refused(tmp_path: Path):
    write_records([Record(id="0", task="generate", images=(), target="a.png", instruction="a cat")], tmp_path)
    with pytest.raises(DataError, match="no edit records of split 'train'"):
        RecordDataset(DataConfig(records=str(tmp_path)), 0)


def test_processes_share_the_rows_out():
    sizes = [(32, 32), (48, 32)]
    ranks = [list(StepSampler(sizes, 5, 3, range(7), rank=r, world_size=2)) for r in range(2)]
    alone = list(StepSampler(sizes, 5, 6, range(7)))
    for batch, (first, second) in enumerate(zip(*ranks, strict=True)):
        assert first + second == alone[batch]  # so two processes of 3 rows are one of 6
        assert len({size for _, size in first + second}) == 1
    indices = [index for rank in ranks for batch in rank for index, _ in batch]
    assert sorted(indices) == list(range(42))
    assert {size for batch in alone for _, size in batch} == set(sizes)


def test_a_resumed_sampler_goes_on_where_it_was():
    sizes = [(32, 32), (48, 32), (32, 48)]
    whole = StepSampler(sizes, 1, 4, range(9), rank=1, world_size=3)
    rest = StepSampler(sizes, 1, 4, range(4, 9), rank=1, world_size=3)
    assert list(whole)[4:] == list(rest)
    assert (len(whole), len(rest)) == (9, 5)

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.data.photographs import Photograph, read_photographs
from mgie.data.records import read_records
from mgie.data.synth import EditSampler, Made, MadeEdit, Objects, Pixels, Scene, synthesise
from mgie.errors import CheckpointError, DataError


@pytest.fixture
def photographs(photo: Callable[..., Pixels], tmp_path: Path) -> list[Photograph]:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray((photo(seed, 64, 80 + seed) * 255).astype(np.uint8)).save(folder / f"{seed}.png")
    return read_photographs(folder)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), np.float32) / 255


def test_writes_a_dataset_that_reads_back_and_checks(photographs: list[Photograph], tmp_path: Path) -> None:
    families = EditSampler(photographs).taken
    out, count = tmp_path / "made", 2 * len(families)
    written = list(synthesise(photographs, out, count, seed=1))
    records = read_records(out)
    assert records == written and len(records) == count
    assert set(Counter(record.meta["family"] for record in records).values()) == {2}
    for record in records:
        assert record.task == "edit" and record.target is not None and record.expressive
        source, target = read(out / record.images[0]), read(out / record.target)
        assert source.shape == target.shape and source.shape[0] == 64
        edit = MadeEdit.from_meta(record.meta)
        made = edit.make(Scene(pixels=source))
        assert edit.check(made, target)
        assert np.abs(made.target - target).max() <= 0.5 / 255 + 1e-6


def test_a_dataset_of_objects_has_what_its_checks_need(
    photographs: list[Photograph], objects: Objects, tmp_path: Path
) -> None:
    out, families = tmp_path / "made", ("object_add", "object_move", "object_odd_one_out")
    list(synthesise(photographs, out, 6, seed=2, families=families, objects=objects, vague_rate=0.5))
    kept = Objects.read(out / "objects")
    assert kept.splits == objects.splits
    for record in read_records(out):
        assert record.target is not None and record.mask is not None
        source, target = read(out / record.images[0]), read(out / record.target)
        mask = np.asarray(Image.open(out / record.mask)) > 0
        edit = MadeEdit.from_meta(record.meta)
        made = Made(source=source, target=target, mask=mask, objects=kept)
        assert edit.check(made, target) and not edit.check(made, source)


def test_same_seed_same_bytes(photographs: list[Photograph], tmp_path: Path) -> None:
    for name in ("a", "b"):
        list(synthesise(photographs, tmp_path / name, 6, seed=3))
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 13
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_record_does_not_depend_on_those_before_it(photographs: list[Photograph], tmp_path: Path) -> None:
    made = {
        first: list(synthesise(photographs, tmp_path / first, 4, seed=3, families=(first, "fog")))
        for first in ("grey", "border")
    }
    one, other = (records[1::2] for records in made.values())
    assert one == other and one[0].expressive != one[1].expressive


def test_the_folder_comes_whole_or_not_at_all(photographs: list[Photograph], tmp_path: Path) -> None:
    out, families = tmp_path / "made", ("grey", "fog")
    out.mkdir()
    stopped = synthesise(photographs, out, 3, seed=0, families=families)
    assert next(stopped).meta["family"] == "grey"
    with pytest.raises(KeyboardInterrupt):
        stopped.throw(KeyboardInterrupt())
    (tmp_path / "broken.png").write_bytes(b"nothing")
    broken = [Photograph(path=tmp_path / "broken.png")]
    with pytest.raises(DataError, match="broken"):
        list(synthesise([*photographs, *broken], out, 30, seed=0, families=families))
    assert not list(out.iterdir()) and not (tmp_path / "made.new").exists()
    progress = synthesise(photographs, out, 3, seed=0, families=families)
    assert [record.meta["family"] for record in progress] == ["grey", "fog", "grey"]
    assert len(read_records(out)) == 3


def test_what_is_there_already_stays(photographs: list[Photograph], tmp_path: Path) -> None:
    out = tmp_path / "made"
    list(synthesise(photographs, out, 2, seed=0))
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    with pytest.raises(DataError, match=r"made is there already and is not empty"):
        next(synthesise(photographs, out, 2, seed=1))
    assert before == {path: path.read_bytes() for path in out.rglob("*.*")}


def test_what_cannot_be_done_is_said(photographs: list[Photograph], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photographs"):
        next(synthesise([], tmp_path / "made", 1, seed=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        next(synthesise(photographs, tmp_path / "file" / "made", 1, seed=0))
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "plain.png")
    plain = [Photograph(path=tmp_path / "plain.png")]
    with pytest.raises(DataError, match="grey showed on none"):
        next(synthesise(plain, tmp_path / "made", 1, seed=0, families=("grey",)))

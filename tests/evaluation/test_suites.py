"""The table suite on the toy pipeline: what the rows are, not how good a random model is."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgie.data.records import read_records, write_records
from mgie.data.synth import as_pixels
from mgie.errors import DataError
from mgie.evaluation import Case, Metrics, evaluate, l1
from mgie.evaluation.suites import edit_records
from mgie.images import open_image, resize
from mgie.pipeline import MGIEPipeline
from tests.evaluation.made import make_records


@pytest.fixture(scope="module")
def made_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def cases(pipeline: MGIEPipeline, made_records: Path) -> list[Case]:
    return evaluate(pipeline, made_records, batch_size=2, seed=5)


def test_every_record_has_every_row(cases: list[Case], made_records: Path):
    assert [case.id for case in cases] == [record.id for record in read_records(made_records)]
    assert [case.family for case in cases] == ["grey", "darker", "invert", "grey", "darker"]
    for case in cases:
        assert list(case.figures) == ["model", "model, bare", "copy input", "autoencoder only"]
        for figures in case.figures.values():
            assert set(figures) == {"l1", "ssim", "success"}
            assert np.isfinite(list(figures.values())).all()


def test_copy_row_is_the_source_against_the_target(cases: list[Case], made_records: Path):
    for case, record in zip(cases, read_records(made_records), strict=True):
        source, target = (
            as_pixels(open_image(made_records / p)) for p in (record.images[0], record.target or "")
        )
        assert case.figures["copy input"]["l1"] == pytest.approx(l1(source, target))
        assert case.figures["copy input"]["success"] == 0


def test_model_rows_are_the_pipelines_pictures(cases: list[Case], pipeline: MGIEPipeline, made_records: Path):
    record = read_records(made_records)[3]
    source, target = (open_image(made_records / p) for p in (record.images[0], record.target or ""))
    edited: list[Any] = [
        pipeline(source, record.instruction, generator=torch.Generator().manual_seed(5 + 3), keep_native=keep)
        for keep in (True, False)
    ]
    native, bare = (output.images[0] for output in edited)
    figures = cases[3].figures
    assert figures["model"]["l1"] == pytest.approx(l1(as_pixels(native), as_pixels(target)), abs=1e-3)
    small = as_pixels(resize(target, bare.size))
    assert figures["model, bare"]["l1"] == pytest.approx(l1(as_pixels(bare), small), abs=1e-3)


def test_autoencoder_row_does_not_depend_on_the_edit(
    cases: list[Case], pipeline: MGIEPipeline, made_records: Path
):
    again = evaluate(pipeline, made_records, batch_size=5, seed=9)
    for one, other in zip(cases, again, strict=True):
        assert one.figures["autoencoder only"] == other.figures["autoencoder only"]
    assert any(
        a.figures["model"]["l1"] != b.figures["model"]["l1"] for a, b in zip(cases, again, strict=True)
    )


def test_limit_and_progress(cases: list[Case], pipeline: MGIEPipeline, made_records: Path):
    steps = []
    some = evaluate(
        pipeline,
        made_records,
        metrics=Metrics(),
        batch_size=2,
        seed=5,
        limit=3,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(2, 3), (3, 3)]
    assert [case.figures["copy input"] for case in some] == [case.figures["copy input"] for case in cases[:3]]


def test_pairs_of_unknown_origin_have_no_success(pipeline: MGIEPipeline, made_records: Path, tmp_path: Path):
    record = dataclasses.replace(read_records(made_records)[0], meta={})
    (tmp_path / "images").symlink_to(made_records / "images")
    (case,) = evaluate(pipeline, write_records([record], tmp_path))
    assert case.family == "other"
    assert all("success" not in figures for figures in case.figures.values())


def test_bad_data_is_one_line(pipeline: MGIEPipeline, made_records: Path, tmp_path: Path):
    record = read_records(made_records)[0]
    with pytest.raises(DataError, match="no edit records"):
        evaluate(pipeline, write_records([dataclasses.replace(record, target=None)], tmp_path))
    (tmp_path / "images").symlink_to(made_records / "images")
    unknown = dataclasses.replace(record, meta={"family": "zzz", "params": {}})
    with pytest.raises(DataError, match="record '000000' of .*zzz"):
        edit_records(write_records([unknown], tmp_path))
    open_image(made_records / (record.target or "")).resize((20, 20)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"record 000000: .*\(20, 20\) differ; make them equal"):
        evaluate(pipeline, write_records([dataclasses.replace(record, target="small.png")], tmp_path))


def test_the_records_own_words_can_be_painted_by(pipeline: MGIEPipeline, made_records: Path, tmp_path: Path):
    records = read_records(made_records)
    cases = evaluate(pipeline, made_records, expressive=True, limit=2)
    assert [case.expressive_instruction for case in cases] == [record.expressive for record in records[:2]]
    written = evaluate(pipeline, made_records, limit=2)
    assert cases[0].figures["model"]["l1"] != written[0].figures["model"]["l1"]

    (tmp_path / "made").mkdir()
    folder = make_records(tmp_path / "made")
    write_records([dataclasses.replace(record, expressive=None) for record in read_records(folder)], folder)
    with pytest.raises(DataError, match="record 000000 .* has no expressive instruction"):
        evaluate(pipeline, folder, expressive=True)

"""The imagination suite, on pipelines that listen to the words, and on one that does not."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from mgie.data.photographs import read_photographs
from mgie.data.records import read_records, write_records
from mgie.data.synth import MadeEdit, Scene, as_picture, as_pixels, make_edit, synthesise
from mgie.evaluation import check_imagination, imagination
from mgie.evaluation.tables import Finding
from mgie.pipeline import MGIEPipeline, MGIEPipelineOutput
from tests.evaluation.made import make_records

VAGUE = "vague instruction, text of another edit: the text's edit lands"
PLAIN = "plain instruction, text of another edit: the text's edit lands"
OWN = "plain instruction, text of another edit: the instruction's own edit of the whole picture shows"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six edits, about half of them with vague instructions."""
    folder = tmp_path_factory.mktemp("made")
    make_records(folder)
    photographs = read_photographs(folder / "photographs")
    list(
        synthesise(photographs, folder / "both", 8, 1, families=["grey", "darker", "invert"], vague_rate=0.5)
    )
    return folder / "both"


class Listening:
    """Makes the edit that the words describe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.edits: dict[str, MadeEdit] = {}

        def noted(*args, **options) -> MadeEdit | None:
            edit = make_edit(*args, **options)
            if edit is not None:
                self.edits[edit.expressive] = edit
            return edit

        monkeypatch.setattr(imagination, "make_edit", noted)

    def __call__(
        self, image: list[Image.Image], instruction: list[str], *, expressive_instruction: list[str], **_
    ) -> MGIEPipelineOutput:
        edits = [
            as_picture(self.edit(*row).make(Scene(pixels=as_pixels(picture))).target)
            for picture, *row in zip(image, instruction, expressive_instruction, strict=True)
        ]
        return MGIEPipelineOutput(images=edits, expressive_instructions=expressive_instruction, seconds={})

    def edit(self, instruction: str, words: str) -> MadeEdit:
        return self.edits[words]


def check(pipeline: object, records: Path, **options) -> dict[str, Finding]:
    findings = check_imagination(cast(MGIEPipeline, pipeline), records, **options)
    return {finding.name.rsplit(", of ", 1)[0]: finding for finding in findings}


def test_a_model_that_listens_to_the_words(records: Path, monkeypatch: pytest.MonkeyPatch):
    steps = []
    found = check(Listening(monkeypatch), records, progress=lambda *step: steps.append(step), batch_size=3)
    assert found.keys() == {VAGUE, PLAIN, OWN}
    assert found[VAGUE].value == found[PLAIN].value == 1
    assert found[VAGUE].met and found[PLAIN].met
    assert steps[-1] == (16, 16)


def test_a_model_that_only_hears_the_instruction_is_found_out(records: Path, monkeypatch: pytest.MonkeyPatch):
    own = {record.instruction: MadeEdit.from_meta(record.meta) for record in read_records(records)}

    class Deaf(Listening):
        def edit(self, instruction: str, words: str) -> MadeEdit:
            return own[instruction]

    found = check(Deaf(monkeypatch), records)
    assert found[PLAIN].value < 0.5 and not found[PLAIN].met
    assert found[OWN].value == 1 and not found[OWN].met


def test_an_edit_that_cannot_be_judged_is_no_edit_that_does_not_show(
    records: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [record for record in read_records(records) if not record.meta.get("vague")]
    params = {"region": "sky", "others": "", "colour": "red", "place": "at the top"}
    part = {"family": "region_tint", "params": params}
    write_records([rows[0], replace(rows[1], meta=part)], records / "part.jsonl")

    class Deaf(Listening):
        def edit(self, instruction: str, words: str) -> MadeEdit:
            return MadeEdit.from_meta(rows[0].meta)

    found = check_imagination(cast(MGIEPipeline, Deaf(monkeypatch)), records / "part.jsonl")
    assert [finding.name.rsplit(" ", 1)[-1] for finding in found] == ["4", "2"]
    assert found[1].value == 1


def test_as_many_records_as_wanted(pipeline: MGIEPipeline, records: Path):
    found = check_imagination(pipeline, records, records=1)
    assert [finding.name.rsplit(" ", 1)[-1] for finding in found[:2]] == ["2", "2"]

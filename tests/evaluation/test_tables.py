"""Tables from made-up figures, worked out by hand."""

import json
from pathlib import Path

import pytest

from mgie.errors import DataError
from mgie.evaluation.tables import ROWS, Case, Evaluation, Finding, to_json, to_markdown, write_tables


def case(number: int, family: str, model: float, success: float | None = None) -> Case:
    figures = {row: {"l1": 0.4, "ssim": 0.5} for row in ROWS}
    figures["model"]["l1"] = model
    if success is not None:
        for row in ROWS:
            figures[row]["success"] = success
    return Case(
        id=f"{number}",
        family=family,
        kind="other" if family == "other" else "whole picture",
        instruction="do",
        expressive_instruction="done",
        figures=figures,
    )


EVALUATION = Evaluation(
    model="toy",
    cases=[case(0, "tint", 0.1, 1.0), case(1, "tint", 0.3, 0.0), case(2, "other", 0.4)],
    findings=[Finding(name="same seed", value=1, wanted="at least 1", met=True)],
)


def test_means_ratios_and_errors():
    values = json.loads(to_json(EVALUATION))
    assert values["count"] == 3 and values["families"]["tint"]["count"] == 2
    tint = values["families"]["tint"]["rows"]["model"]
    assert tint["l1"] == pytest.approx(0.2)
    assert tint["l1_standard_error"] == pytest.approx(0.1)  # deviation 0.1 sqrt(2) over sqrt(2)
    assert tint["success"] == 0.5
    assert values["families"]["tint"]["ratio"] == pytest.approx(0.5)
    assert "success" not in values["families"]["other"]["rows"]["model"]
    micro, macro = values["micro"], values["macro"]
    assert micro["rows"]["model"]["l1"] == pytest.approx(0.8 / 3, abs=1e-5)
    assert macro["rows"]["model"]["l1"] == pytest.approx(0.3)
    assert macro["ratio"] == pytest.approx(0.75)
    assert micro["rows"]["model"]["success"] == 0.5, "pairs of unknown origin have no success"
    assert values["behaviour"] == [{"name": "same seed", "value": 1, "wanted": "at least 1", "met": True}]
    assert [row["id"] for row in values["cases"]] == ["0", "1", "2"]


def test_markdown_has_every_row_and_family():
    text = to_markdown(EVALUATION)
    assert "| model | 0.2667 ± 0.0882 | 0.5000 | 50.0% |" in text
    assert "L1 of *model* is 0.667 of the L1 of *copy input*." in text
    assert "| tint | 2 | 0.50 | 0.2000 ± 0.1000 |" in text
    assert "| whole picture | 2 | 0.50 |" in text
    assert "| same seed | 1 | at least 1 | yes |" in text
    assert "LPIPS |" not in text.split("## By family")[0], "a column without values is left out"
    rows = [line for line in text.splitlines() if line.startswith("| copy input")]
    assert len(rows) == 2


def test_parts_may_be_empty():
    text = to_markdown(Evaluation(model="toy", findings=EVALUATION.findings))
    assert "Behaviour" in text and "families" not in text
    assert json.loads(to_json(Evaluation(model="toy")))["count"] == 0


def test_files_are_the_same_bytes_again(tmp_path: Path):
    files = write_tables(EVALUATION, tmp_path / "new")
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_tables(EVALUATION, tmp_path / "new")] == before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["evaluation.json", "evaluation.md"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="choose a folder that is writable"):
        write_tables(EVALUATION, tmp_path / "file")

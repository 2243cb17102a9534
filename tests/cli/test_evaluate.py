"""`mgie eval` on the toy model: tables on standard output and as files."""

import json
import shutil
from pathlib import Path

import pytest

from mgie.cli import main
from tests.evaluation.made import make_records


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("made"))


def test_json_is_one_object_and_the_files_hold_the_same(
    pipeline_folder: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "figures"
    assert (
        main(["eval", str(pipeline_folder), str(records), "-o", str(out), "--device", "cpu", "--json"]) == 0
    )
    printed = capsys.readouterr().out
    values = json.loads(printed)
    assert values["count"] == 5 and sorted(values["families"]) == ["darker", "grey", "invert"]
    assert values["behaviour"] == []
    assert (out / "evaluation.json").read_text(encoding="utf-8") == printed
    assert "| invert | 1 |" in (out / "evaluation.md").read_text(encoding="utf-8")


def test_markdown_is_the_default(pipeline_folder: Path, records: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["eval", str(pipeline_folder), str(records), "--limit", "1", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "## Mean over 1 edits" in output.out and "| copy input |" in output.out
    assert "editing" in output.err


def test_a_mistake_in_the_data_is_one_line_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["eval", "no-such-model", str(tmp_path)]) == 2
    message = capsys.readouterr().err.strip()
    assert "records.jsonl" in message and len(message.splitlines()) == 1


def test_recorded_rates_are_what_info_says_the_model_can_do(
    pipeline_folder: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = shutil.copytree(pipeline_folder, tmp_path / "model")
    (folder / "mgie.json").write_text('{"licence": "Apache-2.0"}')
    assert main(["eval", str(folder), str(records), "--record", "--device", "cpu", "--json"]) == 0
    families = json.loads(capsys.readouterr().out)["families"]
    noted = json.loads((folder / "mgie.json").read_text())
    assert noted["licence"] == "Apache-2.0"
    assert noted["success_rates"]["grey"] == {
        "edits": 2,
        "success": families["grey"]["rows"]["model"]["success"],
    }
    assert main(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert ("can do" in out or "not yet" in out) and all(name in out for name in families)
    assert main(["eval", str(folder), str(records), "--record", "--suite", "behaviour"]) == 2
    assert "expected table or all" in capsys.readouterr().err
    assert main(["eval", str(folder), str(records), "--record", "--expressive"]) == 2
    assert "not for --record" in capsys.readouterr().err


def test_contact_sheets_lie_beside_the_tables(
    pipeline_folder: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["eval", str(pipeline_folder), str(records), "--limit", "3", "--device", "cpu", "--sheets"]
    assert main(command) == 2
    assert "--sheets needs --output" in capsys.readouterr().err
    assert main([*command, "-o", str(tmp_path)]) == 0
    assert sorted(file.name for file in (tmp_path / "sheets").iterdir()) == [
        "darker.jpg",
        "grey.jpg",
        "invert.jpg",
    ]
    assert "grey.jpg" in capsys.readouterr().out

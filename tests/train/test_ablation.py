"""The ablation's script from end to end at toy size, and what it makes of figures."""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState

from tests.conftest import ROOT, smoke_config
from tests.evaluation.made import make_records

sys.path.insert(0, str(ROOT / "train"))
ablation = importlib.import_module("ablation")
RUNS = ["ip2p_0", "ip2p_1", "lgie_0", "lgie_1", "mgie_0", "mgie_1"]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("made"), count=2)


@pytest.fixture
def run(records: Path, pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Returns a function that runs the script into `tmp_path / "out"` and gives what it prints."""
    config = tmp_path / "config.yaml"
    parts = {"model.mllm": str(pipeline_folder), "model.vae": str(pipeline_folder / "vae")}
    config.write_text(yaml.safe_dump(dataclasses.asdict(smoke_config(tmp_path / "unused", **parts))))

    def run(*arguments: str, data: Path = records) -> str:
        options = ["--data", str(data), "--vague", str(records), "-o", str(tmp_path / "out")]
        with torch.random.fork_rng():
            ablation.main([str(config), *options, "--seeds", "2", "--steps", "2", *arguments])
        return capsys.readouterr().out

    yield run
    AcceleratorState._reset_state(reset_partial_state=True)


def test_it_makes_the_table_and_goes_on_where_it_was(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, trained = tmp_path / "out", []

    def train(config: Any, report: Any, train: Any = ablation.train) -> Path:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(Path(config.output_dir).name)
        return train(config, report)

    monkeypatch.setattr(ablation, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (out / "ablation.md").exists() and len(trained) == 5
    monkeypatch.undo()

    again: list[str] = []
    monkeypatch.setattr(
        ablation,
        "train_run",
        lambda config, go=ablation.train_run: again.append(config.output_dir) or go(config),
    )
    table = run()
    assert [Path(folder).name for folder in again] == ["mgie_1"] and sorted([*trained, "mgie_1"]) == RUNS
    assert table == (out / "ablation.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("|")][2:]
    assert [row.split(":")[0] for row in rows] == ["IP2P", "LGIE", "MGIE", "the photograph unchanged"]
    assert table.count("±") == 1 + 3 * 4  # the copy is the same for every seed

    results = json.loads((out / "ablation.json").read_text())
    assert (results["steps"], results["seeds"], results["edits"]) == (2, 2, {"plain": 2, "vague": 2})
    assert results["copy"]["plain"]["l1"] == {"mean": 1.0, "standard_error": None, "values": [1.0]}
    for kind in ("ip2p", "lgie", "mgie"):
        for seed in (0, 1):
            folder = out / f"{kind}_{seed}"
            config = yaml.safe_load((folder / "config.yaml").read_text())
            assert (config["model"]["conditioning"], config["seed"], config["max_steps"]) == (kind, seed, 2)
            ratio = json.loads((folder / "vague" / "evaluation.json").read_text())["micro"]["ratio"]
            assert results[kind]["vague"]["l1"]["values"][seed] == pytest.approx(ratio, rel=1e-3)


def test_mistakes_are_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    begun = tmp_path / "out" / "lgie_1"
    begun.mkdir(parents=True)
    (begun / "config.yaml").write_text((tmp_path / "config.yaml").read_text())
    for arguments, message in (
        ([], f"{begun} was trained with another configuration"),
        (["--set", "stage=language"], "of stage language; expected joint"),
        (["--set", "learning_rat=1"], "did you mean learning_rate"),
        (["--steps", "1"], "do not fit into max_steps 1"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments)
        err = capsys.readouterr().err
        assert stopped.value.code == 2 and message in err and err.count("\n") == 1, err


def test_pairs_of_unknown_origin_are_refused(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pair = {"id": "7", "task": "edit", "images": ["a.png"], "target": "b.png", "instruction": "make it red"}
    (tmp_path / "records.jsonl").write_text(json.dumps(pair))
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(SystemExit):
        run(data=tmp_path)
    assert "record 7 is no made edit" in capsys.readouterr().err


def test_other_records_are_evaluated_anew(records: Path, tmp_path: Path):
    file = tmp_path / "evaluation.json"
    cases = [
        {name: row[name] for name in ("id", "instruction")}
        for row in map(json.loads, (records / "records.jsonl").read_text().splitlines())
    ]
    for known, same in (
        (cases, True),
        (cases[:-1], False),
        ([cases[0] | {"instruction": "?"}, *cases[1:]], False),
    ):
        file.write_text(json.dumps({"cases": known}))
        assert ablation._is_evaluated(tmp_path, records) == same
    file.unlink()
    assert not ablation._is_evaluated(tmp_path, records)


def test_standard_error_of_the_mean():
    found = ablation.summary([0.1, 0.2, 0.6])
    assert found["mean"] == pytest.approx(0.3)
    assert found["standard_error"] == pytest.approx((0.07 / 3) ** 0.5)  # variance 0.14 / 2, of three
    assert ablation.summary([0.5])["standard_error"] is None

"""`mgie batch` on the toy model: what it prints, its exit codes, a real kill, and two real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mgie
from mgie.cli import main
from tests.conftest import picture


@pytest.fixture
def table(tmp_path):
    """Ten rows, of which the second cannot be read."""
    for number in range(3):
        picture(48 + 4 * number, 40).save(tmp_path / f"p{number}.png")
    rows = [{"image": f"p{number % 3}.png", "instruction": "make it red"} for number in range(10)]
    rows[1]["image"] = "missing.png"
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(table, output, model):
    """Returns a command's arguments; the chunks are of two rows."""
    settings = ("--model", model, "--batch-size", 2, "--device", "cpu")
    return ["batch", *map(str, (table, "-o", output, *settings))]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def environment():
    """Returns that of another process on this package, with as many threads: they change the numbers."""
    package, threads = str(Path(mgie.__file__).parents[1]), str(torch.get_num_threads())
    return {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": ""}


def test_a_folder_is_edited_and_reported(tmp_path, capsys, pipeline_folder):
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        picture().save(tmp_path / "pictures" / f"{name}.png")
    out = tmp_path / "pictures" / "out"
    arguments = ["batch", str(tmp_path / "pictures"), "-o", str(out), "--model", str(pipeline_folder)]
    arguments += ["--instruction", "make it red", "--format", "webp", "--size", "32"]
    assert main(arguments) == 0
    printed, bar = capsys.readouterr()
    assert printed.splitlines() == [f"saved: 2 of 2 in {out}", f"sheet: {out / 'index.html'}"]
    assert "2/2" in bar
    assert sorted(path.name for path in out.glob("*.webp")) == ["0000-a.webp", "0001-b.webp"]
    before = contents(out)
    assert main(arguments) == 0  # nothing is left to do, and the results are no input
    assert "loading" not in capsys.readouterr().err
    assert contents(out) == before


def test_failed_rows_are_exit_code_1(table, tmp_path, capsys, pipeline_folder):
    out = tmp_path / "out"
    assert main([*command(table, out, pipeline_folder), "--json"]) == 1
    printed, err = capsys.readouterr()
    report = json.loads(printed)
    assert report.pop("seconds") > 0
    assert report == {
        **{"output": str(out), "results": str(out / "results.jsonl"), "sheet": str(out / "index.html")},
        **{"rows": 10, "ok": 9, "failed": 1, "model": str(pipeline_folder)},
    }
    assert "missing.png does not exist" in err
    assert err.splitlines()[-1] == f"mgie: 1 of 10 rows failed: see {out / 'results.jsonl'}"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ('{"image": "p0.png"}', [], "rows.jsonl:1: the row has no instruction"),
        ('{"image": "p0.png", "instrction": "red"}', [], "did you mean 'instruction'"),
        (None, ["--size", "x"], "--size"),
        (None, ["--batch-size", "0"], "--batch-size"),
        (None, ["--format", "gif"], "--format"),
        (None, ["--model", "nothing"], "no model 'nothing'"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(table, capsys, text, options, message):
    if text is not None:
        table.write_text(text)
    before = contents(table.parent)
    assert main(["batch", str(table), "-o", str(table.parent / "out"), *options]) == 2
    printed, err = capsys.readouterr()
    assert (printed, err.count("\n")) == ("", 1), err
    assert err.startswith("mgie: ")
    assert message in err
    assert contents(table.parent) == before
    assert not (table.parent / "out").exists()


def test_ctrl_c_leaves_what_is_done_and_the_next_run_goes_on(
    table, tmp_path, capsys, monkeypatch, pipeline_folder
):
    main(command(table, tmp_path / "whole", pipeline_folder))
    from mgie.pipeline import MGIEPipeline

    call, calls = MGIEPipeline.__call__, []

    def interrupted(*arguments, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return call(*arguments, **settings)

    arguments = command(table, tmp_path / "out", pipeline_folder)
    with monkeypatch.context() as patch:
        patch.setattr(MGIEPipeline, "__call__", interrupted)
        assert main(arguments) == 130
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 4
    assert main([*arguments, "--seed", "3"]) == 2
    assert "--seed 0, not 3" in capsys.readouterr().err.splitlines()[-1]
    assert main(arguments) == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


KILLED = """
import itertools, os, signal, sys
from mgie.cli import main
replace, count = os.replace, itertools.count()
def write(partial, file):
    if next(count) == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(partial, file)
os.replace = write
main(sys.argv[1:])
"""


def test_killed_and_started_again_the_files_are_the_same(table, tmp_path, pipeline_folder):
    main(command(table, tmp_path / "whole", pipeline_folder))
    out = tmp_path / "out"
    arguments = command(table, out, pipeline_folder)
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment())
    assert killed.returncode == -signal.SIGKILL
    left = contents(out).keys()
    assert any(name.endswith(".partial") for name in left)
    assert "index.html" not in left
    assert 0 < len((out / "results.jsonl").read_text().splitlines()) < 10
    assert main(arguments) == 1
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(table, tmp_path, pipeline_folder):
    main(command(table, tmp_path / "whole", pipeline_folder))
    out = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "mgie", *command(table, out, pipeline_folder)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr  # as one row fails
    assert done.stdout.splitlines() == [f"saved: 9 of 10 in {out}", f"sheet: {out / 'index.html'}"]
    assert "/6 " in done.stderr  # the first process has three of the five chunks
    assert contents(out) == contents(tmp_path / "whole")

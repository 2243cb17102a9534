import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mgie.cli import main


def test_extract_writes_a_model_that_edits(joint_run, photo, tmp_path, capsys):
    out, run = tmp_path / "model", joint_run[0]
    arguments = ["--weights", "raw", "--dtype", "bfloat16", "--licence", "CC0", "--data", "a", "--data", "b"]
    assert main(["extract", str(run), "-o", str(out), *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"saved: {out}\n"
    assert "reading the weights ..." in captured.err
    provenance = json.loads((out / "mgie.json").read_text())
    told = [provenance[key] for key in ("licence", "data", "weights", "dtype", "training_steps")]
    assert told == ["CC0", ["a", "b"], "raw", "bfloat16", 3]
    (file,) = (out / "unet").glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(file).values()} == {torch.bfloat16}
    edited = tmp_path / "edited.png"
    assert main(["edit", str(photo), "make it red", "--model", str(out), "-o", str(edited)]) == 0
    assert edited.is_file()


def test_extract_says_nothing_of_a_licence_that_it_does_not_know(joint_run, tmp_path):
    out = tmp_path / "model"
    assert main(["extract", str(joint_run[0] / "checkpoint"), "-o", str(out)]) == 0
    provenance = json.loads((out / "mgie.json").read_text())
    assert not {"licence", "data"} & provenance.keys()
    assert (provenance["weights"], provenance["dtype"]) == ("ema", "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "snapshot"),
        (["nothing", "-o", "model"], "there is no folder nothing"),
        (["empty", "-o", "model"], "no config.yaml"),
        (["run"], "output"),
        (["run", "-o", "empty"], "is not a model folder"),
        (["run", "-o", "model", "--weights", "mean"], "mean"),
        (["run", "-o", "model", "--dtype", "int8"], "int8"),
        (["vision", "-o", "model"], "a run of stage vision"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, joint_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").symlink_to(joint_run[0])
    (tmp_path / "vision").mkdir()
    config = (joint_run[0] / "config.yaml").read_text()
    (tmp_path / "vision" / "config.yaml").write_text(config.replace("stage: joint", "stage: vision"))
    (tmp_path / "vision" / "checkpoint").mkdir()
    assert main(["extract", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not (tmp_path / "model").exists()


def test_a_cut_off_checkpoint_leaves_the_older_model(joint_run, pipeline_folder, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "model"
    shutil.copytree(joint_run[0], run)
    shutil.copytree(pipeline_folder, out)
    file = run / "checkpoint" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    before = (out / "model_index.json").read_bytes()
    assert main(["extract", str(run), "-o", str(out)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mgie: ") and "model.safetensors is damaged or cut off" in last
    assert (out / "model_index.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "model"}

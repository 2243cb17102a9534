import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from mgie.cli import main


@pytest.fixture
def broken(pipeline_folder, tmp_path):
    """A model with a NaN in its UNet and a tensor less in its edit head."""
    folder = shutil.copytree(pipeline_folder, tmp_path / "model")
    for part, key in (("unet", "conv_in.bias"), ("edit_head", "query")):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        tensors = load_file(file)
        tensors[key].fill_(float("nan"))
        if part == "edit_head":
            del tensors[key]
        save_file(tensors, file, metadata={"format": "pt"})
    return folder


def test_the_model_that_comes_with_the_package_is_right(capsys):
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("parts", "tensors", "widths", "vocabulary", "checksums")
    ]


def test_an_edit_is_tried_if_asked_for(pipeline_folder, capsys):
    assert main(["verify", str(pipeline_folder), "--edit", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["ok", "edit"]


def test_findings_are_the_output_and_their_number_the_error(broken, capsys):
    assert main(["verify", str(broken), "--edit"]) == 2
    out, err = capsys.readouterr()
    wrong = [line for line in out.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 2
    assert "edit_head: query is missing" in wrong[0]
    assert "unet: conv_in.bias is not finite: 16 of 16 values are NaN" in wrong[1]
    assert "ok     vocabulary" in out
    assert err.splitlines()[-1] == f"mgie: {broken} has 2 problems; no edit was tried"


def test_json_is_one_object(broken, pipeline_folder, capsys):
    assert main(["verify", str(pipeline_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and all(check["ok"] for check in report["checks"])
    assert main(["verify", str(broken), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    tensors = next(check for check in report["checks"] if check["name"] == "tensors")
    assert [(row["part"], row["names"]) for row in tensors["findings"]] == [
        ("edit_head", ["query"]),
        ("unet", ["conv_in.bias"]),
    ]


def test_there_is_no_such_model(capsys):
    assert main(["verify", "nothing"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)

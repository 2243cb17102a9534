"""`mgie convert`, `mgie verify` and `mgie edit` on a small model in the original's layout."""

import json

import pytest
import torch

from mgie.cli import main
from tests.checkpoint.original import write_original
from tests.conftest import picture


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_original(tmp_path_factory.mktemp("original") / "parts")


def parts(folders):
    return [f"--{name}={getattr(folders, name)}" for name in ("llava", "mgie", "diffusion")]


def test_from_the_original_to_an_edit_and_back(folders, tmp_path, capsys):
    model, photo, back = tmp_path / "model", tmp_path / "photo.png", tmp_path / "back"
    picture().save(photo)
    assert main(["convert", *parts(folders), "-o", str(model), "--dtype", "float16"]) == 0
    assert capsys.readouterr().out == f"saved: {model}\n"
    assert main(["verify", str(model), "--edit", "--device", "cpu"]) == 0
    assert "WRONG" not in capsys.readouterr().out
    assert main(["edit", str(photo), "make it red", "--model", str(model), "--steps", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]
    assert main(["convert", str(model), "--to", "original", "-o", str(back)]) == 0
    assert sorted(path.name for path in back.iterdir()) == ["mllm.pt", "unet.pt"]


def test_a_snapshot_is_extracted_with_what_it_lacks(folders, tmp_path, capsys):
    model = tmp_path / "model"
    given = [f"--llava={folders.llava}", f"--diffusion={folders.diffusion}"]
    assert main(["extract", str(folders.snapshot), *given, "-o", str(model)]) == 0
    assert "note: 'emb' is not in" in capsys.readouterr().out
    assert main(["verify", str(model)]) == 0
    back = tmp_path / "not yet" / "there"
    assert main(["extract", str(folders.snapshot), *given, "-o", str(back), "--format", "original"]) == 0
    original = torch.load(folders.mgie / "mllm.pt", weights_only=True)
    ours = torch.load(back / "mllm.pt", weights_only=True)
    assert list(back.parent.iterdir()) == [back]
    assert ours.keys() == original.keys() and all(torch.equal(ours[key], original[key]) for key in ours)
    capsys.readouterr()
    assert main(["extract", str(folders.snapshot), *given[:1], "-o", str(model)]) == 2
    assert "--diffusion" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--llava=x"], "no --mgie, --diffusion given"),
        (["mgie-tiny"], "no --llava, --mgie, --diffusion given"),
        (["--to=original"], "--to original takes a MODEL"),
        (["mgie-tiny", "--to=original"], "linear projector"),
        (["--llava=nowhere", "--mgie=x", "--diffusion=y"], "there is no folder 'nowhere'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, capsys):
    assert main(["convert", *arguments, "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and not out
    assert not (tmp_path / "out").exists()

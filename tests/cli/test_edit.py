import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mgie.cli import main


@pytest.fixture
def run(pipeline_folder, capsys):
    """Runs `mgie edit` on the toy model; gives exit code, standard output and standard error."""

    def edit(*arguments):
        code = main(["edit", *map(str, arguments), "--model", str(pipeline_folder)])
        return code, *capsys.readouterr()

    return edit


def refused(capsys, folder, *arguments):
    """Returns the one line of complaint; the folder is as it was."""
    before = sorted(folder.rglob("*"))
    code = main(["edit", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("mgie: ")
    assert sorted(folder.rglob("*")) == before
    return err


def test_an_edit_is_saved_beside_the_photograph_and_reported(run, photo):
    code, out, err = run(photo, "make it red", "--seed", 7, "--timings")
    result = photo.with_name("photo.edited.png")
    assert code == 0
    assert Image.open(result).size == Image.open(photo).size
    lines = out.splitlines()
    assert lines[0].startswith("imagined:")
    assert str(result) in lines[1]
    assert "seed 7" in lines[1]
    assert all(name in lines[2] for name in ("imports", "load", "imagine", "paint", "decode", "return"))
    assert all(phase in err for phase in ("starting", "loading", "imagining", "denoising", "returning"))


def test_pictures_that_are_alike_are_told(run, photo):
    note = "all pictures are alike"
    assert note in run(photo, "make it red", "--num-images", 2, "--strength", 0)[2]
    assert note not in run(photo, "make it red", "--num-images", 2)[2]
    assert note not in run(photo, "make it red", "--strength", 0)[2]


def test_json_is_all_there_is_on_standard_output(run, photo, tmp_path, pipeline_folder):
    outputs = [tmp_path / "red.png", tmp_path / "red-2.png"]
    code, out, _ = run(photo, "make it red", "-o", outputs[0], "--seed", 5, "--num-images", 2, "--json")
    report = json.loads(out)
    assert code == 0
    assert report.pop("seconds") > 0
    assert report.pop("expressive_instruction")
    assert report == {
        "outputs": [{"path": str(path), "seed": 5 + i} for i, path in enumerate(outputs)],
        "model": str(pipeline_folder),
    }
    second = outputs[1].read_bytes()
    assert second != outputs[0].read_bytes()
    run(photo, "make it red", "-o", outputs[0], "--seed", 6)  # an existing result is replaced
    assert outputs[0].read_bytes() == second


def test_without_a_seed_one_is_drawn_and_told(run, photo, tmp_path):
    _, out, _ = run(photo, "make it red", "-o", tmp_path / "a.png", "--json")
    seed = json.loads(out)["outputs"][0]["seed"]
    run(photo, "make it red", "-o", tmp_path / "b.png", "--seed", seed)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_settings_and_own_words_reach_the_model(run, photo, tmp_path, pipeline):
    import torch

    run(
        *(photo, "make it red", "-o", tmp_path / "a.png", "--seed", 1, "--expressive", "All is red."),
        *("--steps", 2, "--guidance-scale", 3, "--image-guidance-scale", 1.2, "--dtype", "float32"),
    )
    expected = pipeline(
        photo,
        "make it red",
        expressive_instruction="All is red.",
        num_inference_steps=2,
        guidance_scale=3.0,
        image_guidance_scale=1.2,
        generator=torch.Generator().manual_seed(1),
    )
    assert Image.open(tmp_path / "a.png").tobytes() == expected.images[0].tobytes()


def test_turns_follow_each_other(run, photo, tmp_path):
    from mgie.images import open_photo, read_edits

    arguments = (photo, "make it red", "--then", "make it blue", "--num-images", 2, "--seed", 3, "--json")
    code, out, err = run(*arguments, "-o", tmp_path / "a.png")
    assert code == 0, err
    rows = json.loads(out)["outputs"]
    assert [len(row["turns"]) for row in rows] == [2, 2]
    edits = read_edits(open_photo(tmp_path / "a-2.png").metadata.xmp)
    assert [(edit.instruction, edit.seed) for edit in edits] == [("make it red", 4), ("make it blue", 4)]
    run(photo, "make it red", "-o", tmp_path / "one.png", "--seed", 3)
    run(tmp_path / "one.png", "make it blue", "-o", tmp_path / "two.png", "--seed", 3)
    assert Image.open(tmp_path / "two.png").tobytes() == Image.open(tmp_path / "a.png").tobytes()


def test_mask_strength_and_size(run, photo, tmp_path):
    mask = Image.new("L", (48, 40))
    mask.paste(255, (0, 0, 24, 40))
    mask.save(tmp_path / "mask.png")
    original = np.asarray(Image.open(photo))
    out = tmp_path / "out.png"
    assert run(photo, "red", "-o", out, "--mask", tmp_path / "mask.png", "--seed", 1)[0] == 0
    assert np.array_equal(np.asarray(Image.open(out))[:, 24:], original[:, 24:])
    assert not np.array_equal(np.asarray(Image.open(out)), original)
    assert run(photo, "red", "-o", out, "--strength", 0)[0] == 0
    assert np.array_equal(np.asarray(Image.open(out)), original)
    assert run(photo, "red", "-o", out, "--size", "96x400", "--keep-unchanged", "off")[0] == 0
    assert Image.open(out).size == (96, 80)


def test_metadata_of_the_photo_and_the_note(run, photo, tmp_path, pipeline_folder):
    from mgie.images import open_photo, read_edits

    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6
    Image.open(photo).save(tmp_path / "photo.jpg", exif=exif)
    _, out, _ = run(tmp_path / "photo.jpg", "make it red", "--seed", 9, "--json")
    result = Image.open(tmp_path / "photo.edited.png")
    assert result.size == (40, 48)
    assert dict(result.getexif()) == {0x010F: "Camera"}
    (edit,) = read_edits(open_photo(result).metadata.xmp)
    assert (edit.instruction, edit.seed, edit.model) == ("make it red", 9, str(pipeline_folder))
    assert edit.expressive_instruction == json.loads(out)["expressive_instruction"]
    run(tmp_path / "photo.jpg", "make it red", "--strip-metadata", "--no-note")
    result = Image.open(tmp_path / "photo.edited.png")
    assert not result.getexif() and not open_photo(result).metadata.xmp


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "1", "RGBA", "I;16"])
def test_unusual_pictures_are_edited(run, tmp_path, mode):
    path = tmp_path / "photo.tif"
    grey = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    image = Image.fromarray(grey * 30) if mode == "I;16" else Image.fromarray((grey % 256).astype(np.uint8))
    (image if mode == "I;16" else image.convert("RGB").convert(mode)).save(path)
    code, _, err = run(path, "make it red", "--steps", 1)
    assert code == 0, err
    assert Image.open(tmp_path / "photo.edited.png").size == (48, 40)


def make_bad_pictures(folder):
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (64, 64), "red").save(folder / "whole.jpg")
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:400])
    header = Image.new("1", (12000, 12000))
    header.save(folder / "bomb.png")
    (folder / "folder").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "does not exist"),
        ("folder", "folder"),
        ("text.jpg", "not a picture"),
        ("cut.jpg", "cut.jpg"),
        ("dot.png", "1x1"),
        ("bomb.png", "bomb.png"),
    ],
)
def test_bad_pictures_are_refused(capsys, tmp_path, name, message):
    make_bad_pictures(tmp_path)
    assert message in refused(capsys, tmp_path, tmp_path / name, "make it red")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([" "], "instruction is empty"),
        (["x" * 10_000], "10000 characters"),
        (["red", "--model", "nothing"], "no model 'nothing'"),
        (["red", "--then", ""], "instruction is empty"),
        (["red", "--expressive", " "], "expressive instruction is empty"),
        (["caf\udce9"], r"instruction 'caf\udce9' is not in UTF-8"),
        (["red", "--guidance-scale", "inf"], "--guidance-scale"),
        (["red", "--num-images", "2", "--seed", str(2**63 - 1)], "choose a lower --seed"),
        (["red", "--mask", "nothing.png"], "nothing.png does not exist"),
        (["red", "--mask", "_data/photographs/coffee.jpg"], "expected 48x40, as the upright picture"),
        (["red", "--strength", "1.5"], "--strength"),
        (["red", "--size", "large"], "--size is 'large'"),
        (["red", "--size", "4x4"], "in 4x4 the photo would have 4x3"),
        (["red", "--steps", "0"], "--steps"),
        (["red", "--num-images", "0"], "--num-images"),
        (["red", "--dtype", "int3"], "--dtype"),
        (["red", "--unknown"], "--unknown"),
        ([], "instruction"),
    ],
)
def test_bad_arguments_are_refused(capsys, photo, arguments, message):
    assert message in refused(capsys, photo.parent, photo, *arguments)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("photo.png", "is an input"),
        ("nowhere/out.png", "cannot be written"),
        ("photo.png/out.png", "cannot be written"),
        ("out.xyz", "suffix '.xyz'"),
        (".", "is a folder"),
    ],
)
def test_bad_outputs_are_refused_before_the_model_runs(capsys, photo, output, message):
    assert message in refused(capsys, photo.parent, photo, "red", "-o", photo.parent / output)


def test_the_input_is_not_overwritten_through_a_link(capsys, photo):
    link = photo.with_name("link.png")
    link.symlink_to(photo)
    assert "is an input" in refused(capsys, photo.parent, photo, "red", "-o", link)


@pytest.mark.parametrize(("name", "noted"), [("out.jpg", True), ("out.png", False)])
def test_lost_transparency_is_noted(run, photo, name, noted):
    image = Image.open(photo).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(photo)
    code, _, err = run(photo, "make it red", "-o", photo.with_name(name))
    assert code == 0 and ("JPEG has no transparency" in err) == noted


def test_the_mask_is_not_overwritten(capsys, photo):
    mask = photo.with_name("mask.png")
    Image.new("L", Image.open(photo).size, 255).save(mask)
    assert "is an input" in refused(capsys, photo.parent, photo, "red", "--mask", mask, "-o", mask)


def test_a_broken_model_is_refused(capsys, photo, pipeline_folder, tmp_path):
    model = shutil.copytree(pipeline_folder, tmp_path / "model")
    (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    code = main(["edit", str(photo), "red", "--model", str(model)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert "vae" in err.splitlines()[-1]
    assert not photo.with_name("photo.edited.png").exists()


def test_debug_shows_the_traceback(capsys, tmp_path):
    assert main(["edit", str(tmp_path / "missing.png"), "red", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "does not exist" in err.splitlines()[-1]


def test_ctrl_c_is_exit_code_130(monkeypatch, capsys, photo, pipeline_folder):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mgie.pipeline.MGIEPipeline.from_pretrained", interrupt)
    assert main(["edit", str(photo), "red", "--model", str(pipeline_folder)]) == 130
    assert capsys.readouterr().err.endswith("mgie: interrupted\n")
    assert not photo.with_name("photo.edited.png").exists()

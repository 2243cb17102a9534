"""The editing suite: its measures on known cases, and the whole of it on the toy pipeline."""

import numpy as np
import pytest
from PIL import Image

from mgie.data.synth import as_picture, as_pixels
from mgie.evaluation import check_editing, editing
from mgie.images import open_photo
from tests.conftest import picture
from tests.evaluation.made import make_records


def textured(width: int = 96, height: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return as_pixels(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def moved(pixels: np.ndarray, across: float, down: float) -> np.ndarray:
    spectrum = np.fft.fft2(pixels, axes=(0, 1))
    y, x = (np.fft.fftfreq(side) for side in pixels.shape[:2])
    turn = np.exp(-2j * np.pi * (y[:, None] * down + x * across))
    return np.fft.ifft2(spectrum * turn[..., None], axes=(0, 1)).real


@pytest.mark.parametrize("across, down", [(0, 0), (0.3, 0), (0, -0.6), (1.4, 0.2), (-2, 1)])
def test_shifts_are_found_to_parts_of_a_pixel(across: float, down: float) -> None:
    pixels = textured()
    found = editing._shift(pixels, moved(pixels, across, down) * 0.6)
    assert abs(found - np.hypot(across, down)) < 0.07


def test_a_panorama_that_repeats_itself_has_not_shifted() -> None:
    """Darker places weigh less, so another shift than none may correlate a little better."""
    pixels = as_pixels(editing._panorama(as_picture(textured()), 2400, 80))
    darker = pixels * np.linspace(1, 0.8, 2400, dtype=np.float32)[None, :, None]
    assert editing._shift(pixels, darker) < 0.1
    assert abs(editing._shift(pixels, moved(darker, 3, 0)) - 3) < 0.1


def test_the_largest_rectangle_beside_a_mask() -> None:
    mask = Image.new("L", (100, 60))
    mask.paste(255, (20, 10, 50, 40))
    assert np.asarray(mask)[editing._beside(mask)].shape == (60, 50)
    assert not np.asarray(mask)[editing._beside(mask)].any()
    mask.paste(255, (0, 10, 90, 20))
    assert np.asarray(mask)[editing._beside(mask)].shape == (20, 100)


@pytest.mark.parametrize("form", editing._FORMS)
def test_files_of_every_form_are_read_as_they_should_be_seen(form: str) -> None:
    upright, file = editing._file(picture(120, 90), form, 0.1)
    photo = open_photo(file)
    assert photo.image.size == upright.size
    difference = np.abs(np.asarray(photo.image, int) - np.asarray(upright, int))
    assert difference.mean() < 4
    assert (photo.alpha is not None) == (form == "transparent")
    assert (photo.native is not photo.image) == (form in ("transparent", "profile"))


def test_the_toy_pipeline_keeps_what_every_model_keeps(pipeline, tmp_path) -> None:
    done = []
    findings = check_editing(
        pipeline,
        make_records(tmp_path),
        photographs=3,
        scale=0.15,
        progress=lambda *steps: done.append(steps),
    )
    values = {finding.name.split(",")[0]: finding for finding in findings}
    assert len(findings) == 7 and done[-1][0] == done[-1][1]
    assert values["size and orientation exact"].met
    assert values["same bytes outside a user's mask"].met
    assert values["PSNR outside the true mask of made edits"].value > 25


def test_a_pipeline_that_moves_the_picture_is_found_out(pipeline, tmp_path, monkeypatch) -> None:
    def off_by_one(original, *_, **__):
        return Image.fromarray(np.roll(np.asarray(original), 1, axis=1))

    monkeypatch.setattr("mgie.pipeline.return_to_native", off_by_one)
    findings = {
        f.name.split(",")[0]: f
        for f in check_editing(pipeline, make_records(tmp_path), photographs=1, scale=0.2)
    }
    assert not findings["shift under a change of tone"].met
    assert not findings["same bytes outside a user's mask"].met

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
gradio = pytest.importorskip("gradio")
client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def served(pipeline, pipeline_folder):
    """The page on the toy pipeline, and a client of it."""
    from mgie.demo.app import build_app, launch
    from mgie.demo.models import Models

    app = build_app(Models([str(pipeline_folder)], lambda name: pipeline))
    _, url, _ = launch(app, "127.0.0.1", None, prevent_thread_lock=True)
    yield app, client.Client(url, verbose=False)
    app.close(verbose=False)


def test_a_program_edits_a_photo_whole(served, pipeline, tmp_path):
    photo = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo)
    path, words = served[1].predict(client.handle_file(photo), "make it red", 7, api_name="/edit")
    expected = pipeline(photo, "make it red", generator=torch.Generator().manual_seed(7))
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.abs(np.asarray(image, int) - np.asarray(expected.images[0], int)).max() <= 1
    assert words == expected.expressive_instructions[0]
    again, _ = served[1].predict(client.handle_file(photo), "make it red", 7, api_name="/edit")
    assert Path(again).read_bytes() == Path(path).read_bytes()


def test_the_file_comes_as_it_is_with_rotation_and_transparency(served, tmp_path):
    photo = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    Image.new("RGBA", (48, 40), (200, 30, 30, 128)).save(photo, exif=exif)
    path, _ = served[1].predict(client.handle_file(photo), "make it red", 7, api_name="/edit")
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((40, 48), "RGBA")
        assert image.getchannel("A").getextrema() == (128, 128)


@pytest.mark.parametrize(
    ("content", "instruction", "message"),
    [
        (None, " ", "instruction is empty"),
        (None, "see <image>", "contains &lt;image&gt;"),
        (b"no picture", "make it red", "not a picture"),
    ],
)
def test_mistakes_are_one_line(served, photo, capfd, content, instruction, message):
    if content is not None:
        photo.write_bytes(content)
    with pytest.raises(client.exceptions.AppError, match=message) as error:
        served[1].predict(client.handle_file(photo), instruction, 7, api_name="/edit")
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


def test_only_the_edit_is_public(served):
    assert list(served[1].view_api(return_format="dict")["named_endpoints"]) == ["/edit"]


def test_the_page_names_no_other_host(served):
    config = served[0].get_config_file()
    css = served[0].theme_css
    assert not re.findall(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//", css)
    assert not config.get("stylesheets")
    # The uploaded photo is never encoded anew; all that is shown of a result is.
    parts = [part["props"] for part in config["components"] if "format" in part["props"]]
    formats = [props["format"] for props in parts if props.get("elem_id") != "photo"]
    assert formats and set(formats) == {"png"}


def test_models_run_one_at_a_time(served):
    heavy = [fn for fn in served[0].fns.values() if fn.concurrency_id == "model"]
    assert len(heavy) >= 8
    assert all(fn.concurrency_limit == 1 and fn.queue is not False for fn in heavy)

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.images import open_photo
from mgie.session import EditSession

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
    session = EditSession(pipeline, open_photo(photo), "toy")
    turn = session.edit("make it red", seed=7)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert (np.asarray(image) == np.asarray(turn.image)).all()
    assert words == turn.edit.expressive_instruction
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
    css = served[0].theme_css.replace("http://www.w3.org/", "")  # a namespace of pictures in it
    assert "http" not in css
    assert not config.get("stylesheets")
    formats = [part["props"]["format"] for part in config["components"] if "format" in part["props"]]
    assert formats
    assert not {"webp", "jpeg"} & {formats[i] for i, part in enumerate(formats) if part}


def test_models_run_one_at_a_time(served):
    heavy = [fn for fn in served[0].fns.values() if fn.concurrency_id == "model"]
    assert len(heavy) >= 8
    assert all(fn.concurrency_limit == 1 and fn.queue is not False for fn in heavy)


@pytest.fixture
def events(served):
    """What answers the events of the page, by name."""
    return {fn.name: fn for fn in served[0].fns.values() if fn.fn is not None}


def settings(bench, strength=1.0):
    """Returns the values of what every painting reads."""
    return bench, {"layers": []}, strength, True, 2, 4.0, 1.5


def test_the_page_shows_an_edit_as_it_comes(events, served, photo, pipeline_folder):
    bench, _, *_ = events["open_photo"].fn(str(photo), str(pipeline_folder))
    shown = list(events["begin"].fn(*settings(bench), "make it red", 7, False))
    assert {len(values) for values in shown} == {len(events["begin"].outputs)}
    assert "imagining" in shown[0][2]
    assert "step 2 of 2" in shown[-2][2]
    before, preview = shown[-1][0]
    assert before.size == preview.size == (48, 40)
    assert bench.turn.edit.seed == 7
    view = events["_view"]
    assert len(view.fn(bench)) == len(view.outputs)
    assert len(view.fn(None)) == len(view.outputs)
    list(events["adjust"].fn(*settings(bench, strength=0.0), "All is blue.", 8))
    assert bench.turn.edit.expressive_instruction == "All is blue."
    assert (np.asarray(bench.session.image) == np.asarray(bench.session.photo.image)).all()


def test_a_slider_before_the_first_edit_does_nothing(events, photo, pipeline_folder):
    bench, *_ = events["open_photo"].fn(str(photo), str(pipeline_folder))
    for nothing in (None, bench):
        assert list(events["adjust"].fn(*settings(nothing), "", 8)) == []


def test_a_mistake_on_the_page_changes_nothing(events, photo, pipeline_folder):
    bench, *_ = events["open_photo"].fn(str(photo), str(pipeline_folder))
    for event, rest in [("begin", (" ", 7, False)), ("again", ("words", 7)), ("variants", (2,))]:
        for nothing in (None, bench):
            with pytest.raises(gradio.Error):
                list(events[event].fn(*settings(nothing), *rest))
    assert not bench.session.turns
    with pytest.raises(gradio.Error, match="no model 'wrong'"):
        events["use_model"].fn(bench, "wrong")


def test_the_canvas_gets_the_photo_once_it_is_seen(events, photo, pipeline_folder):
    bench, canvas, *_ = events["open_photo"].fn(str(photo), str(pipeline_folder))
    assert canvas is None
    assert events["unroll"].fn(bench)["background"].size == (48, 40)
    assert "background" not in events["unroll"].fn(bench)  # what is drawn on it stays

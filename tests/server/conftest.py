import contextlib
import io
import threading

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from mgie.server.app import create_app
from mgie.server.limits import Limits
from tests.conftest import build_pipeline, picture


@pytest.fixture(scope="session")
def model():
    """A toy pipeline of the server's own; its worker uses it from another thread."""
    return build_pipeline()


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def edge_mask(size=(48, 40), columns=24):
    """A mask as OpenAI has it: the left columns are transparent and may change."""
    mask = Image.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, columns, size[1]))
    return mask


PHOTO = png(picture())


def form(**fields):
    """The data of a small, quick edit."""
    return {"prompt": "make it red", "seed": "1", "steps": "1", **fields}


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture
def serving(model):
    """Gives a function that serves the toy model, and returns a client of it; its app is `client.app`."""
    with contextlib.ExitStack() as stack:

        def serve(limits=None, **options):
            app = create_app(model, "toy", limits=limits or Limits(), **options)
            client = TestClient(app, raise_server_exceptions=False)
            return stack.enter_context(client)

        yield serve


class Gate:
    """Holds the pipeline back at each step while it is closed, and notes the calls' numbers of rows."""

    def __init__(self, model, monkeypatch):
        self.open, self.entered, self.rows, self.steps = threading.Event(), threading.Event(), [], 0
        call = type(model).__call__
        predict = model._predict

        def counted(pipeline, image, *arguments, **settings):
            self.rows.append(len(image) if isinstance(image, list) else 1)
            return call(pipeline, image, *arguments, **settings)

        def held(*arguments):
            self.entered.set()
            assert self.open.wait(30)
            self.steps += 1
            return predict(*arguments)

        monkeypatch.setattr(type(model), "__call__", counted)
        monkeypatch.setattr(model, "_predict", held)


@pytest.fixture
def gate(model, monkeypatch):
    gate = Gate(model, monkeypatch)
    yield gate
    gate.open.set()

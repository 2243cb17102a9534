import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from mgie.errors import SafetyError
from mgie.images import read_edits
from mgie.server.limits import Limits
from tests.conftest import picture
from tests.server.conftest import PHOTO, edge_mask, form, pixels, png

EDITS = "/v1/images/edits"


def post(client, files=None, **fields):
    return client.post(EDITS, data=form(**fields), files=files or {"image": ("a.png", PHOTO)})


def refused(response, status, code, param=None):
    """Checks an error's form, and returns its message."""
    assert response.status_code == status, response.text
    (key, error), *rest = response.json().items()
    assert (key, rest, set(error)) == ("error", [], {"message", "type", "param", "code"})
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"].count("\n") == 0
    return error["message"]


def results(response):
    assert response.status_code == 200, response.text
    return [base64.b64decode(row["b64_json"]) for row in response.json()["data"]]


def test_an_edit_is_that_of_the_pipeline_with_a_note(serving, model):
    response = post(serving(), guidance_scale="3", image_guidance_scale="1.2")
    (content,) = results(response)
    expected = model(
        picture(),
        "make it red",
        num_inference_steps=1,
        guidance_scale=3.0,
        image_guidance_scale=1.2,
        generator=torch.Generator().manual_seed(1),
    )
    assert (pixels(content) == np.asarray(expected.images[0])).all()
    answer = response.json()
    (row,) = answer["data"]
    assert (row["seed"], row["size"], answer["model"]) == (1, "48x40", "toy")
    assert row["revised_prompt"] == expected.expressive_instructions[0]
    (edit,) = read_edits(Image.open(io.BytesIO(content)).info["xmp"].decode())
    assert (edit.model, edit.instruction, edit.seed) == ("toy", "make it red", 1)


def test_variants_share_what_is_imagined_and_several_images_come_in_order(serving):
    client = serving()
    wide = png(picture(64, 40))
    response = post(client, [("image[]", ("a.png", PHOTO)), ("image[]", ("b.png", wide))], n="2")
    first, second, third, fourth = results(response)
    rows = response.json()["data"]
    assert [row["seed"] for row in rows] == [1, 2, 1, 2]
    assert [row["size"] for row in rows] == ["48x40", "48x40", "64x40", "64x40"]
    assert rows[0]["revised_prompt"] == rows[1]["revised_prompt"]
    assert (pixels(first) != pixels(second)).any()
    (alone,) = results(post(client, {"image": ("b.png", wide)}, seed="2"))
    assert abs(pixels(alone) - pixels(fourth)).max() <= 1
    assert pixels(third).shape == (40, 64, 3)


def test_own_words_strength_size_and_format(serving):
    client = serving()
    response = post(client, expressive="All is red.", strength="0", size="24x24", output_format="webp")
    (content,) = results(response)
    assert response.json()["data"][0]["revised_prompt"] == "All is red."
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("WEBP", (24, 20))
    untouched = picture().resize((24, 20), Image.Resampling.LANCZOS)
    assert abs(pixels(content) - np.asarray(untouched).astype(int)).mean() < 8
    image = Image.open(io.BytesIO(results(post(client, output_format="jpeg"))[0]))
    assert image.format == "JPEG"


def test_what_comes_with_a_photo_comes_back(serving):
    photo = picture().convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    file = io.BytesIO()
    photo.save(file, "PNG", exif=exif)
    (content,) = results(post(serving(), {"image": ("a.png", file.getvalue())}))
    result = Image.open(io.BytesIO(content))
    assert result.getchannel("A").tobytes() == photo.getchannel("A").tobytes()
    assert result.getexif()[0x010F] == "A camera"


def test_only_where_the_mask_is_transparent_the_picture_changes(serving):
    files = {"image": ("a.png", PHOTO), "mask": ("m.png", png(edge_mask()))}
    (content,) = results(post(serving(), files))
    change = abs(pixels(content) - pixels(PHOTO))
    assert change[:, 24:].max() == 0
    assert change[:, :20].max() > 0


def test_a_result_behind_a_link(serving):
    client = serving(api_key="secret")
    key = {"authorization": "Bearer secret"}
    response = client.post(
        EDITS, data=form(response_format="url"), files={"image": ("a.png", PHOTO)}, headers=key
    )
    (row,) = response.json()["data"]
    assert "b64_json" not in row
    fetched = client.get(row["url"])
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "image/png")
    assert pixels(fetched.content).shape == (40, 48, 3)
    refused(client.get("/v1/images/files/nothing.png"), 404, "not_found")


def test_models_health_and_metrics(serving):
    client = serving()
    results(post(client))
    (card,) = client.get("/v1/models").json()["data"]
    assert (card["id"], card["object"]) == ("toy", "model")
    assert client.get("/v1/models/toy").json() == card
    refused(client.get("/v1/models/owner/other"), 404, "model_not_found", "model")
    assert client.get("/health").json() == {"status": "ok"}
    lines = client.get("/metrics").text.splitlines()
    assert {
        "mgie_images_total 1.0",
        'mgie_requests_total{status="200"} 4.0',
        'mgie_requests_total{status="404"} 1.0',
        "mgie_queue_length 0.0",
    } <= {*lines}
    for step in ("queue", "imagine", "paint", "decode", "return", "request"):
        assert f'mgie_seconds_count{{step="{step}"}} 1.0' in lines
    assert "multipart/form-data" in client.get("/openapi.json").text


def test_a_key_is_asked_of_all_but_health(serving):
    client = serving(api_key="sécret")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": b"Bearer \xff"}):
        for method, path in (("POST", EDITS), ("GET", "/v1/models"), ("GET", "/metrics")):
            response = client.request(method, path, headers=headers)
            refused(response, 401, "invalid_api_key")
            assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/health").status_code == 200
    good = {"authorization": "Bearer sécret".encode()}
    assert client.get("/v1/models", headers=good).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"prompt": " "}, 400, "invalid_value", "prompt"),
        ({"prompt": "x" * 3000}, 400, "invalid_value", "prompt"),
        ({"prompt": "[IMG0]"}, 400, "invalid_value", None),
        ({"expressive": ""}, 400, "invalid_value", "expressive"),
        ({"n": "0"}, 400, "invalid_value", "n"),
        ({"n": "11"}, 400, "invalid_value", "n"),
        ({"n": "two"}, 400, "invalid_value", "n"),
        ({"seed": "-1"}, 400, "invalid_value", "seed"),
        ({"steps": "0"}, 400, "invalid_value", "steps"),
        ({"guidance_scale": "nan"}, 400, "invalid_value", "guidance_scale"),
        ({"strength": "2"}, 400, "invalid_value", "strength"),
        ({"size": "big"}, 400, "invalid_value", "size"),
        ({"size": "8x8"}, 400, "invalid_image", "size"),
        ({"size": "90000x90000"}, 400, "invalid_value", "size"),
        ({"response_format": "gif"}, 400, "invalid_value", "response_format"),
        ({"stream": "true"}, 400, "invalid_value", "stream"),
        ({"guidence": "3"}, 400, "unknown_parameter", "guidence"),
        ({"model": "other"}, 404, "model_not_found", "model"),
        ({"user": "x" * 100_000}, 400, None, None),
    ],
)
def test_bad_values_are_refused(serving, fields, status, code, param):
    refused(post(serving(), **fields), status, code, param)


def bomb():
    return png(Image.new("1", (12000, 12000)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("image", b"no picture", "not a picture"),
        ("image", PHOTO[:300], "damaged"),
        ("image", png(Image.new("RGB", (4, 4))), "4x4"),
        ("image", bomb, "megapixels"),
        ("image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "not a picture"),
        ("mask", PHOTO, "no alpha"),
        ("mask", png(edge_mask(columns=0)), "opaque everywhere"),
        ("mask", png(edge_mask((40, 48))), "expected 48x40"),
    ],
)
def test_bad_pictures_are_refused(serving, name, content, said):
    content = content() if callable(content) else content
    files = {"image": ("a.png", PHOTO)} | {name: ("b.png", content)}
    assert said in refused(post(serving(), files), 400, "invalid_image", name)


def test_the_pictures_of_a_request_have_so_many_pixels_in_all(serving):
    client = serving(Limits(max_pixels=3000))
    assert len(results(post(client))) == 1
    message = refused(post(client, [("image[]", PHOTO)] * 2), 400, "invalid_image", "image")
    assert "megapixels" in message


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([("image[]", PHOTO)] * 17, "image"),
        ([("mask", png(edge_mask()))], "image"),
        ([("image[]", PHOTO), ("image[]", PHOTO), ("mask", png(edge_mask()))], "mask"),
        ([("image", PHOTO), ("picture", PHOTO)], "picture"),
        ([("image", PHOTO), ("mask", (None, "text"))], "mask"),
    ],
)
def test_files_in_the_wrong_places_are_refused(serving, files, param):
    response = post(serving(), files)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"garbage"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="image"; file'),
        ("multipart/form-data; boundary=x", b"--x\r\nno name\r\n\r\nhello\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
    ],
)
def test_broken_forms_are_refused(serving, kind, body):
    response = serving().post(EDITS, content=body, headers={"content-type": kind})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


def test_paths_and_methods_that_are_not_there(serving):
    client = serving()
    refused(client.get("/nothing"), 404, "not_found")
    response = client.get(EDITS)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_a_failure_of_the_model_is_told_without_its_inside(serving, model, monkeypatch):
    client = serving()

    def fail(*_):
        raise RuntimeError("inside")

    with monkeypatch.context() as patch:
        patch.setattr(model, "_predict", fail)
        assert "inside" not in refused(post(client), 500, "server_error")
    assert len(results(post(client))) == 1


def test_flagged_results_are_refused(serving):
    class Checker:
        def refuse_flagged(self, images):
            if any(image.width > 48 for image in images):
                raise SafetyError("the safety checker flags 1 of 1 result")

    client = serving(safety_checker=Checker())
    assert len(results(post(client))) == 1
    response = post(client, {"image": ("a.png", png(picture(64, 40)))})
    assert "flags" in refused(response, 400, "content_policy_violation")


def test_too_large_requests_are_refused_before_and_while_they_are_read(serving):
    client = serving(Limits(max_upload_bytes=1000))
    refused(post(client, user="x" * 1000), 413, "request_too_large")
    sent = []

    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(20):
            sent.append(200)
            yield b"x" * 200

    response = client.post(
        EDITS, content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    refused(response, 413, "request_too_large")

"""The server on a real socket: what only shows there."""

import base64
import io
import socket
import threading
import time

import httpx
import openai
import pytest

from mgie.server.app import create_app
from mgie.server.limits import Limits
from mgie.server.run import Server, bound_socket, is_local, url
from tests.server.conftest import PHOTO, edge_mask, form, pixels, png

FILES = {"image": ("a.png", PHOTO)}


@pytest.fixture
def live(model):
    """Gives a function that serves the toy model on a free port, and returns its address and app."""
    servers = []

    def serve(**limits):
        app, ready = create_app(model, "toy", limits=Limits(**limits)), threading.Event()
        sock = bound_socket("127.0.0.1", 0)
        server = Server(app, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        servers.append((server, thread, sock))
        assert ready.wait(30)
        assert is_local(sock)
        return url(sock), app.state.editing

    yield serve
    for server, thread, sock in servers:
        server.should_exit = True
        thread.join(30)
        sock.close()
        assert not thread.is_alive()


def started(address, **fields):
    """Returns a thread with a request under way, and the list that its answer goes to."""
    answers = []

    def post():
        answers.append(httpx.post(f"{address}/v1/images/edits", data=form(**fields), files=FILES, timeout=60))

    thread = threading.Thread(target=post)
    thread.start()
    return thread, answers


def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def raw(address, head, body=b""):
    """Returns a socket that has sent the start of a request."""
    host, port = address.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.sendall(f"POST /v1/images/edits HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n".encode() + body)
    return sock


def test_the_openai_client_edits_with_and_without_a_mask(live):
    address, _ = live()
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
    assert [model.id for model in client.models.list()] == ["toy"]
    settings = {"prompt": "make it red", "model": "toy", "extra_body": {"seed": 1, "steps": 1}}
    whole = client.images.edit(image=io.BytesIO(PHOTO), **settings)
    part = client.images.edit(image=[("a.png", PHOTO)], mask=("m.png", png(edge_mask())), n=2, **settings)
    assert len(part.data) == 2
    assert whole.data[0].revised_prompt
    before = pixels(PHOTO)
    after, masked = (pixels(base64.b64decode(answer.data[0].b64_json)) for answer in (whole, part))
    assert (after[:, 24:] != before[:, 24:]).any()
    assert (masked[:, 24:] == before[:, 24:]).all()
    assert (masked[:, :20] != before[:, :20]).any()
    with pytest.raises(openai.BadRequestError, match="no parameter 'guidance'"):
        client.images.edit(image=io.BytesIO(PHOTO), prompt="x", extra_body={"guidance": 3})
    with pytest.raises(openai.NotFoundError, match="dall-e-2"):
        client.images.edit(image=io.BytesIO(PHOTO), prompt="x", model="dall-e-2")


def test_requests_at_once_are_batched_and_too_many_are_refused(live, gate):
    address, editing = live(max_queue=3)
    requests = [started(address)]
    assert gate.entered.wait(30)
    requests += [started(address, seed=str(seed)) for seed in (2, 3, 4)]
    until(lambda: len(editing.worker._queue) == 3)
    refused = httpx.post(f"{address}/v1/images/edits", data=form(), files=FILES)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    gate.open.set()
    for thread, answers in requests:
        thread.join(60)
        assert answers[0].status_code == 200
    assert gate.rows == [1, 3]


def test_an_edit_that_takes_too_long_is_given_up(live, gate):
    address, editing = live(timeout=0.2)
    refused = httpx.post(f"{address}/v1/images/edits", data=form(steps="50"), files=FILES, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "edit_timeout")
    gate.open.set()
    until(lambda: editing.worker.is_alive and not editing.worker._queue)
    assert gate.steps <= 1


def test_a_client_that_leaves_takes_its_edit_with_it(live, gate):
    address, editing = live()
    first = started(address)
    assert gate.entered.wait(30)
    request = httpx.Request("POST", f"{address}/v1/images/edits", data=form(seed="2"), files=FILES)
    body = request.read()
    kind = request.headers["content-type"]
    leaving = raw(address, f"Content-Type: {kind}\r\nContent-Length: {len(body)}", body)
    until(lambda: len(editing.worker._queue) == 1)
    half = raw(address, f"Content-Type: {kind}\r\nContent-Length: {len(body)}", body[:100])
    (job,) = editing.worker._queue
    leaving.close()
    half.close()
    until(job.future.cancelled)
    gate.open.set()
    first[0].join(60)
    assert first[1][0].status_code == 200
    assert httpx.post(f"{address}/v1/images/edits", data=form(), files=FILES, timeout=60).status_code == 200
    assert gate.rows == [1, 1]
    assert 'mgie_requests_total{status="499"} 2.0' in httpx.get(f"{address}/metrics").text


def test_a_body_that_trickles_is_cut_off(live):
    address, _ = live(upload_timeout=0.2)
    sock = raw(address, "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000", b"--x\r\n")
    answer = b""
    while chunk := sock.recv(4096):  # until the server hangs up
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer


def test_a_body_that_is_too_large_is_answered_while_it_comes(live):
    address, _ = live(max_upload_bytes=10_000)
    for size in ("Content-Length: 20000", "Transfer-Encoding: chunked"):
        body = b"" if "Length" in size else b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        sock = raw(address, f"Content-Type: multipart/form-data; boundary=x\r\n{size}", body)
        answer = sock.recv(4096)  # although the rest of the body has not been sent
        sock.close()
        assert answer.startswith(b"HTTP/1.1 413 ")

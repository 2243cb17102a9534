import importlib.util
import socket

import pytest

from mgie.cli import main


@pytest.fixture
def refused(capsys):
    def run(*arguments):
        assert main(["demo", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return run


@pytest.fixture
def with_gradio(monkeypatch):
    """As if gradio were installed; what is refused is refused before it is imported."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


def test_without_gradio_it_says_how_to_get_it(refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'mgie[demo]'" in refused()


def test_a_wrong_model_is_refused(refused, with_gradio):
    assert "no model 'nothing'" in refused("--model", "nothing")


def test_a_taken_port_is_refused(refused, with_gradio):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is taken" in refused("--port", port)


def test_an_address_of_another_machine_is_refused(refused, with_gradio):
    assert "192.0.2.1" in refused("--host", "192.0.2.1")


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "x"], ["--dtype", "int3"]])
def test_bad_arguments_are_refused(refused, arguments):
    assert arguments[0] in refused(*arguments)

import socket
import sys

import pytest
import uvicorn

from mgie.cli import main
from tests.models.test_safety import save_checker


def refused(capsys, *arguments):
    """Returns the one line of complaint."""
    code = main(["serve", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


@pytest.fixture
def served(monkeypatch):
    """The configurations of servers, which end as soon as they are ready."""
    configs, startup = [], uvicorn.Server.startup

    async def start(server, sockets=None):
        configs.append(server.config)
        await startup(server, sockets=sockets)
        server.should_exit = True

    monkeypatch.setattr(uvicorn.Server, "startup", start)
    return configs


def test_options_reach_the_server(served, capsys, pipeline_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("MGIE_API_KEY", "secret")
    checker = save_checker(tmp_path / "checker", True)
    capsys.readouterr()
    code = main(
        [
            *("serve", "--model", str(pipeline_folder), "--port", "0", "--max-upload-mb", "2"),
            *("--max-megapixels", "3", "--max-queue", "4", "--max-batch", "5", "--timeout", "6"),
            *("--upload-timeout", "7", "--safety-checker", str(checker)),
        ]
    )
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("serving toy on http://127.0.0.1:")
    assert out.count("\n") == 1
    editing = served[0].app.state.editing
    assert vars(editing.limits) == {
        "max_upload_bytes": 2 * 2**20,
        "max_pixels": 3_000_000,
        "max_queue": 4,
        "max_batch": 5,
        "timeout": 6,
        "upload_timeout": 7,
    }
    assert editing.worker.safety_checker is not None
    assert not editing.worker.is_alive


def test_an_open_server_without_a_key_warns(served, capsys, pipeline_folder, monkeypatch):
    monkeypatch.delenv("MGIE_API_KEY", raising=False)
    assert main(["serve", "--model", str(pipeline_folder), "--port", "0", "--host", "0.0.0.0"]) == 0
    err = capsys.readouterr().err
    assert "MGIE_API_KEY" in err
    assert err.count("\n") == 1


def test_mistakes_are_one_line(capsys):
    assert "no model 'nothing'" in refused(capsys, "--model", "nothing")
    assert "--port" in refused(capsys, "--port", 70000)
    assert "--max-batch" in refused(capsys, "--max-batch", 0)
    assert "no.such.host.invalid" in refused(capsys, "--host", "no.such.host.invalid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(capsys, "--port", port)


def test_without_its_packages_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(
        sys.modules["mgie.cli.serve"], "find_spec", lambda name: None if name == "uvicorn" else name
    )
    assert "needs uvicorn, which is not installed; pip install 'mgie[serve]'" in refused(capsys)


def test_a_flagged_edit_is_not_written(capsys, photo, pipeline_folder, tmp_path):
    checker = save_checker(tmp_path / "checker", True)
    arguments = ["edit", str(photo), "make it red", "--model", str(pipeline_folder), "--steps", "1"]
    assert main([*arguments, "--safety-checker", str(checker)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "safety checker flags 1 of 1 result" in err.splitlines()[-1]
    assert not photo.with_name("photo.edited.png").exists()
    assert main([*arguments, "--safety-checker", str(save_checker(tmp_path / "kind", False))]) == 0
    assert photo.with_name("photo.edited.png").exists()

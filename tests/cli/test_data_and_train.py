import pytest

from mgie.cli import main
from mgie.data.records import read_records
from tests.conftest import picture


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(3):
        picture(64 + i, 48).save(folder / f"{i}.png")
    return folder


def test_synth_writes_a_dataset(photographs, tmp_path, capsys):
    out = tmp_path / "made"
    arguments = ["--count", "6", "--seed", "3", "--families", "invert,darker"]
    assert main(["data", "synth", str(photographs), "-o", str(out), *arguments]) == 0
    captured = capsys.readouterr()
    records = read_records(out)
    assert captured.out == f"saved: 6 records in {out}\n"
    assert "making edits" in captured.err
    assert {record.meta["family"] for record in records} == {"invert", "darker"}
    assert all((out / record.target).is_file() for record in records)


def test_synth_hands_objects_and_vagueness_on(photographs, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("mgie.data.synth.synthesise", lambda *args, **kwargs: seen.append(kwargs) or [])
    objects = tmp_path / "things"
    objects.mkdir()
    (objects / "objects.jsonl").write_text('{"name": "ball", "image": "ball.png", "split": "test"}\n')
    arguments = ["data", "synth", str(photographs), "-o", str(tmp_path / "made")]
    assert main(arguments) == 0
    assert main([*arguments, "--objects", str(objects), "--vague-rate", "0.25"]) == 0
    assert [(given["vague_rate"], given["objects"]) for given in seen[:1]] == [(0.0, None)]
    assert seen[1]["vague_rate"] == 0.25 and seen[1]["objects"].names("test") == ("ball",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "inverted"], "inverted"),
        (["--split", "test"], "no photograph of the split 'test'"),
        (["--count", "0"], "--count"),
        (["--requests", "nothing.jsonl"], "nothing.jsonl"),
        (["--objects", "no_objects"], "no_objects"),
        (["--vague-rate", "2"], "--vague-rate"),
    ],
)
def test_synth_refuses_what_it_cannot_make(photographs, tmp_path, capsys, arguments, message):
    out = tmp_path / "made"
    assert main(["data", "synth", str(photographs), "-o", str(out), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err.splitlines()[-1]
    assert not (out / "records.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (None, [], "config.yaml"),
        ("stage: joint\nlerning_rate: 1", [], "did you mean learning_rate"),
        ("stage: joint", ["--set", "max_steps"], "key=value"),
        ("{", [], "not YAML"),
    ],
)
def test_train_refuses_a_bad_configuration(tmp_path, capsys, text, overrides, message):
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text)
    assert main(["train", str(config), *overrides]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_train_hands_the_configuration_on(tmp_path, capsys, monkeypatch):
    seen = []

    def train(config, report):
        seen.append(config)
        report(config.max_steps, {"loss": 0.25})
        return tmp_path / "run" / "pipeline"

    monkeypatch.setattr("mgie.training.loop.train", train)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"stage: autoencoder\noutput_dir: {tmp_path}/run\nmodel: {{}}\n"
        "data: {photographs: here}\nmax_steps: 4\nwarmup_steps: 0\nbatch_size: 2\n"
    )
    assert main(["train", str(config), "--set", "max_steps=7", "--set", "data.photographs=there"]) == 0
    assert (seen[0].max_steps, seen[0].data.photographs) == (7, "there")
    captured = capsys.readouterr()
    assert captured.out == f"saved: {tmp_path}/run/pipeline\n"
    assert "loss=0.25" in captured.err

"""A batch on the toy pipeline: its rows, its failures, and the same files however often it is stopped."""

import itertools
import json
import os
import shutil

import pytest
import torch
from PIL import Image

import mgie.batch.run
from mgie.batch import Batch, BatchSettings, read_rows
from mgie.errors import ConfigError, DataError
from mgie.images import read_edits
from tests.conftest import picture

WORDS = ["make it red", "turn the picture blue, please"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five pictures of two working sizes, and two files that are no pictures; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("batch") / "pictures"
    (folder / "deep").mkdir(parents=True)
    for number in range(4):
        picture(48 + 4 * number, 40).save(folder / f"p{number}.png")
    picture(40, 80).save(folder / "deep" / "high one.JPG")
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.png").write_bytes((folder / "p0.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def table(folder):
    """Nine rows beside these pictures: several kinds of settings, own words, a mask; two rows fail."""
    table = shutil.copytree(folder, folder.with_name("table"))
    Image.new("L", (52, 40), "white").save(table / "white.png")
    (table / "broken.png").write_text("no picture")
    rows = [{"image": f"p{number % 4}.png", "instruction": WORDS[number % 2]} for number in range(9)]
    rows[1] |= {"mask": "white.png", "strength": 0.5, "id": "one"}
    rows[2] |= {"image": "broken.png"}
    rows[3] |= {"seed": 77, "output": "third"}
    rows[4] |= {"expressive": "The house would turn red.", "steps": 2}
    rows[6] |= {"instruction": "[IMG0]"}
    rows[8] |= {"image": "deep/high one.JPG", "guidance_scale": 0, "output": "last.jpg"}
    path = table / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def own_table(table, tmp_path):
    """The same, for a test to change."""
    return shutil.copytree(table.parent, tmp_path / "table") / table.name


@pytest.fixture(scope="module")
def whole_folder(table, pipeline):
    """Where an uninterrupted run has left its files; tests leave it as it is."""
    folder = table.parent.with_name("whole")
    go(table, folder, pipeline)
    return folder


@pytest.fixture(scope="module")
def whole(whole_folder):
    """These files."""
    return contents(whole_folder)


@pytest.fixture
def finished(whole_folder, tmp_path):
    """A copy of that folder, for a test to change."""
    return shutil.copytree(whole_folder, tmp_path / "out")


def go(source, output, pipeline, **settings):
    """Runs a batch to its end and returns its results."""
    batch = Batch(source, output, BatchSettings(**{"model": "toy", "batch_size": 3, **settings}))
    batch.start()
    list(batch.run(pipeline))
    return batch.finish()


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# rows


def test_rows_of_a_folder_are_its_pictures_in_order(folder, tmp_path):
    rows = read_rows(folder, tmp_path / "out", BatchSettings(instruction="red", seed=5, format="webp"))
    assert [(row.image, row.output) for row in rows] == [
        ("deep/high one.JPG", "0000-high_one.webp"),
        *((f"p{i}.png", f"000{i + 1}-p{i}.webp") for i in range(4)),
    ]
    assert [row.seed for row in rows] == [5, 6, 7, 8, 9]
    assert {row.instruction for row in rows} == {"red"}


def test_what_is_below_the_output_is_no_input(folder):
    rows = read_rows(folder, folder / "deep", BatchSettings(instruction="red"))
    assert [row.image for row in rows] == [f"p{i}.png" for i in range(4)]
    with pytest.raises(ConfigError, match="choose another"):
        read_rows(folder, folder / "deep" / "..", BatchSettings(instruction="red"))


def test_results_may_go_above_the_pictures(folder):
    settings = BatchSettings(instruction="make it red")
    assert len(read_rows(folder, folder.parent, settings)) == len(read_rows(folder, folder / "out", settings))


def test_csv_and_json_lines_say_the_same(tmp_path):
    values = {
        **{"image": "a, b.png", "instruction": 'say "red"\nand mean it', "seed": 7, "steps": 3},
        **{"strength": 0.25, "guidance_scale": 2.0, "image_guidance_scale": 1.5, "expressive": "All red."},
        **{"mask": "m.png", "output": "x.webp", "id": "first"},
    }
    plain = {"image": "b.png", "instruction": "make it blue"}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(values)}\n\n{json.dumps(plain | {'seed': None})}\n")
    cells = ['"{}"'.format(str(value).replace('"', '""')) for value in values.values()]
    # As spreadsheets write it: a byte order mark, and all cells of each row.
    (tmp_path / "rows.csv").write_text(
        f"{','.join(values)}\r\n{','.join(cells)}\r\nb.png,make it blue{',' * 9}\r\n",
        encoding="utf-8-sig",
        newline="",
    )
    settings = BatchSettings(seed=10)
    rows = read_rows(tmp_path / "rows.csv", tmp_path / "out", settings)
    assert rows == read_rows(tmp_path / "rows.jsonl", tmp_path / "out", settings)
    first, second = rows
    assert {name: getattr(first, name) for name in values} == values
    assert (second.seed, second.output, second.strength) == (11, "0001-b.png", 1.0)


def test_an_instruction_for_all_is_for_rows_without_one(tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("image,instruction\na.png,\nb.png,blue\n")
    rows = read_rows(table, tmp_path / "out", BatchSettings(instruction="red"))
    assert [row.instruction for row in rows] == ["red", "blue"]


ROW = '"image": "a.png", "instruction": "red"'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.jsonl", "", "holds nothing"),
        ("rows.jsonl", "{", "rows.jsonl:1: not JSON"),
        ("rows.jsonl", "[1]", "rows.jsonl:1: a JSON list"),
        ("rows.jsonl", f'{{{ROW}}}\n{{{ROW}, "sed": 3}}', "jsonl:2: unknown column 'sed'; did you mean"),
        ("rows.jsonl", f'{{{ROW}, "zzz": 3}}', "columns are image, "),
        ("rows.jsonl", '{"image": "a.png"}', "no instruction; add it, or give one for all"),
        ("rows.jsonl", '{"instruction": "red"}', "no image"),
        ("rows.jsonl", '{"image": "a.png", "instruction": " "}', "rows.jsonl:1: the instruction is empty"),
        ("rows.jsonl", '{"image": 3, "instruction": "red"}', "image is 3; expected the path"),
        ("rows.jsonl", '{"image": "\\ud800", "instruction": "red"}', "image is '.ud800'"),
        ("rows.jsonl", f'{{{ROW}, "seed": -1}}', "seed is -1; expected a whole number"),
        ("rows.jsonl", f'{{{ROW}, "seed": 1.5}}', "seed is 1.5"),
        ("rows.jsonl", f'{{{ROW}, "seed": true}}', "seed is True"),
        ("rows.jsonl", f'{{{ROW}, "strength": 1.1}}', "strength is 1.1; expected a number from 0 to 1"),
        ("rows.jsonl", f'{{{ROW}, "guidance_scale": NaN}}', "guidance_scale is nan"),
        ("rows.jsonl", f'{{{ROW}, "steps": 0}}', "steps is 0"),
        ("rows.jsonl", f'{{{ROW}, "output": "../a.png"}}', "output is '../a.png'; expected a short"),
        ("rows.jsonl", f'{{{ROW}, "output": "a.gif"}}', "needs one of the suffixes"),
        ("rows.jsonl", f'{{{ROW}, "output": "a"}}\n{{{ROW}, "output": "A.png"}}', "is that of .*jsonl:1 too"),
        ("rows.jsonl", f'{{{ROW}, "id": "a"}}\n{{{ROW}, "id": "a"}}', "id 'a' is that of"),
        ("rows.csv", "image,instruction\na.png,make it red, please\n", "rows.csv:2: more cells than the 2"),
        ("rows.csv", "image,image\n", "twice"),
        ("rows.csv", "image,instruction,seed\na.png,red,x\n", "rows.csv:2: seed is 'x'"),
        ("rows.csv", 'image,instruction\na.png,"red\n', "cannot read"),
        ("rows.csv", "image,instruction\n", "holds nothing"),
        ("rows.txt", "", "suffix '.txt'"),
        ("missing.csv", None, "does not exist"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused_with_their_line(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        Batch(tmp_path / name, tmp_path / "out", BatchSettings())
    assert not (tmp_path / "out").exists()


def test_a_folder_needs_an_instruction_and_pictures(folder, tmp_path):
    with pytest.raises(ConfigError, match="--instruction"):
        read_rows(folder, tmp_path / "out", BatchSettings())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds nothing to edit; expected pictures"):
        read_rows(tmp_path / "empty", tmp_path / "out", BatchSettings(instruction="red"))


# results


def test_results_are_those_of_the_pipeline(folder, tmp_path, pipeline):
    results = go(folder, tmp_path / "out", pipeline, instruction="make it red", seed=4, batch_size=2)
    assert [result.status for result in results] == ["ok"] * 5
    for result in results:
        generator = torch.Generator().manual_seed(result.seed)
        alone = pipeline(folder / result.image, "make it red", generator=generator)
        assert result.expressive_instruction == alone.expressive_instructions[0]
        with Image.open(tmp_path / "out" / result.output) as image:
            assert image.size == alone.images[0].size
            differences = zip(image.tobytes(), alone.images[0].tobytes(), strict=True)
            assert max(abs(a - b) for a, b in differences) <= 1
            (edit,) = read_edits(image.info["XML:com.adobe.xmp"])
        assert (edit.model, edit.seed, edit.instruction) == ("toy", result.seed, "make it red")


def test_a_rows_own_settings_reach_the_pipeline(table, tmp_path, pipeline):
    results = go(table, tmp_path / "out", pipeline, steps=3, guidance_scale=2.0)
    own = {
        1: {"mask": table.parent / "white.png", "strength": 0.5},
        4: {"expressive_instruction": "The house would turn red.", "num_inference_steps": 2},
        5: {},
    }
    for number, settings in own.items():
        result = results[number]
        generator = torch.Generator().manual_seed(result.seed)
        alone = pipeline(
            table.parent / result.image,
            result.instruction,
            generator=generator,
            **{"num_inference_steps": 3, "guidance_scale": 2.0, **settings},
        )
        with Image.open(tmp_path / "out" / result.output) as image:
            differences = zip(image.tobytes(), alone.images[0].tobytes(), strict=True)
            assert max(abs(a - b) for a, b in differences) <= 1
    assert results[4].expressive_instruction == "The house would turn red."
    assert (results[3].seed, results[3].output) == (77, "third.png")
    with Image.open(tmp_path / "out" / "last.jpg") as image:
        assert image.format == "JPEG"


def test_failing_rows_are_reported_and_the_rest_goes_on(whole_folder):
    lines = [json.loads(line) for line in (whole_folder / "results.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(9))
    assert list(lines[1]) == [
        *("row", "id", "image", "instruction", "status"),
        *("output", "seed", "expressive_instruction", "error"),
    ]
    assert (lines[1]["id"], lines[1]["error"]) == ("one", None)
    failed = {line["row"]: line for line in lines if line["status"] == "failed"}
    assert sorted(failed) == [2, 6]
    assert "broken.png is not a picture" in failed[2]["error"]
    assert "[IMG0]" in failed[6]["error"]
    assert failed[2]["output"] is None
    assert len(list(whole_folder.glob("*.png"))) == 6


def test_what_a_library_raises_fails_its_row_alone(folder, tmp_path, pipeline, monkeypatch):
    encode = pipeline.encode_instruction

    def exhausted(images, *arguments):
        if any(image.width == 52 for image in images):
            raise torch.OutOfMemoryError("no memory\nfor this")
        return encode(images, *arguments)

    monkeypatch.setattr(pipeline, "encode_instruction", exhausted)
    results = go(folder, tmp_path / "out", pipeline, instruction="make it red")
    assert [result.error for result in results] == [
        None,
        None,
        "OutOfMemoryError: no memory for this",
        None,
        None,
    ]


def test_what_a_format_cannot_hold_fails_its_row_alone(table, tmp_path, pipeline, monkeypatch):
    encode = mgie.batch.run.encode_image

    def limited(image, suffix, *arguments):
        if image.size == (48, 40) and suffix == ".png":
            raise ValueError("too large")
        return encode(image, suffix, *arguments)

    monkeypatch.setattr(mgie.batch.run, "encode_image", limited)
    results = go(table, tmp_path / "out", pipeline)
    assert [result.row for result in results if result.error == "ValueError: too large"] == [0, 4]


# stopped and started again


@pytest.mark.parametrize("writes", [1, 4, 12, 22])
def test_a_batch_stopped_at_any_write_ends_with_the_same_files(
    table, tmp_path, pipeline, whole, monkeypatch, writes
):
    replace, counter = os.replace, itertools.count()

    def stop(partial, file):
        if next(counter) == writes:
            raise KeyboardInterrupt
        replace(partial, file)

    with monkeypatch.context() as patch:
        patch.setattr(mgie.batch.run.os, "replace", stop)
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # as after a kill
        with pytest.raises(KeyboardInterrupt):
            go(table, tmp_path / "out", pipeline)
    go(table, tmp_path / "out", pipeline)
    assert contents(tmp_path / "out") == whole


def test_torn_lines_and_lost_pictures_are_made_again(table, finished, pipeline, whole):
    lines = (finished / "results.jsonl").read_bytes().splitlines(keepends=True)
    (finished / "results.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:20])
    (finished / "0000-p0.png").unlink()
    batch = Batch(table, finished, BatchSettings(model="toy", batch_size=3))
    assert [row.number for row in batch.remaining()] == [0, 2, 4, 5, 6, 7, 8]
    go(table, finished, pipeline)
    assert contents(finished) == whole


def test_processes_share_the_work_and_the_files_are_the_same(table, tmp_path, pipeline, whole):
    settings = BatchSettings(model="toy", batch_size=3)
    batches = [Batch(table, tmp_path / "out", settings, process=i, num_processes=2) for i in range(2)]
    batches[0].start()
    numbers = [[result.row for result in batch.run(pipeline)] for batch in batches]
    assert [sorted(share) for share in numbers] == [[0, 1, 2, 6, 7, 8], [3, 4, 5]]
    batches[0].finish()
    assert contents(tmp_path / "out") == whole


def test_a_mended_picture_is_edited_and_the_others_stay(own_table, finished, pipeline, whole):
    (own_table.parent / "broken.png").write_bytes((own_table.parent / "p0.png").read_bytes())
    results = go(own_table, finished, pipeline)
    assert [result.row for result in results if result.status == "failed"] == [6]
    after = contents(finished)
    new = {f"{name}0002-broken.png{end}" for name, end in (("", ""), ("thumbs/", ".before.jpg"))}
    assert after.keys() - whole.keys() == {*new, "thumbs/0002-broken.png.after.jpg"}
    assert {name for name in whole if after[name] != whole[name]} == {"results.jsonl", "index.html"}


def batch(table, output, **changes):
    return Batch(table, output, BatchSettings(**{"model": "toy", "batch_size": 3, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 2}, "with --steps null, not 2"),
        ({"keep_unchanged": "off"}, '--keep-unchanged "auto", not "off"'),
        ({"batch_size": 2}, "--batch-size 3, not 2"),
        ({"size": (32, 32)}, "--size null, not .32, 32."),
    ],
)
def test_other_settings_are_refused_once_there_are_results(table, finished, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        batch(table, finished, **changes).start()
    batch(table, finished).start()
    batch(table, tmp_path / "new").start()
    batch(table, tmp_path / "new", **changes).start()  # nothing was made yet


def test_a_batch_whose_rows_all_failed_may_be_mended(folder, tmp_path, pipeline):
    settings = {"instruction": "make it red", "batch_size": 3}
    failed = go(folder, tmp_path / "new", pipeline, **settings, steps=5000)
    assert {result.status for result in failed} == {"failed"}
    results = go(folder, tmp_path / "new", pipeline, **settings, steps=1)
    assert {result.status for result in results} == {"ok"}


def test_other_rows_are_refused_once_there_are_results(own_table, finished):
    rows = own_table.read_text()
    for text, message in (
        (rows + rows.splitlines()[0], "of 9 other rows"),
        (rows.replace("77", "78"), "whose rows were others"),
    ):
        own_table.write_text(text)
        with pytest.raises(ConfigError, match=message):
            batch(own_table, finished).start()


def test_other_files_are_never_overwritten(own_table):
    folder = own_table.parent
    (folder / "0005-p1.png").write_bytes(b"mine")
    before = contents(folder)
    with pytest.raises(ConfigError, match="0005-p1.png is there already"):
        batch(own_table, folder).start()
    assert contents(folder) == before


@pytest.mark.parametrize("text", ["{}", "[", "3"])
def test_a_settings_file_of_something_else_is_refused(table, finished, text):
    (finished / "batch.json").write_text(text)
    with pytest.raises(ConfigError, match="not of a batch"):
        batch(table, finished).start()


def test_a_folder_that_cannot_be_written_is_refused(table, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="cannot write into"):
        batch(table, tmp_path / "out").start()


# the contact sheet


def test_the_contact_sheet_shows_every_row(own_table, tmp_path, pipeline):
    rows = [json.loads(row) for row in own_table.read_text().splitlines()[:3]]
    rows[0] |= {"instruction": "<b>&amp; red", "output": "a #1%.png"}
    own_table.write_text("\n".join(map(json.dumps, rows)))
    results = go(own_table, tmp_path / "out", pipeline)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;amp; red" in page
    assert 'href="a%20%231%25.png"' in page
    assert 'src="thumbs/a%20%231%25.png.after.jpg"' in page
    assert page.count("<article") == 2
    assert "1 of 3 rows failed" in page
    assert "http" not in page
    thumbs = {path.name for path in (tmp_path / "out" / "thumbs").iterdir()}
    names = [result.output for result in results if result.output]
    assert thumbs == {f"{name}.{side}.jpg" for name in names for side in ("before", "after")}

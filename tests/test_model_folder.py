import os

import pytest
import torch
from safetensors.torch import save_file

from mgie import model_folder
from mgie.errors import CheckpointError
from mgie.model_folder import find_model_folder, read_json, replaced_folder


def test_a_folder_is_found(pipeline_folder):
    assert find_model_folder(str(pipeline_folder)) == pipeline_folder


def test_a_built_in_name_wins_over_a_folder(tmp_path, monkeypatch, pipeline_folder):
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_folder, "BUILT_IN_MODELS", ("toy",))
    monkeypatch.setattr(model_folder, "_find_built_in", lambda name: pipeline_folder)
    assert find_model_folder("toy") == pipeline_folder


def test_a_built_in_model_is_found_beside_the_package_or_in_it(tmp_path, monkeypatch, pipeline_folder):
    monkeypatch.setattr(model_folder.importlib.resources, "files", lambda _: tmp_path / "mgie")
    with pytest.raises(CheckpointError, match="'mgie-tiny' is not in this installation"):
        find_model_folder("mgie-tiny")
    for place in (tmp_path / "_ckpt", tmp_path / "mgie" / "_ckpt"):
        place.mkdir(parents=True)
        (place / "mgie-tiny").symlink_to(pipeline_folder)
        assert find_model_folder("mgie-tiny") == place / "mgie-tiny"


@pytest.mark.parametrize("name", ["nothing", "./nothing/here", "/no/such/folder", "a/b/c", ""])
def test_an_unknown_name_says_what_names_there_are(name):
    with pytest.raises(CheckpointError, match=r"mgie-tiny.*folder.*hub id"):
        find_model_folder(name)


def test_a_hub_id_without_a_network_fails_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="no folder 'nobody/nothing' here") as caught:
        find_model_folder("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_folder_without_an_index_is_no_pipeline(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a pipeline.*save_pretrained"):
        find_model_folder(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_a_damaged_json_file_is_named(tmp_path, text):
    file = tmp_path / "mgie.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"mgie\.json"):
        read_json(file)


def test_a_new_folder_can_be_read_by_all_that_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        with replaced_folder(tmp_path / "model") as new:
            (new / "unet").mkdir()
            save_file({"a": torch.zeros(2)}, new / "unet" / "weights.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "model" / "unet" / "weights.safetensors").stat().st_mode & 0o777 == 0o644

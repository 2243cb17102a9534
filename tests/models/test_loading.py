import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mgie.errors import CheckpointError
from mgie.pipeline import MGIEPipeline

PARTS = {
    "mllm": ("model.safetensors", "norm"),
    "edit_head": ("diffusion_pytorch_model.safetensors", "llm2hid.bias"),
    "vae": ("diffusion_pytorch_model.safetensors", "bias"),
    "unet": ("diffusion_pytorch_model.safetensors", "conv_in.bias"),
}


@pytest.fixture
def folder(pipeline_folder, tmp_path):
    return shutil.copytree(pipeline_folder, tmp_path / "model")


def drop(tensors, key):
    del tensors[key]


def add(tensors, key):
    tensors["left_over"] = torch.zeros(2)


def reshape(tensors, key):
    tensors[key] = torch.zeros(3)


def spoil(tensors, key):
    tensors[key][0] = float("nan")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("change", "problem"),
    [(drop, "is missing"), (add, "is not part"), (reshape, "has not the shape"), (spoil, "is not finite")],
)
def test_a_wrong_tensor_is_named(folder, part, change, problem):
    name, wanted = PARTS[part]
    file = folder / part / name
    tensors = load_file(file)
    key = next(key for key in tensors if wanted in key)
    change(tensors, key)
    save_file(tensors, file, metadata={"format": "pt"})
    named = "left_over" if change is add else key.split(".")[-1]
    with pytest.raises(CheckpointError, match=f"{part}: tensor '.*{named}' {problem}") as caught:
        MGIEPipeline.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot load .*unet"):
        MGIEPipeline.from_pretrained(folder)


def test_a_missing_part_is_named(folder):
    shutil.rmtree(folder / "vae")
    with pytest.raises(CheckpointError, match="no folder 'vae'"):
        MGIEPipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["os", "system"], "os"),
        (["diffusers", "NoSuchModel"], "expected a class"),
        (["diffusers"], "expected a class"),
    ],
)
def test_only_known_classes_are_loaded(folder, entry, message):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"vae": entry}))
    with pytest.raises(CheckpointError, match=message):
        MGIEPipeline.from_pretrained(folder)


def test_an_index_without_a_part_is_refused(folder):
    index = json.loads((folder / "model_index.json").read_text())
    del index["unet"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="describes no MGIE pipeline"):
        MGIEPipeline.from_pretrained(folder)


def test_loading_is_silent(folder, capfd):
    MGIEPipeline.from_pretrained(folder)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""

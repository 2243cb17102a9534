"""The model folder that is made of a training run."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mgie.checkpoint.extract import export_pipeline
from mgie.errors import CheckpointError
from mgie.pipeline import MGIEPipeline


def test_a_half_precision_model_with_its_provenance(
    pipeline: MGIEPipeline, pipeline_folder: Path, tmp_path: Path
):
    out = export_pipeline(
        pipeline_folder, tmp_path / "model", torch.float16, {"licence": "CC0", "data": ["a", "b"]}
    )
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        (file,) = (out / name).glob("*.safetensors")
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float16}, name
    loaded = MGIEPipeline.from_pretrained(out)  # back in fp32, rounded once
    for name in ("unet", "edit_head", "vae", "mllm"):
        a, b = (p.components[name].state_dict() for p in (pipeline, loaded))
        assert all(torch.equal(tensor.half().float(), b[key]) for key, tensor in a.items())
    assert loaded.config["num_inference_steps"] == pipeline.config["num_inference_steps"]

    texts = [path.read_text("utf-8") for path in out.rglob("*.json")]
    assert not any(str(pipeline_folder) in text or "_name_or_path" in text for text in texts)
    provenance = json.loads((out / "mgie.json").read_text())
    assert (provenance["licence"], provenance["data"], provenance["dtype"]) == ("CC0", ["a", "b"], "float16")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert provenance["sha256"].keys() == files - {"mgie.json"}
    for name, digest in provenance["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_an_older_model_is_replaced_but_nothing_else(pipeline_folder: Path, tmp_path: Path):
    shutil.copytree(pipeline_folder, tmp_path / "model")
    (tmp_path / "model" / "left_over.txt").write_text("old")
    out = export_pipeline(pipeline_folder, tmp_path / "model", torch.float16, {})
    assert not (out / "left_over.txt").exists()

    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not a model folder"):
        export_pipeline(pipeline_folder, tmp_path / "photographs", torch.float16, {})
    assert (tmp_path / "photographs" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("value", "reason"), [(1e6, "is too large for torch.float16"), (float("nan"), "is not finite")]
)
def test_weights_that_do_not_fit_are_refused(
    value: float, reason: str, pipeline_folder: Path, tmp_path: Path
):
    source = tmp_path / "source"
    shutil.copytree(pipeline_folder, source)
    file = source / "edit_head" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["hid2feat.bias"][0] = value  # 1e6 is finite, but not in half precision
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"hid2feat\.bias' {reason}"):
        export_pipeline(source, tmp_path / "model", torch.float16, {})
    assert not (tmp_path / "model").exists() and not (tmp_path / "model.new").exists()


def test_a_full_disk_leaves_the_older_model(
    pipeline_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "model"
    shutil.copytree(pipeline_folder, out)

    def save_half(self: MGIEPipeline, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MGIEPipeline, "save_pretrained", save_half)
    with pytest.raises(CheckpointError, match="No space left on device"):
        export_pipeline(pipeline_folder, out, torch.float16, {})
    assert (out / "model_index.json").is_file() and not (tmp_path / "model.new").exists()

"""The model folder that is made of a training run."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from mgie.checkpoint.extract import export_pipeline, extract_run
from mgie.errors import CheckpointError
from mgie.pipeline import MGIEPipeline
from mgie.training.stages import JointStage
from tests.conftest import picture

PARTS = ("mllm", "edit_head", "vae", "unet")
Run = tuple[Path, JointStage]


def tensors_of(pipeline: MGIEPipeline | Path) -> dict[str, Tensor]:
    if isinstance(pipeline, Path):
        pipeline = MGIEPipeline.from_pretrained(pipeline)
    return {
        f"{part}.{key}": tensor
        for part in PARTS
        for key, tensor in pipeline.components[part].state_dict().items()
    }


def edit_of(pipeline: MGIEPipeline | Path) -> Image.Image:
    if isinstance(pipeline, Path):
        pipeline = MGIEPipeline.from_pretrained(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    return pipeline(
        picture(), "make it red", expressive_instruction="a red house", generator=generator
    ).images[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[key]) for key, tensor in a.items())


def test_the_average_is_what_the_run_itself_saved(joint_run: Run, tmp_path: Path):
    run = joint_run[0]
    out = extract_run(run, tmp_path / "model", provenance={"licence": "CC0"})
    assert same(tensors_of(out), tensors_of(run / "pipeline"))
    assert np.array_equal(edit_of(out), edit_of(run / "pipeline"))
    provenance = json.loads((out / "mgie.json").read_text())
    told = {key: provenance[key] for key in ("licence", "training_steps", "weights", "dtype")}
    assert told == {"licence": "CC0", "training_steps": 3, "weights": "ema", "dtype": "float32"}
    assert provenance["training_config"]["output_dir"] == "run"
    assert not any(str(run.parent) in path.read_text("utf-8") for path in out.rglob("*.json"))
    again = extract_run(run / "checkpoint", tmp_path / "again", weights="ema")
    assert same(tensors_of(again), tensors_of(out))


def test_raw_weights_are_those_in_memory(joint_run: Run, tmp_path: Path):
    run, stage = joint_run
    out = extract_run(run, tmp_path / "model", weights="raw")
    assert same(tensors_of(out), tensors_of(stage.pipeline))
    assert not same(tensors_of(out), tensors_of(run / "pipeline"))
    assert np.array_equal(edit_of(out), edit_of(stage.pipeline))
    assert json.loads((out / "mgie.json").read_text())["weights"] == "raw"


def test_half_precision_is_rounded_once(joint_run: Run, tmp_path: Path):
    run, stage = joint_run
    out = extract_run(run, tmp_path / "model", weights="raw", dtype=torch.float16)
    exact = tensors_of(stage.pipeline)
    assert same(tensors_of(out), {key: tensor.half().float() for key, tensor in exact.items()})


def test_frozen_parts_have_no_average(joint_run: Run, tmp_path: Path):
    """The averaged tensors have no names, so their places depend on what was trained."""
    run = Path(shutil.copytree(joint_run[0], tmp_path / "run"))
    file = run / "checkpoint" / "custom_checkpoint_0.pkl"
    trained = [name for name, p in joint_run[1].module.named_parameters() if p.requires_grad]
    state = torch.load(file)
    pairs = zip(trained, state["shadow_params"], strict=True)
    state["shadow_params"] = [tensor for name, tensor in pairs if not name.startswith("mllm.")]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"averaged tensors.*learning_rates"):
        extract_run(run, tmp_path / "model")

    config = run / "config.yaml"
    config.write_text(config.read_text().replace("learning_rates: {}", "learning_rates: {mllm: 0.0}"))
    found = tensors_of(extract_run(run, tmp_path / "model"))
    raw, average = (tensors_of(source) for source in (joint_run[1].pipeline, joint_run[0] / "pipeline"))
    assert same(found, {key: (raw if key.startswith("mllm.") else average)[key] for key in found})


def test_a_run_without_an_average(joint_run: Run, tmp_path: Path):
    run = Path(shutil.copytree(joint_run[0], tmp_path / "run"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("ema_decay: 0.9", "ema_decay: 0.0"))
    with pytest.raises(CheckpointError, match="kept no average"):
        extract_run(run, tmp_path / "model", weights="ema")
    out = extract_run(run, tmp_path / "model")
    assert json.loads((out / "mgie.json").read_text())["weights"] == "raw"
    assert same(tensors_of(out), tensors_of(joint_run[1].pipeline))


def test_what_is_no_joint_run_with_a_checkpoint(joint_run: Run, tmp_path: Path):
    run = Path(shutil.copytree(joint_run[0], tmp_path / "run"))
    out = tmp_path / "model"
    with pytest.raises(CheckpointError, match=r"is the run's own pipeline"):
        extract_run(run, run / "pipeline")
    with pytest.raises(CheckpointError, match="is not a model folder"):
        extract_run(run, run / "samples")
    with pytest.raises(CheckpointError, match="there is no folder"):
        extract_run(tmp_path / "nothing", out)
    with pytest.raises(CheckpointError, match="no training run"):
        extract_run(run / "pipeline", out)
    (run / "pipeline" / "model_index.json").unlink()
    with pytest.raises(CheckpointError, match=r"no pipeline/model_index\.json"):
        extract_run(run, out)
    (run / "checkpoint" / "step.json").write_text("{}")
    shutil.copytree(joint_run[0] / "pipeline", run / "pipeline", dirs_exist_ok=True)
    with pytest.raises(CheckpointError, match=r"step\.json has no step"):
        extract_run(run, out)
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        extract_run(run, out)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("stage: joint", "stage: vision"))
    with pytest.raises(CheckpointError, match="a run of stage vision"):
        extract_run(run, out)
    assert not out.exists()


def test_a_checkpoint_replaced_meanwhile_is_refused(joint_run: Run, tmp_path: Path):
    run = Path(shutil.copytree(joint_run[0], tmp_path / "run"))

    def report(step: str) -> None:
        if step == "reading the weights":
            (run / "checkpoint" / "step.json").write_text('{"step": 4}')

    with pytest.raises(CheckpointError, match="wrote its next checkpoint"):
        extract_run(run, tmp_path / "model", report=report)


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

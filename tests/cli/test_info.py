import json
import shutil

from mgie.cli import main


def test_info_tells_parts_sizes_defaults_and_provenance(pipeline, pipeline_folder, tmp_path, capsys):
    folder = shutil.copytree(pipeline_folder, tmp_path / "model")
    (folder / "mgie.json").write_text(json.dumps({"licence": "Apache-2.0", "data": "toys"}))
    assert main(["info", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    models = {name: getattr(pipeline, name) for name in ("mllm", "edit_head", "vae", "unet")}
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    assert {name: report["parts"][name]["parameters"] for name in counts} == counts
    assert report["parameters"] == sum(counts.values())
    assert report["parts"]["unet"]["class"] == "UNet2DConditionModel"
    assert report["parts"]["unet"]["dtypes"] == ["F32"]
    assert report["working_size"]["max_pixels"] == 1024
    assert report["defaults"]["guidance_scale"] == 4.0
    assert report["licence"] == "Apache-2.0"
    assert report["provenance"] == {"data": "toys"}


def test_info_is_readable(pipeline_folder, capsys):
    assert main(["info", str(pipeline_folder)]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("mllm", "LlavaForConditionalGeneration", "num_inference_steps 3"))


def test_a_damaged_weight_file_is_named(pipeline_folder, tmp_path, capsys):
    folder = shutil.copytree(pipeline_folder, tmp_path / "model")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing at all")
    assert main(["info", str(folder)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "unet" in err

"""Two processes are two: they share the rows out, average their gradients, and stop and go on together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from toy_stage import ToyStage, toy_config

import mgie
import mgie.training.loop
from mgie.cli import main
from mgie.pipeline import MGIEPipeline
from mgie.training.loop import train

ROOT = Path(__file__).parents[2]


def torchrun(*arguments: str) -> None:
    """Runs a program twice at once on the CPU, with the package that the tests run on."""
    package = str(Path(mgie.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        *arguments,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_gradients_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torchrun(str(ROOT / "tests" / "training" / "toy_stage.py"), str(tmp_path))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first["worlds"] == second["worlds"] == {2}

    def alone(batch_size: int) -> dict[str, Tensor]:
        """Returns the weights that one process ends with."""
        monkeypatch.setattr(mgie.training.loop, "build_stage", lambda config: ToyStage(config, noise=0.0))
        pipeline = train(toy_config(tmp_path / f"alone{batch_size}", batch_size=batch_size, ema_decay=0.0))
        return torch.load(pipeline / "weights.pt")

    half, whole = alone(4), alone(8)
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name])
        torch.testing.assert_close(tensor, whole[name], atol=1e-5, rtol=1e-4)  # twice 4 rows are 8 rows
        assert not torch.allclose(tensor, half[name], atol=1e-4)


def test_two_processes_train_resume_and_edit(tmp_path: Path):
    run = tmp_path / "run"
    settings = [f"output_dir={run}", f"data.photographs={ROOT / '_data' / 'photographs'}"]
    for steps in (4, 8):
        overrides = [part for setting in [*settings, f"max_steps={steps}"] for part in ("--set", setting)]
        config = ROOT / "train" / "configs" / "smoke.yaml"
        torchrun(str(ROOT / "train" / "finetune.py"), str(config), *overrides)
        assert json.loads((run / "checkpoint" / "step.json").read_text()) == {"step": steps}
        states = sorted(path.name for path in (run / "checkpoint").glob("random_states_*"))
        assert states == ["random_states_0.pkl", "random_states_1.pkl"]  # one of each process
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(1, 9))  # written once, not twice

    photo = ROOT / "_data" / "photographs" / "chelsea.jpg"
    pipeline = MGIEPipeline.from_pretrained(run / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    edited = pipeline(photo, "make it red", generator=torch.Generator().manual_seed(0)).images[0]
    with Image.open(photo) as original:
        assert edited.size == original.size
    out = tmp_path / "edited.png"
    assert main(["edit", str(photo), "make it red", "--model", str(run / "pipeline"), "-o", str(out)]) == 0
    with Image.open(out) as image:
        assert image.size == edited.size

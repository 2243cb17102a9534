"""Reading the weights in a checkpoint, in each layout that several processes or one may leave."""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp

from mgie.checkpoint.snapshot import load_average, load_trained
from mgie.errors import CheckpointError
from mgie.models.mgie import MGIE
from mgie.training.stages import JointStage

Run = tuple[Path, JointStage]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[key]) for key, tensor in a.items())


@pytest.fixture
def module(joint_run: Run) -> MGIE:
    """The trained whole with other weights."""
    module = copy.deepcopy(joint_run[1].module)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.zero_()
    return module


@pytest.fixture
def changed(joint_run: Run, tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that copies the run's checkpoint and has its weights written in another way."""

    def change(write: Callable[[dict[str, Tensor], Path], Any]) -> Path:
        checkpoint = Path(shutil.copytree(joint_run[0] / "checkpoint", tmp_path / "checkpoint"))
        file = checkpoint / "model.safetensors"
        tensors = load_file(file)
        file.unlink()
        write(tensors, checkpoint)
        return checkpoint

    return change


def write_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    names = sorted(tensors)
    weight_map = {}
    for shard in range(3):
        file = f"model-{shard + 1:05d}-of-00003.safetensors"
        save_file({name: tensors[name] for name in names[shard::3]}, folder / file)
        weight_map |= dict.fromkeys(names[shard::3], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_fsdp(tensors: dict[str, Tensor], folder: Path) -> None:
    dcp.save({"model": tensors}, checkpoint_id=folder / "pytorch_model_fsdp_0")


def write_whole_fsdp(tensors: dict[str, Tensor], folder: Path) -> None:
    torch.save(tensors, folder / "pytorch_model_fsdp.bin")


def write_ddp(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("write", [write_shards, write_fsdp, write_whole_fsdp, write_ddp])
def test_each_layout_gives_the_same_weights(
    write: Callable[..., None], module: MGIE, joint_run: Run, changed: Callable[..., Path]
):
    stage, checkpoint = joint_run[1], changed(write)
    load_trained(module, checkpoint)
    assert same(module.state_dict(), stage.module.state_dict())
    load_average(module, checkpoint)
    saved = load_file(joint_run[0] / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    assert same(module.unet.state_dict(), saved)


def test_one_name_of_a_shared_tensor_is_enough(tmp_path: Path):
    """As safetensors has it, which keeps only one of them."""
    layers = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})
    layers["second"].weight = layers["first"].weight
    tensors = {"first.bias": torch.ones(2), "second.bias": torch.zeros(2), "second.weight": torch.eye(2)}
    save_file(tensors, tmp_path / "model.safetensors")
    load_trained(layers, tmp_path)
    assert torch.equal(layers["first"].weight, torch.eye(2))
    assert torch.equal(layers["first"].bias, torch.ones(2))


def without_one(tensors: dict[str, Tensor], folder: Path) -> None:
    del tensors["unet.conv_in.bias"]
    save_file(tensors, folder / "model.safetensors")


def with_one_more(tensors: dict[str, Tensor], folder: Path) -> None:
    write_fsdp({**tensors, "unet.extra": torch.ones(1)}, folder)


def without_one_of_fsdp(tensors: dict[str, Tensor], folder: Path) -> None:
    del tensors["unet.conv_in.bias"]
    write_fsdp(tensors, folder)


def misshapen(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file({**tensors, "unet.conv_in.bias": torch.ones(3)}, folder / "model.safetensors")


def not_finite(tensors: dict[str, Tensor], folder: Path) -> None:
    tensors["unet.conv_in.bias"][0] = float("inf")
    save_file(tensors, folder / "model.safetensors")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_off(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")
    cut(folder / "model.safetensors")


def cut_off_fsdp(tensors: dict[str, Tensor], folder: Path) -> None:
    write_fsdp(tensors, folder)
    cut(next((folder / "pytorch_model_fsdp_0").glob("*.distcp")))


def without_metadata(tensors: dict[str, Tensor], folder: Path) -> None:
    write_fsdp(tensors, folder)
    (folder / "pytorch_model_fsdp_0" / ".metadata").unlink()


def cut_off_average(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")
    cut(folder / "custom_checkpoint_0.pkl")


def no_average(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")
    (folder / "custom_checkpoint_1.pkl").replace(folder / "custom_checkpoint_0.pkl")


def another_average(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")
    state = torch.load(folder / "custom_checkpoint_0.pkl")
    state["shadow_params"][-1] = torch.ones(3)
    torch.save(state, folder / "custom_checkpoint_0.pkl")


def diverged_average(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")
    state = torch.load(folder / "custom_checkpoint_0.pkl")
    state["shadow_params"][-1][0] = float("nan")
    torch.save(state, folder / "custom_checkpoint_0.pkl")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (without_one, r"'unet\.conv_in\.bias' is missing"),
        (without_one_of_fsdp, r"'unet\.conv_in\.bias' is missing"),
        (with_one_more, r"'unet\.extra' is not part of this model"),
        (misshapen, r"'unet\.conv_in\.bias' has not the shape"),
        (not_finite, r"'unet\.conv_in\.bias' is not finite"),
        (cut_off, "damaged or cut off"),
        (cut_off_fsdp, "cannot read the shards in .*pytorch_model_fsdp_0"),
        (without_metadata, "cannot read the shards in .*pytorch_model_fsdp_0"),
        (lambda tensors, folder: None, "has no weights"),
        (cut_off_average, r"custom_checkpoint_0\.pkl is damaged or cut off"),
        (no_average, "holds no averaged weights; take the raw"),
        (another_average, r"'unet\.pattern\.hear\.2\.bias' has not the shape"),
        (diverged_average, r"'unet\.pattern\.hear\.2\.bias' is not finite"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    write: Callable[..., None], message: str, module: MGIE, changed: Callable[..., Path]
):
    checkpoint = changed(write)
    with pytest.raises(CheckpointError, match=message) as error:
        load_trained(module, checkpoint)
        load_average(module, checkpoint)
    assert "\n" not in str(error.value)


def write_zero(tensors: dict[str, Tensor], trained: list[str], folder: Path) -> None:
    """Writes what DeepSpeed 0.19 leaves of ZeRO stage 2 on two processes, without the optimizer's moments."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    frozen = [name for name in tensors if name not in trained]
    model = {
        "module": tensors,
        "buffer_names": [],
        "param_shapes": [{name: shapes[name] for name in trained}],
        "frozen_param_shapes": {name: shapes[name] for name in frozen},
        "frozen_param_fragments": {name: tensors[name] for name in frozen},
        "shared_params": {},
        "ds_version": "0.19.8",
    }
    folder.mkdir()
    torch.save(model, folder / "mp_rank_00_model_states.pt")
    flat = torch.cat([tensors[name].flatten() for name in trained])
    halves = nn.functional.pad(flat, (0, -len(flat) % 4)).chunk(2)
    for rank, half in enumerate(halves):
        state = {"zero_stage": 2, "partition_count": 2, "single_partition_of_fp32_groups": [half.clone()]}
        torch.save(
            {"optimizer_state_dict": state}, folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        )


def test_zero_of_two_processes(
    module: MGIE, joint_run: Run, changed: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("deepspeed")
    expected = joint_run[1].module
    trained = [name for name, p in expected.named_parameters() if p.requires_grad]
    checkpoint = changed(lambda tensors, folder: write_zero(tensors, trained, folder / "pytorch_model"))
    load_trained(module, checkpoint)
    assert same(module.state_dict(), expected.state_dict())
    assert capsys.readouterr().out == ""

    (checkpoint / "pytorch_model" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read the shards.*Expected 2"):
        load_trained(module, checkpoint)


def test_deepspeed_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "deepspeed.utils.zero_to_fp32", None)
    (tmp_path / "pytorch_model").mkdir()
    with pytest.raises(CheckpointError, match=r"pip install 'mgie\[deepspeed\]'"):
        load_trained(nn.Linear(1, 1), tmp_path)

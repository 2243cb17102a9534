"""What a configuration file may say, and that every preset of this repository says it right."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from mgie.config import TrainConfig, dump_config, load_config
from mgie.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[1] / "train" / "configs").glob("*.yaml"))
LEAST: dict[str, Any] = {
    "stage": "joint",
    "output_dir": "run",
    "max_steps": 1000,
    "batch_size": 2,
    "model": {},
    "data": {"photographs": "photographs"},
}


def load(folder: Path, *overrides: str, **values: Any) -> TrainConfig:
    """Returns the configuration of the least values with some others, through a file."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**LEAST, **values}))
    return load_config(file, overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_presets_load_and_survive_a_round_trip(path: Path, tmp_path: Path):
    config = load_config(path)
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert load_config(again) == config


def test_no_precision_needs_no_quotes(tmp_path: Path):
    assert load(tmp_path, "mixed_precision=no").mixed_precision == "no"
    with pytest.raises(ConfigError, match="mixed_precision is True"):
        load(tmp_path, "mixed_precision=yes")


def test_defaults_are_filled_in(tmp_path: Path):
    config = load(tmp_path)
    assert config.diffusion_weight == 0.5  # as in the paper
    assert config.condition_dropout == 0.05
    assert config.data.sizes == [[128, 128]]
    assert config.model.pipeline is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1.0}, "unknown key learning_rat; did you mean learning_rate?"),
        ({"model": {"unnet": "x"}}, "unknown key model.unnet; did you mean model.unet?"),
        ({"data": {"photograph": "x"}}, "did you mean data.photographs?"),
        ({"zzz": 1}, "known keys: stage, output_dir"),
        ({"model": {"conditioning": "clip"}}, "expected 'mgie' or 'lgie' or 'ip2p' or None"),
        (
            {"stage": "jiont"},
            "expected 'autoencoder' or 'backbone' or 'outlines' or 'inpainting' or 'vision' or 'language' or "
            "'joint'",
        ),
        ({"max_steps": "many"}, "max_steps is 'many'; expected int"),
        ({"data": {"photographs": "x", "vague_rate": 15}}, "data.vague_rate is 15.0; expected a share"),
        ({"data": {"photographs": "x", "describe_rate": -1}}, "data.describe_rate is -1.0; expected"),
        (
            {"data": {"photographs": "x", "light": float("nan")}},
            "data.light is nan; expected a number from 0",
        ),
        (
            {"data": {"photographs": "x", "num_workers": -1}},
            "data.num_workers is -1; expected a number from 0",
        ),
        ({"data": {"photographs": "x", "families": []}}, "data.families is empty; name some"),
        ({"seed": -1}, "seed is -1; expected a number from 0 on"),
        ({"warmup_steps": -5}, "warmup_steps is -5; expected a number from 0 on"),
        ({"learning_rates": {"unet": -1}}, "learning_rates.unet is -1.0; expected a number from 0 on"),
        ({"learning_rates": {"unet": float("nan")}}, "learning_rates.unet is nan; expected a number"),
        ({"location_weight": float("inf")}, "location_weight is inf; expected a number from 0 on"),
        ({"learning_rate": 10**400}, "expected float"),
        ({"output_dir": ""}, "output_dir is empty; expected a folder"),
        ({"data": {"records": "x", "families": ["tint"]}}, "leave it out with data.records"),
        ({"data": {"records": "x", "light": 0.1}}, "data.light is for edits of data.photographs"),
        ({"max_steps": 2.5}, "max_steps is 2.5; expected int"),
        ({"max_steps": True}, "max_steps is True; expected int"),
        ({"batch_size": None}, "batch_size is None; expected int"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; expected float"),
        ({"learning_rate": [1]}, "learning_rate is [1]; expected float"),
        ({"learning_rate": -1}, "learning_rate is -1.0; expected a number from 0 on"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rates": {"unet": "x"}}, "learning_rates.unet is 'x'; expected float"),
        ({"ema_decay": 1}, "ema_decay is 1.0"),
        ({"save_every": 0}, "save_every is 0; expected 1 or more"),
        ({"max_steps": 0}, "max_steps is 0; expected 1 or more"),
        ({"own_words_rate": 2}, "own_words_rate is 2.0; expected a share, 0 to 1"),
        ({"condition_dropout": 0.4}, "condition_dropout is 0.4; expected 0 to 1/3"),
        ({"decay_steps": 950}, "do not fit into max_steps 1000"),
        ({"model": {"unet": 3}}, "model.unet is 3; expected str | dict[str, Any] | None"),
        ({"model": "mgie-tiny"}, "model is 'mgie-tiny'; expected keys and values"),
        ({"data": {}}, "exactly one of data.photographs and data.records"),
        ({"data": {"photographs": "a", "records": "b"}}, "exactly one of"),
        ({"data": {"photographs": "a", "families": "tint"}}, "data.families is 'tint'"),
        ({"data": {"photographs": "a", "families": {"tint": 0}}}, "data.families.tint is 0"),
        ({"data": {"photographs": "a", "sizes": [128, 128]}}, "data.sizes[0] is 128; expected list[int]"),
        ({"data": {"photographs": "a", "sizes": [[100, 128]]}}, "multiples of 8"),
        ({"data": {"photographs": "a", "sizes": []}}, "data.sizes is []"),
        ({"data": {"photographs": "a", "crop": [0.9, 0.2]}}, "0 < low <= high <= 1"),
        ({"data": {"photographs": "a", "crop": []}}, "data.crop is []"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, **values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(TrainConfig) if f.name in LEAST])
def test_what_is_required_is_asked_for(name: str, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in LEAST.items() if key != name}))
    with pytest.raises(ConfigError, match=f"lacks {name}; add it"):
        load_config(file)


def test_numbers_as_yaml_writes_them(tmp_path: Path):
    file = tmp_path / "config.yaml"
    text = (
        yaml.safe_dump(LEAST)
        + "learning_rate: 3e-4\nweight_decay: 1\nlearning_rates: {unet: 1e-5, mllm: 0}\n"
    )
    file.write_text(text)
    config = load_config(file)
    assert config.learning_rate == 3e-4
    assert config.weight_decay == 1.0 and isinstance(config.weight_decay, float)
    assert config.learning_rates == {"unet": 1e-5, "mllm": 0.0}


def test_overrides(tmp_path: Path):
    config = load(
        tmp_path,
        "max_steps=700",
        "learning_rate=3e-4",
        "data.sizes=[[64, 64], [96, 64]]",
        "data.families=[tint]",
        "model.unet=runs/unet",
        "learning_rates.unet=0",
        "teacher=",
    )
    assert (config.max_steps, config.learning_rate) == (700, 3e-4)
    assert config.data.sizes == [[64, 64], [96, 64]] and config.data.families == ["tint"]
    assert config.model.unet == "runs/unet"
    assert config.learning_rates == {"unet": 0.0}
    assert config.teacher is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_steps", "expected key=value"),
        ("max_step=3", "did you mean max_steps?"),
        ("max_steps.x=3", "max_steps is a single value"),
        ("data.sizes=[[64", "is not a YAML value"),
    ],
)
def test_overrides_with_mistakes(override: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, override)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe\x00", b"- 1\n- 2", b""])
def test_files_that_are_no_configuration(content: bytes, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.yaml") as error:
        load_config(file)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml")

import pytest
import typer

from mgie.cli import app, main

OPTIONS = {
    "edit": "image instruction output model seed num_images steps guidance_scale image_guidance_scale "
    "expressive then mask strength keep_unchanged size strip_metadata note safety_checker device "
    "dtype as_json timings debug",
    "batch": "source output instruction model seed batch_size steps guidance_scale image_guidance_scale "
    "format keep_unchanged size strip_metadata note device dtype as_json debug",
    "demo": "model host port device dtype debug",
    "info": "model as_json debug",
    "verify": "model edit device dtype as_json debug",
    "train": "config overrides debug",
    "convert": "output model llava vision_tower mgie diffusion base to dtype debug",
    "extract": "snapshot output weights dtype layout llava vision_tower diffusion licence data debug",
    "eval": "model data output limit batch_size seed suite expressive record sheets lpips clip "
    "clip_architecture dino device dtype json debug",
    "serve": "model host port api_key max_upload_mb max_megapixels max_queue max_batch timeout "
    "upload_timeout safety_checker device dtype debug",
    "data synth": "photographs output count seed families objects vague_rate split requests debug",
}


def commands(group, prefix=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", " ".join(p.name for p in command.params if p.name != "help")


def test_commands_and_their_options_are_relied_upon():
    assert dict(commands(typer.main.get_command(app))) == OPTIONS


@pytest.mark.parametrize("arguments", [[], ["--help"], ["edit", "--help"], ["data", "--help"]])
def test_help(arguments, capsys):
    assert main(arguments) == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nothing"], ["data"], ["--nothing"], ["data", "nothing"]])
def test_unknown_commands_are_one_line(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("mgie: ")

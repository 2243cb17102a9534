"""`mgie extract`: a model folder from a training snapshot."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mgie.cli.options import Debug, DType
from mgie.errors import ConfigError


def extract(
    snapshot: Annotated[
        Path,
        typer.Argument(
            help="Run folder of `mgie train`, stage joint, or its checkpoint folder; with --llava and "
            "--diffusion, a snapshot of the original's trainer."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the model; an older model there is replaced.")
    ],
    weights: Annotated[
        Literal["ema", "raw"] | None,
        typer.Option(help="Moving average, or the trained weights; by default the average, if there is one."),
    ] = None,
    dtype: DType = "float32",
    layout: Annotated[
        Literal["pipeline", "original"],
        typer.Option("--format", help="Layout to write: a pipeline folder, or mllm.pt and unet.pt."),
    ] = "pipeline",
    llava: Annotated[
        str | None, typer.Option(help="LLaVA-7B-v1, whose tokenizer and configuration a snapshot lacks.")
    ] = None,
    vision_tower: Annotated[
        str | None, typer.Option(help="CLIP, likewise; by default the one that LLaVA names.")
    ] = None,
    diffusion: Annotated[
        str | None, typer.Option(help="InstructPix2Pix, likewise; the autoencoder is taken from it too.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights, for mgie.json.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="What was trained on, for mgie.json; may be repeated.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a model of a training run's checkpoint, for `mgie edit` and for others."""
    if (llava is None) != (diffusion is None):
        raise ConfigError("a snapshot of the original's trainer needs --llava and --diffusion; give both")
    import torch

    from mgie.checkpoint.convert import convert_back, convert_snapshot
    from mgie.checkpoint.extract import extract_run
    from mgie.files import partial_beside
    from mgie.model_folder import check_free

    def report(step: str) -> None:
        print(f"{step} ...", file=sys.stderr)

    def write(folder: Path) -> None:
        if llava is not None and diffusion is not None:
            tower = {"vision_tower": vision_tower, "dtype": number_type}
            for remark in convert_snapshot(snapshot, llava, diffusion, folder, **tower):
                print(f"note: {remark}")
            return
        provenance: dict[str, Any] = {"licence": licence, "data": data}
        provenance = {name: value for name, value in provenance.items() if value}
        extract_run(
            snapshot, folder, weights=weights, dtype=number_type, provenance=provenance, report=report
        )

    number_type = getattr(torch, dtype)
    if layout == "pipeline":
        write(output)
    else:
        check_free(output, "mllm.pt")
        between = partial_beside(output)
        try:
            write(between)
            convert_back(between, output)
        finally:
            shutil.rmtree(between, ignore_errors=True)
    print(f"saved: {output}")

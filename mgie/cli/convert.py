"""`mgie convert`: the released files of the original, or one's own in its layout, and the way back."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mgie.cli.options import Debug, KeptDType
from mgie.errors import ConfigError


def convert(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; an older model there is replaced.")
    ],
    model: Annotated[
        str | None, typer.Argument(help="With --to original: the pipeline folder to be written so.")
    ] = None,
    llava: Annotated[str | None, typer.Option(help="Folder or hub id of LLaVA-7B-v1.")] = None,
    vision_tower: Annotated[
        str | None, typer.Option(help="Folder or hub id of CLIP; by default the one that LLaVA names.")
    ] = None,
    mgie: Annotated[Path | None, typer.Option(help="Folder with mllm.pt and unet.pt.")] = None,
    diffusion: Annotated[
        str | None, typer.Option(help="Folder or hub id of InstructPix2Pix, in diffusers' layout.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Folder or hub id of LLaMA, if --llava holds differences from it.")
    ] = None,
    to: Annotated[Literal["pipeline", "original"], typer.Option(help="Layout to write.")] = "pipeline",
    dtype: KeptDType = None,
    debug: Debug = False,
) -> None:
    """Convert the original's files to a pipeline folder, or a converted model back."""
    wanted = {"--llava": llava, "--mgie": mgie, "--diffusion": diffusion}
    if to == "original":
        if model is None or any(wanted.values()):
            raise ConfigError("--to original takes a MODEL and -o; leave out --llava, --mgie and --diffusion")
    elif model is not None or not all(wanted.values()):
        lacking = ", ".join(name for name, value in wanted.items() if not value)
        raise ConfigError(f"no {lacking or '--to original with MODEL'} given; see mgie convert --help")
    import torch

    from mgie.checkpoint import convert as conversion
    from mgie.model_folder import find_model_folder

    number_type = getattr(torch, dtype) if dtype else None
    if model is not None:
        conversion.convert_back(find_model_folder(model), output, number_type)
        remarks = []
    else:
        assert llava is not None and mgie is not None and diffusion is not None
        remarks = conversion.convert(
            llava, mgie, diffusion, output, vision_tower=vision_tower, base=base, dtype=number_type
        )
    for remark in remarks:
        print(f"note: {remark}")
    print(f"saved: {output}")

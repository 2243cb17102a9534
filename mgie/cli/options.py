"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mgie.errors import ConfigError

if TYPE_CHECKING:
    from mgie.models.safety import SafetyChecker
    from mgie.pipeline import MGIEPipeline

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a mistake.")]
"""Read by `mgie.cli.main` itself."""
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
Device = Annotated[
    str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps; by default the best there is.")
]
DType = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="Number type of the model's weights.")
]
KeptDType = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option("--dtype", help="Number type of the weights; by default as they are stored."),
]
Model = Annotated[
    str, typer.Option("--model", "-m", help="Built-in name, pipeline folder, or hub id 'owner/name'.")
]
KeepUnchanged = Annotated[
    Literal["auto", "off"],
    typer.Option(help="Whether what the edit did not change stays as it was, byte for byte."),
]
Size = Annotated[
    str | None, typer.Option(help="Fit the photo into WIDTHxHEIGHT, or SIDE, pixels; by default as it is.")
]
StripMetadata = Annotated[
    bool, typer.Option("--strip-metadata", help="Leave out what the photo says of itself (EXIF, XMP).")
]
Note = Annotated[
    bool, typer.Option("--note/--no-note", help="Say in the metadata which model, words and seed made it.")
]

SafetyCheck = Annotated[
    str | None,
    typer.Option(
        "--safety-checker", help="Folder or hub id of a checker; results that it flags are refused."
    ),
]


def box(size: str) -> tuple[int, int]:
    """Returns (width, height) of a `Size`.

    Raises:
        ConfigError: it is not of that form.
    """
    width, _, height = size.lower().partition("x")
    try:
        sides = int(width), int(height or width)
    except ValueError:
        sides = (0, 0)
    if min(sides) < 1:
        raise ConfigError(f"--size is '{size}'; expected WIDTHxHEIGHT or one number, for instance 1024x768")
    return sides


def load_pipeline(model: str, device: str | None, dtype: str) -> "MGIEPipeline":
    """Returns the pipeline of a model on a device, without a progress bar of its own.

    Raises:
        MGIEError: there is no such model or device.
    """
    import torch

    from mgie.pipeline import MGIEPipeline

    if device is None:
        best = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = best.type if best is not None else "cpu"
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {device} does not work here: {reason}; try --device cpu") from error
    pipeline = MGIEPipeline.from_pretrained(model, dtype=getattr(torch, dtype)).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_safety_checker(name: str, pipeline: "MGIEPipeline") -> "SafetyChecker":
    """Returns the safety checker of a folder or hub id, on the pipeline's device.

    Raises:
        CheckpointError: there is none, or it is not whole.
    """
    from mgie.models.safety import SafetyChecker

    return SafetyChecker.from_pretrained(name, pipeline.device)

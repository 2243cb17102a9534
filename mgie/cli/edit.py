"""`mgie edit`: one photograph, one instruction, one or several results."""

import contextlib
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from PIL import Image
from tqdm import tqdm

from mgie.cli.options import Debug, Device, DType, Json, Model, load_pipeline
from mgie.errors import ImageError
from mgie.images import open_image, save_image
from mgie.model_folder import find_model_folder
from mgie.prompts import checked_words

if TYPE_CHECKING:
    from mgie.pipeline import MGIEPipeline


def edit(
    image: Annotated[Path, typer.Argument(help="Photograph to edit.")],
    instruction: Annotated[str, typer.Argument(help="What to do, for instance 'make it red'.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Result; by default IMAGE.edited.png beside it.")
    ] = None,
    model: Model = "mgie-tiny",
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="By default random.")] = None,
    num_images: Annotated[int, typer.Option(min=1, max=1000, help="Results, of seeds SEED, SEED+1, ...")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(min=0, help="Weight of the words.")] = None,
    image_guidance_scale: Annotated[float | None, typer.Option(min=0, help="Weight of the picture.")] = None,
    expressive: Annotated[
        str | None, typer.Option(help="Your own description of the result, in place of the model's.")
    ] = None,
    device: Device = None,
    dtype: DType = "float32",
    as_json: Json = False,
    timings: Annotated[bool, typer.Option("--timings", help="Say where the time went.")] = False,
    debug: Debug = False,
) -> None:
    """Edit a photograph by an instruction."""
    words = checked_words(instruction)
    original = open_image(image)
    paths = _outputs(image, output, num_images)
    folder = find_model_folder(model)
    first_seed = random.randrange(2**31) if seed is None else seed
    settings = {
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "image_guidance_scale": image_guidance_scale,
    }
    request = _Request(original, words, expressive, paths, first_seed, settings)
    with _Progress() as progress:
        with progress.phase("imports", "starting"):
            import mgie.pipeline  # noqa: F401  what takes time here is torch
        with progress.phase("load", "loading"):
            pipeline = load_pipeline(str(folder), device, dtype)
        imagined = _run(pipeline, request, progress)
    _report(model, imagined, request, progress.seconds, as_json=as_json, timings=timings)


@dataclass(frozen=True)
class _Request:
    """What was asked for, checked."""

    original: Image.Image
    instruction: str
    expressive: str | None
    paths: list[Path]
    seed: int
    """Of the first path; the following paths have the following seeds."""
    settings: dict[str, Any]


class _Progress:
    """A bar on standard error over all phases of an edit, and the seconds that each of them took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start = time.perf_counter()

    def __enter__(self) -> "_Progress":
        self.bar = tqdm(total=3, bar_format="{desc:<11} {bar} {n_fmt}/{total_fmt} {elapsed}", ascii=" #")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.seconds["total"] = time.perf_counter() - self.start

    @contextlib.contextmanager
    def phase(self, name: str, description: str) -> Iterator[None]:
        """Shows a description while the block runs, and notes its time under the name."""
        self.bar.set_description_str(description)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.bar.update()


def _run(pipeline: "MGIEPipeline", request: _Request, progress: _Progress) -> str:
    """Writes a picture for each path, and returns the expressive instruction, which all of them share."""
    import torch

    steps = request.settings["num_inference_steps"] or pipeline.config["num_inference_steps"]
    progress.bar.total = 3 + len(request.paths) * (steps + 1)
    with progress.phase("imagine", "imagining"):
        imagination = pipeline.encode_instruction(request.original, request.instruction, request.expressive)

    def on_step_end(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        progress.bar.set_description_str("denoising" if step + 1 < steps else "returning")
        progress.bar.update()
        return tensors

    for number, path in enumerate(request.paths):
        progress.bar.set_description_str("denoising")
        output = pipeline(
            request.original,
            imagination=imagination,
            generator=torch.Generator().manual_seed(request.seed + number),
            callback_on_step_end=on_step_end,
            **request.settings,
        )
        for name in ("paint", "decode", "return"):
            progress.seconds[name] = progress.seconds.get(name, 0.0) + output.seconds[name]
        save_image(output.images[0], path)
        progress.bar.update()
    return imagination.expressive_instructions[0]


def _report(
    model: str, imagined: str, request: _Request, seconds: dict[str, float], *, as_json: bool, timings: bool
) -> None:
    """Prints what was imagined and where the results are."""
    total = seconds["total"]
    shares = {name: round(part / total, 3) for name, part in seconds.items() if name != "total"}
    outputs = [{"path": str(path), "seed": request.seed + i} for i, path in enumerate(request.paths)]
    if as_json:
        report = {
            "outputs": outputs,
            "expressive_instruction": imagined,
            "seconds": round(total, 3),
            "model": model,
        }
        print(json.dumps(report | ({"shares": shares} if timings else {})))
        return
    print(f"imagined: {imagined}")
    for row in outputs:
        print(f"saved:    {row['path']} (seed {row['seed']})")
    if timings:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        print(f"time:     {total:.1f} s: {parts}")


def _outputs(image: Path, output: Path | None, num: int) -> list[Path]:
    """Returns where the results go: OUT, OUT-2, ...; all of these can be written, and none is the input.

    Raises:
        MGIEError: one of them cannot be written to.
    """
    first = output if output is not None else image.with_name(f"{image.stem}.edited.png")
    paths = [first, *(first.with_stem(f"{first.stem}-{i}") for i in range(2, num + 1))]
    for path in paths:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give the name of a picture file in it")
        if path.exists() and path.samefile(image):
            raise ImageError(f"{path} is the input, which is never overwritten; choose another --output")
    # A trial in the same folder meets every reason why the results could not be written, before any work.
    trial = first.with_name(f".{uuid.uuid4().hex}{first.suffix}")
    try:
        save_image(Image.new("RGB", (1, 1)), trial)
    except ImageError as error:
        raise ImageError(str(error).replace(str(trial), str(first))) from error
    trial.unlink()
    return paths

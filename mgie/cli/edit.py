"""`mgie edit`: one photograph, one instruction, one or several results."""

import contextlib
import json
import random
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from PIL import Image
from tqdm import tqdm

from mgie.cli.options import (
    Debug,
    Device,
    DType,
    Json,
    KeepUnchanged,
    Model,
    Note,
    SafetyCheck,
    Size,
    StripMetadata,
    box,
    load_pipeline,
    load_safety_checker,
)
from mgie.errors import ConfigError, ImageError
from mgie.images import Edit, Photo, open_mask, open_photo, save_image
from mgie.model_folder import find_model_folder
from mgie.prompts import checked_words

if TYPE_CHECKING:
    from mgie.models.safety import SafetyChecker
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
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, max=1000, help="Weight of the words: 1 is none, 3 to 10 usual.")
    ] = None,
    image_guidance_scale: Annotated[
        float | None, typer.Option(min=0, max=1000, help="Weight of the photo: 1 is none, up to 2.5 usual.")
    ] = None,
    expressive: Annotated[
        str | None, typer.Option(help="Your own description of the result, in place of the model's.")
    ] = None,
    then: Annotated[
        list[str] | None, typer.Option(help="Edit the result again by this instruction; may be repeated.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture of the photo's size: white may change, black stays.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the way from the photo, 0, to the edit, 1.")
    ] = 1.0,
    keep_unchanged: KeepUnchanged = "auto",
    size: Size = None,
    strip_metadata: StripMetadata = False,
    note: Note = True,
    safety_checker: SafetyCheck = None,
    device: Device = None,
    dtype: DType = "float32",
    as_json: Json = False,
    timings: Annotated[bool, typer.Option("--timings", help="Say where the time went.")] = False,
    debug: Debug = False,
) -> None:
    """Edit a photograph by an instruction."""
    instructions = [checked_words(words) for words in (instruction, *(then or []))]
    if expressive is not None:
        expressive = checked_words(expressive, "expressive instruction")
    photo = open_photo(image)
    if size is not None:
        photo = photo.resized(*box(size))
    allowed = None if mask is None else open_mask(mask, photo.image.size)
    paths = _outputs([path for path in (image, mask) if path is not None], output, num_images)
    folder = find_model_folder(model)
    first_seed = random.randrange(2**31) if seed is None else seed
    if first_seed + num_images > 2**63:
        raise ConfigError(f"the seeds from {seed} on go beyond {2**63 - 1}; choose a lower --seed")
    settings = {
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "image_guidance_scale": image_guidance_scale,
        "mask": allowed,
        "strength": strength,
        "keep_unchanged": keep_unchanged == "auto",
    }
    metadata = {"strip_metadata": strip_metadata, "note": note}
    request = _Request(photo, instructions, expressive, paths, first_seed, settings, metadata)
    with _Progress() as progress:
        with progress.phase("imports", "starting"):
            import mgie.pipeline  # noqa: F401  what takes time here is torch
        with progress.phase("load", "loading"):
            pipeline = load_pipeline(str(folder), device, dtype)
            checker = None if safety_checker is None else load_safety_checker(safety_checker, pipeline)
        edits, pictures = _run(pipeline, model, request, progress, checker)
    if num_images > 1 and len(pictures) == 1:
        print(
            "mgie: note: all pictures are alike, the seed decides nothing; try more --steps", file=sys.stderr
        )
    if photo.alpha is not None and paths[0].suffix.lower() in (".jpg", ".jpeg"):
        print("mgie: note: JPEG has no transparency: what was transparent is white", file=sys.stderr)
    _report(model, edits, request, progress.seconds, as_json=as_json, timings=timings)


@dataclass(frozen=True)
class _Request:
    """What was asked for, checked."""

    photo: Photo
    instructions: list[str]
    """One after the other."""
    expressive: str | None
    """Own words for the first of them."""
    paths: list[Path]
    seed: int
    """Of the first path; the following paths have the following seeds."""
    settings: dict[str, Any]
    """Of the pipeline."""
    metadata: dict[str, bool]
    """Of `EditSession.result`."""


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
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self.bar.update()


def _run(
    pipeline: "MGIEPipeline",
    model: str,
    request: _Request,
    progress: _Progress,
    safety_checker: "SafetyChecker | None",
) -> tuple[list[list[Edit]], set[int]]:
    """Writes a picture for each path, and returns the edits that made each, and the hashes of all."""
    from mgie.session import EditSession

    steps = request.settings["num_inference_steps"] or pipeline.config["num_inference_steps"]
    num_turns = len(request.instructions)
    progress.bar.total = 3 + len(request.paths) * (num_turns * (steps + 1))

    def on_step_end(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        progress.bar.set_description_str("denoising" if step + 1 < steps else "returning")
        progress.bar.update()
        return tensors

    settings: dict[str, Any] = request.settings | {"callback_on_step_end": on_step_end}
    first_look, edits, pictures = None, [], set[int]()
    for number, path in enumerate(request.paths):
        session = EditSession(pipeline, request.photo, model, keep_prompts=False)
        for instruction in request.instructions:
            imagination = None if session.turns else first_look
            if imagination is None:
                own_words = None if session.turns else request.expressive
                with progress.phase("imagine", "imagining"):
                    imagination = session.imagine(instruction, own_words)
            first_look = first_look or imagination
            progress.bar.set_description_str("denoising")
            seed = request.seed + number
            turn = session.edit(instruction, seed=seed, imagination=imagination, **settings)
            for name in ("paint", "decode", "return"):
                progress.seconds[name] = progress.seconds.get(name, 0.0) + turn.seconds[name]
        if safety_checker is not None:
            safety_checker.refuse_flagged([session.image])
        image, metadata = session.result(**request.metadata)
        save_image(image, path, metadata)
        edits.append([turn.edit for turn in session.turns])
        pictures.add(hash(image.tobytes()))
        progress.bar.update()
    return edits, pictures


def _report(
    model: str,
    edits: list[list[Edit]],
    request: _Request,
    seconds: dict[str, float],
    *,
    as_json: bool,
    timings: bool,
) -> None:
    """Prints what was imagined and where the results are."""
    total = seconds["total"]
    shares = {name: round(part / total, 3) for name, part in seconds.items() if name != "total"}
    if as_json:
        outputs: list[dict[str, Any]] = [
            {"path": str(path), "seed": made[0].seed} for path, made in zip(request.paths, edits, strict=True)
        ]
        if len(request.instructions) > 1:
            for row, made in zip(outputs, edits, strict=True):
                row["turns"] = [edit.expressive_instruction for edit in made]
        report = {
            "outputs": outputs,
            "expressive_instruction": edits[0][0].expressive_instruction,
            "seconds": round(total, 3),
            "model": model,
        }
        print(json.dumps(report | ({"shares": shares} if timings else {})))
        return
    for number, (path, made) in enumerate(zip(request.paths, edits, strict=True)):
        # All results share what was imagined of the photo itself; of an edited picture, each has its own.
        for edit in made if number == 0 else made[1:]:
            if edit.expressive_instruction:  # InstructPix2Pix imagines nothing
                print(f"imagined: {edit.expressive_instruction}")
        print(f"saved:    {path} (seed {made[0].seed})")
    if timings:
        parts = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        print(f"time:     {total:.1f} s: {parts}")


def _outputs(inputs: list[Path], output: Path | None, num: int) -> list[Path]:
    """Returns where the results go: OUT, OUT-2, ...; all of these can be written, and none is an input.

    By default they stand beside the first input.

    Raises:
        MGIEError: one of them cannot be written to.
    """
    first = output if output is not None else inputs[0].with_name(f"{inputs[0].stem}.edited.png")
    paths = [first, *(first.with_stem(f"{first.stem}-{i}") for i in range(2, num + 1))]
    for path in paths:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give the name of a picture file in it")
        if path.exists() and any(path.samefile(read) for read in inputs):
            raise ImageError(f"{path} is an input, which is never overwritten; choose another --output")
    # A trial in the same folder meets every reason why the results could not be written, before any work.
    trial = first.with_name(f".{uuid.uuid4().hex}{first.suffix}")
    try:
        save_image(Image.new("RGB", (1, 1)), trial)
    except ImageError as error:
        raise ImageError(str(error).replace(str(trial), str(first))) from error
    trial.unlink()
    return paths

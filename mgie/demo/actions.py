"""What a user of the demo can do with a photo. No part of the page is known here."""

import html
import importlib.resources
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from mgie.demo.models import Models, Report, Step
from mgie.errors import ConfigError
from mgie.images import open_photo, save_image
from mgie.pipeline import MGIEPipeline
from mgie.session import EditSession, Turn

DISPLAY_SIDE = 1280
"""Longer side of what the page shows, in pixels; files for download have the photo's own size."""
MAX_PREVIEWS = 10
"""For each painting: decoding each step of a hundred would take longer than the steps."""
MAX_TURNS = 30
"""A turn keeps its picture in memory, so a history has an end."""
INSTRUCTIONS = (
    *("make it look like night", "turn it into a sunset", "make it red", "add fog"),
    *("make it black and white", "make it brighter", "turn it into a pencil sketch", "add a vignette"),
)
"""Examples; the embedded model knows them."""


@dataclass(kw_only=True)
class Workbench:
    """One user's photo with the edits made of it."""

    session: EditSession
    stem: str
    """The photo's name, without suffix."""
    before: Image.Image
    """The photo as the page shows it."""
    canvas_unrolled: bool = False
    """Whether the brush has the photo to paint over."""
    variants: list[Turn] = field(default_factory=list)
    """The last turn with several seeds."""

    @property
    def turn(self) -> Turn | None:
        """The last turn that stands."""
        return self.session.turns[-1] if self.session.turns else None


def open_workbench(path: str | Path | None, models: Models, model: str) -> Workbench:
    """Returns a workbench with a photo.

    Raises:
        MGIEError: there is no photo, it cannot be used, or the model cannot be loaded.
    """
    if path is None:
        raise ConfigError("there is no photo yet; upload one, take one, or choose an example")
    photo = open_photo(path)
    session = EditSession(models.run(lambda: models.get(model)), photo, model)
    return Workbench(session=session, stem=Path(path).stem, before=shown(photo.image))


def edit(
    bench: Workbench | None, instruction: str, seed: int, settings: dict[str, Any], report: Report
) -> None:
    """Edits the picture as it stands, by the session's model.

    Args:
        bench: where the photo lies.
        instruction: what to do.
        seed: of the noise.
        settings: of `MGIEPipeline.__call__`.
        report: is told of each step.

    Raises:
        MGIEError: there is no photo, or an argument cannot be used; the workbench is as it was.
    """
    bench = _with_photo(bench)
    session = bench.session
    if len(session.turns) >= MAX_TURNS:
        raise ConfigError(f"the photo has {MAX_TURNS} edits already; download it and go on with the file")
    report(Step(text="imagining", done=0, total=1))
    imagination = session.imagine(instruction)
    (words,) = imagination.expressive_instructions
    settings = settings | _reporting(session.pipeline, settings, words, report)
    session.edit(instruction, seed=seed, imagination=imagination, **settings)
    bench.variants = []


def again(bench: Workbench | None, words: str, seed: int, settings: dict[str, Any], report: Report) -> None:
    """Paints the last turn again: with other words, another seed or other settings, nothing written anew.

    Raises:
        MGIEError: there is no turn yet, or an argument cannot be used; the workbench is as it was.
    """
    bench = _with_turn(bench)
    report(Step(text="reading your words", done=0, total=1))
    settings = settings | _reporting(bench.session.turns[-1].pipeline, settings, words, report)
    bench.session.again(expressive_instruction=words, seed=seed, **settings)
    bench.variants = []


def paint_variants(bench: Workbench | None, num: int, settings: dict[str, Any], report: Report) -> None:
    """Paints the last turn with the seeds that follow its own, from the same imagination.

    The turn itself is the first variant, and stays the one that counts until another is chosen.

    Args:
        bench: where the photo lies.
        num: how many variants, with the turn itself.
        settings: of `MGIEPipeline.__call__`.
        report: is told of each variant.

    Raises:
        MGIEError: there is no turn yet, or an argument cannot be used; the workbench is as it was.
    """
    bench = _with_turn(bench)
    session = bench.session
    turn = session.turns[-1]
    made = [turn]
    try:
        for i in range(1, num):
            report(Step(text=f"painting variant {i + 1} of {num}", done=i, total=num))
            made.append(session.again(seed=turn.edit.seed + i, **settings))
    finally:
        session.turns[-1] = turn
    bench.variants = made


def choose_variant(bench: Workbench | None, index: int) -> None:
    """Puts a variant in the place of the last turn.

    Raises:
        MGIEError: there is no such variant.
    """
    bench = _with_turn(bench)
    if not 0 <= index < len(bench.variants):
        raise ConfigError("there are no variants of this edit any more; paint them again")
    bench.session.turns[-1] = bench.variants[index]


def undo(bench: Workbench | None) -> None:
    """Takes the last turn back.

    Raises:
        MGIEError: there is none.
    """
    bench = _with_photo(bench)
    bench.session.undo()
    bench.variants = []


def redo(bench: Workbench | None) -> None:
    """Brings the turn back that was undone last.

    Raises:
        MGIEError: there is none.
    """
    bench = _with_photo(bench)
    bench.session.redo()
    bench.variants = []


def use_model(bench: Workbench | None, models: Models, model: str) -> None:
    """Loads a model, which makes the next edits; those made stay.

    Raises:
        MGIEError: it cannot be loaded; the workbench keeps the one that it has.
    """
    pipeline = models.run(lambda: models.get(model))
    if bench is not None:
        bench.session.pipeline, bench.session.model = pipeline, model


def edit_once(
    path: str | Path | None, instruction: str, seed: int, models: Models, model: str, results: "Results"
) -> tuple[str, str]:
    """Returns the file of an edited photo and the expressive instruction: a whole edit without a workbench.

    Raises:
        MGIEError: an argument cannot be used.
    """
    bench = open_workbench(path, models, model)
    bench.session.keep_prompts = False
    turn = models.run(lambda: bench.session.edit(instruction, seed=seed))
    return results.save(bench), turn.edit.expressive_instruction


class Results:
    """Files of results for download: PNG, at the photo's size, with its metadata.

    They lie in a folder that goes when the process ends, the newest only: the page copies each at once.

    Args:
        num: how many are kept.
    """

    def __init__(self, num: int = 50) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mgie-demo-")
        self._num, self._files = num, list[Path]()

    def save(self, bench: Workbench | None) -> str:
        """Returns the path of a new file with the picture as it stands.

        Raises:
            MGIEError: there is no photo, or the file cannot be written.
        """
        bench = _with_photo(bench)
        image, metadata = bench.session.result()
        folder = Path(self._folder.name) / uuid.uuid4().hex
        folder.mkdir()
        save_image(image, path := folder / f"{bench.stem}.edited.png", metadata)
        self._files.append(path)
        while len(self._files) > self._num:
            old = self._files.pop(0)
            old.unlink(missing_ok=True)
            old.parent.rmdir()
        return str(path)


def shown(image: Image.Image, side: int = DISPLAY_SIDE) -> Image.Image:
    """Returns a picture as large as the page shows it."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def drawn_mask(layers: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image | None:
    """Returns white where something is drawn on any of the transparent layers; None where nothing is.

    Args:
        layers: RGBA, all of one size.
        size: (width, height) of the mask: the photo's.
    """
    if not layers:
        return None
    drawn = Image.new("L", layers[0].size)
    for layer in layers:
        drawn = ImageChops.lighter(drawn, layer.convert("RGBA").getchannel("A"))
    drawn = drawn.point([0] * 128 + [255] * 128)
    return drawn.resize(size, Image.Resampling.BILINEAR) if drawn.getbbox() else None


def history(bench: Workbench | None) -> str:
    """Returns the turns as a list in HTML, oldest first."""
    if bench is None or not bench.session.turns:
        return ""
    rows = (
        f"<li><b>{html.escape(turn.edit.instruction)}</b> "
        f"<small>{html.escape(turn.edit.expressive_instruction)} Seed {turn.edit.seed}.</small></li>"
        for turn in bench.session.turns
    )
    return f"<ol>{''.join(rows)}</ol>"


def example_photographs() -> list[str]:
    """Returns the sample photographs of a clone; an installed package has none."""
    folder = Path(str(importlib.resources.files("mgie"))).parent / "_data" / "photographs"
    return sorted(str(path) for path in folder.glob("*.jpg"))


def _with_photo(bench: Workbench | None) -> Workbench:
    if bench is None:
        raise ConfigError("there is no photo yet; upload one, take one, or choose an example")
    return bench


def _with_turn(bench: Workbench | None) -> Workbench:
    bench = _with_photo(bench)
    if bench.turn is None:
        raise ConfigError("there is no edit to run again; edit the picture first")
    return bench


def _reporting(
    pipeline: MGIEPipeline, settings: dict[str, Any], words: str, report: Report
) -> dict[str, Any]:
    """Returns the step callback that reports, with a preview now and then."""
    total = settings.get("num_inference_steps") or pipeline.config["num_inference_steps"]
    every = -(-total // MAX_PREVIEWS)
    report(Step(text=f"painting, step 1 of {total}", done=1, total=total + 2, words=words))

    def on_step_end(pipeline: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        done = step + 1
        text = f"painting, step {done + 1} of {total}" if done < total else "carrying it back to the photo"
        preview = pipeline.preview(tensors["latents"])[0] if done % every == 0 or done == total else None
        report(Step(text=text, done=done + 1, total=total + 2, preview=preview))
        return tensors

    return {"callback_on_step_end": on_step_end}

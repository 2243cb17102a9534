"""Edits of one photograph, turn after turn: what command line, demo and HTTP API do with a picture.

A turn starts from the full-resolution picture that the one before left, never from an encoded file, so that
nothing is lost on the way. What the model has read and seen for a turn is kept, so that the turn can be run
again with other words, another seed or another strength without the language model writing anew.
"""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from mgie.errors import ConfigError
from mgie.images import Edit, Metadata, Photo
from mgie.pipeline import EncodedImage, Imagination, MGIEPipeline


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One edit, and all that is needed to run it again."""

    pipeline: MGIEPipeline
    source: EncodedImage
    """What it started from."""
    imagination: Imagination
    edit: Edit
    image: Image.Image
    """The result: RGB, at the photo's size."""
    seconds: dict[str, float]
    """Time of the pipeline's steps."""


class EditSession:
    """A photograph and the edits made of it so far.

    Args:
        pipeline: the model; it may be replaced between turns.
        photo: what is edited.
        model: the model's name, for the note in the file.
        keep_prompts: whether turns keep what the language model has read, so that `again` with other words
            costs no more than these words.
    """

    def __init__(
        self, pipeline: MGIEPipeline, photo: Photo, model: str, *, keep_prompts: bool = True
    ) -> None:
        self.pipeline, self.photo, self.model = pipeline, photo, model
        self.keep_prompts = keep_prompts
        self.turns: list[Turn] = []
        self._undone: list[Turn] = []

    @property
    def image(self) -> Image.Image:
        """The picture as it stands: RGB in sRGB, at the photo's size."""
        return self.turns[-1].image if self.turns else self.photo.image

    @property
    def can_redo(self) -> bool:
        """Whether an undone turn can be brought back."""
        return bool(self._undone)

    def edit(
        self,
        instruction: str,
        *,
        seed: int,
        expressive_instruction: str | None = None,
        imagination: Imagination | None = None,
        **settings: Any,
    ) -> Turn:
        """Edits the picture as it stands, and returns the new turn.

        Args:
            instruction: what to do.
            seed: of the noise.
            expressive_instruction: own words in place of the model's.
            imagination: from `imagine`, where that was called before.
            settings: of `MGIEPipeline.__call__`: guidance, steps, `mask`, `strength`, `keep_unchanged`, ...

        Raises:
            MGIEError: an argument that cannot be used; the session is as it was.
        """
        imagination = imagination or self.imagine(instruction, expressive_instruction)
        source = self.pipeline.encode_image(self.image)
        edit = _edit(self.model, instruction, imagination, seed)
        self.turns.append(turn := _paint(self.pipeline, source, imagination, edit, settings))
        self._undone.clear()
        return turn

    def imagine(self, instruction: str, expressive_instruction: str | None = None) -> Imagination:
        """Returns what the model imagines of the picture as it stands: the first half of `edit`."""
        return self.pipeline.encode_instruction(
            self.image, instruction, expressive_instruction, keep_prompts=self.keep_prompts
        )

    def again(
        self, *, seed: int | None = None, expressive_instruction: str | None = None, **settings: Any
    ) -> Turn:
        """Runs the last turn again, in its place, and returns it.

        Args:
            seed: None for the turn's own.
            expressive_instruction: other words; None for the turn's own.
            settings: as for `edit`; those of the first run are not kept.

        Raises:
            MGIEError: there is no turn yet, or an argument cannot be used.
        """
        if not self.turns:
            raise ConfigError("there is no edit to run again; edit the picture first")
        last, seed = self.turns[-1], self.turns[-1].edit.seed if seed is None else seed
        imagination = last.imagination
        if expressive_instruction not in (None, *imagination.expressive_instructions):
            imagination = last.pipeline.reimagine(imagination, expressive_instruction)
        edit = _edit(last.edit.model, last.edit.instruction, imagination, seed)
        self.turns[-1] = turn = _paint(last.pipeline, last.source, imagination, edit, settings)
        self._undone.clear()  # they were of the picture that this one replaces
        return turn

    def undo(self) -> None:
        """Takes the last turn back.

        Raises:
            ConfigError: there is none.
        """
        if not self.turns:
            raise ConfigError("there is no edit to undo; the picture is as it came")
        self._undone.append(self.turns.pop())

    def redo(self) -> None:
        """Brings the turn back that was undone last.

        Raises:
            ConfigError: there is none.
        """
        if not self._undone:
            raise ConfigError("there is no edit to redo; none was undone since the last one")
        self.turns.append(self._undone.pop())

    def result(self, *, note: bool = True, strip_metadata: bool = False) -> tuple[Image.Image, Metadata]:
        """Returns the picture in the file's own colours, with its transparency, and its metadata.

        Args:
            note: whether the metadata tell how it was made.
            strip_metadata: whether those of the photo are left out.
        """
        edits = [turn.edit for turn in self.turns] if note else []
        return self.photo.result(self.image, edits, strip_metadata=strip_metadata)


def _edit(model: str, instruction: str, imagination: Imagination, seed: int) -> Edit:
    (words,) = imagination.expressive_instructions
    return Edit(model=model, instruction=instruction.strip(), expressive_instruction=words, seed=seed)


def _paint(
    pipeline: MGIEPipeline,
    source: EncodedImage,
    imagination: Imagination,
    edit: Edit,
    settings: dict[str, Any],
) -> Turn:
    generator = torch.Generator().manual_seed(edit.seed)
    output = pipeline(source, imagination=imagination, generator=generator, **settings)
    return Turn(
        pipeline=pipeline,
        source=source,
        imagination=imagination,
        edit=edit,
        image=output.images[0],
        seconds=output.seconds,
    )

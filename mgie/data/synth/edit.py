"""Made edits: one photograph, one family with parameters, one instruction, one exact target."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mgie.data.photographs import Photograph
from mgie.data.synth.colour import COLOUR
from mgie.data.synth.family import Family, Pixels
from mgie.data.synth.requests import Requests
from mgie.data.synth.style import STYLE
from mgie.data.synth.tone import TONE
from mgie.data.synth.weather import WEATHER
from mgie.data.synth.wording import Params, Split, pick
from mgie.errors import DataError

FAMILIES: dict[str, Family] = {family.name: family for family in (*TONE, *COLOUR, *WEATHER, *STYLE)}
"""Every family by its name."""

_REAL_SHARE = 0.25
"""Share of the instructions that are real people's, where there are some for the edit."""


@dataclass(frozen=True, kw_only=True)
class MadeEdit:
    """An edit that can be applied to any picture, with its wording for one photograph."""

    family: str
    params: Params
    instruction: str = ""
    expressive: str = ""

    @property
    def meta(self) -> dict[str, Any]:
        """What `from_meta` needs to make this edit again; goes into a record's `meta`."""
        return {"family": self.family, "params": self.params}

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> "MadeEdit":
        """Returns the edit (without its wording) that a record's `meta` describes.

        Raises:
            DataError: if the family is unknown or its parameters are not as the family has them.
        """
        family, params = meta.get("family"), meta.get("params")
        if family not in FAMILIES:
            raise DataError(f"unknown family of edits {family!r}; known are {', '.join(FAMILIES)}")
        choices = FAMILIES[family].choices
        if not isinstance(params, dict) or params.keys() != choices.keys():
            raise DataError(
                f"parameters of {family} are {params!r:.80}; expected {', '.join(choices) or 'none'}"
            )
        for name, values in choices.items():
            if params[name] not in values:
                expected = ", ".join(dict.fromkeys(values))
                raise DataError(f"{name} of {family} is {params[name]!r:.40}; expected one of {expected}")
        return cls(family=family, params=params)

    def apply(self, pixels: Pixels) -> Pixels:
        """Returns the exact target of a source (H, W, 3) float32 in [0, 1], of the same shape and range."""
        return FAMILIES[self.family].apply(pixels, self.params)

    def check(self, source: Pixels, edited: Pixels) -> bool:
        """Returns whether `edited` shows this edit of `source`, both (H, W, 3) float32 in [0, 1]."""
        return FAMILIES[self.family].check(source, edited, self.params)


def make_edit(
    photograph: Photograph,
    rng: np.random.Generator,
    *,
    families: Sequence[str] | None = None,
    wording_split: Split = "train",
    requests: Requests | None = None,
) -> MadeEdit:
    """Returns an edit for a photograph, drawn at random.

    Args:
        photograph: what is to be edited; its names go into the expressive instruction.
        rng: source of everything random.
        families: names of the families to draw from, equally often; none given = all, by their weights.
        wording_split: "test" uses only instruction wordings that "train" never uses.
        requests: real people's requests, used for a quarter of the instructions.

    Raises:
        DataError: if a family is unknown.
    """
    name = pick(rng, families or _weighted_names())
    if name not in FAMILIES:
        raise DataError(f"unknown family of edits {name!r}; known are {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    params = family.sample(rng)
    instruction = None
    if requests is not None and rng.random() < _REAL_SHARE:
        instruction = requests.draw(name, params, wording_split, rng)
    return MadeEdit(
        family=name,
        params=params,
        instruction=instruction or family.wordings.instruction(name, params, rng, wording_split),
        expressive=family.wordings.describe(photograph.names, params, rng),
    )


@functools.cache
def _weighted_names() -> tuple[str, ...]:
    return tuple(name for name, family in FAMILIES.items() for _ in range(family.weight))

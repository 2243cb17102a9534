"""What a family of made edits is: parameters, picture operation, wordings and property check."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mgie.data.photographs import Photograph
from mgie.data.synth.scene import Made, Pixels, Scene
from mgie.data.synth.wording import Params, Split, Wordings, pick
from mgie.errors import DataError

STRENGTHS = ("normal", "normal", "normal", "slight", "strong")
"""Values of the parameter `strength`, the usual one more often."""
MAX_CHANGE_OUTSIDE = 0.1
"""An edit of a part changes the rest at most this share of what it changes the part, on average."""


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """One kind of edit with an exact target."""

    kind: ClassVar[str]
    """What is edited, for tables: "whole picture", "region" or "object"."""
    name: str
    wordings: Wordings
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Possible values of each parameter; a value that stands there more than once is drawn more often."""
    named: tuple[str, ...] = ()
    """Further parameters, whose values are names of regions or objects."""
    weight: int = 1
    """How often the family is drawn, beside the others, where it is drawn at random."""
    needs_objects: bool = False
    """Whether it edits only scenes that come with objects."""

    def takes(self, photograph: Photograph) -> bool:
        """Returns whether the family can edit such a photograph, as far as its listing tells."""
        return True

    def sample(self, scene: Scene, rng: np.random.Generator, split: Split = "train") -> Params | None:
        """Returns parameters drawn at random; None where there is nothing in the scene for this family.

        Args:
            scene: what is to be edited.
            rng: source of everything random.
            split: "test" draws what "train" never draws, where the family holds something out.
        """
        return {name: pick(rng, values) for name, values in self.choices.items()}

    def asked(self, scene: Scene, params: Params, rng: np.random.Generator) -> Params:
        """Returns the parameters as an instruction calls them, where that says more than their values."""
        return params

    @abstractmethod
    def make(self, scene: Scene, params: Params) -> Made:
        """Returns source and exact target: a pure function, which gives the same at every resolution.

        Raises:
            DataError: if the scene has not what the parameters name.
        """

    @abstractmethod
    def check(self, made: Made, edited: Pixels, params: Params) -> bool:
        """Returns whether a picture shows the edit.

        The source fails, and the exact target passes wherever the edit can be seen at all (grey on a grey
        photograph cannot). An edit of a part must leave the rest alone: `MAX_CHANGE_OUTSIDE`.
        """

    def validate(self, params: object) -> Params:
        """Returns the parameters, which may come from a file.

        Raises:
            DataError: if they are not as the family has them.
        """
        names = (*self.named, *self.choices)
        if not isinstance(params, dict) or params.keys() != set(names):
            raise DataError(
                f"parameters of {self.name} are {params!r:.80}; expected {', '.join(names) or 'none'}"
            )
        for name, value in params.items():
            if not isinstance(value, str) or (name in self.choices and value not in self.choices[name]):
                expected = ", ".join(dict.fromkeys(self.choices.get(name, ("a name",))))
                raise DataError(f"{name} of {self.name} is {value!r:.40}; expected one of {expected}")
        return params


@dataclass(frozen=True, kw_only=True)
class WholePicture(Family):
    """An edit of everything that is to be seen."""

    kind = "whole picture"
    apply: Callable[[Pixels, Params], Pixels]
    """The picture operation."""
    shows: Callable[[Pixels, Pixels, Params], bool]
    """Whether the second picture shows the edit of the first."""

    def make(self, scene: Scene, params: Params) -> Made:
        """Returns the scene and what the operation makes of it."""
        return Made(source=scene.pixels, target=self.apply(scene.pixels, params))

    def check(self, made: Made, edited: Pixels, params: Params) -> bool:
        """Returns whether a picture shows the edit of the source."""
        return self.shows(made.source, edited, params)


def keeps_the_rest(made: Made, edited: Pixels) -> bool:
    """Returns whether a picture leaves alone what the edit may not change; see `MAX_CHANGE_OUTSIDE`."""
    assert made.mask is not None
    change = np.abs(edited - made.source).mean(axis=2)
    if made.mask.all():
        return True
    return bool(change[~made.mask].mean() <= MAX_CHANGE_OUTSIDE * change[made.mask].mean())

"""Made edits: one photograph, one family with parameters, one instruction, one exact target."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mgie.data.photographs import Photograph
from mgie.data.synth.colour import COLOUR
from mgie.data.synth.family import Family
from mgie.data.synth.object_edits import OBJECTS
from mgie.data.synth.objects import Objects
from mgie.data.synth.region import REGION
from mgie.data.synth.replacement import REPLACEMENT
from mgie.data.synth.requests import Requests
from mgie.data.synth.scene import Made, Pixels, Scene
from mgie.data.synth.style import STYLE
from mgie.data.synth.tone import TONE
from mgie.data.synth.weather import WEATHER
from mgie.data.synth.wording import Params, Split, invented_name, pick
from mgie.errors import DataError

_ALL = (*TONE, *COLOUR, *WEATHER, *STYLE, *REGION, *REPLACEMENT, *OBJECTS)
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
"""Every family by its name."""

_REAL_SHARE = 0.25
"""Share of the instructions that are real people's, where there are some for the edit."""
_MAX_TRIES = 50


@dataclass(frozen=True, kw_only=True)
class MadeEdit:
    """An edit with its wording for one scene."""

    family: str
    params: Params
    instruction: str = ""
    expressive: str = ""
    vague: bool = False
    """Whether the instruction leaves the edit open, so that only the expressive instruction says it."""

    @property
    def meta(self) -> dict[str, Any]:
        """What `from_meta` needs to make this edit again; goes into a record's `meta`."""
        return {"family": self.family, "params": self.params} | ({"vague": True} if self.vague else {})

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> "MadeEdit":
        """Returns the edit (without its wording) that a record's `meta` describes.

        Raises:
            DataError: if the family is unknown or its parameters are not as the family has them.
        """
        name = str(meta.get("family"))
        return cls(
            family=name, params=family_of(name).validate(meta.get("params")), vague=bool(meta.get("vague"))
        )

    def make(self, scene: Scene) -> Made:
        """Returns source and exact target of this edit of a scene; see `Family.make`."""
        return FAMILIES[self.family].make(scene, self.params)

    def check(self, made: Made, edited: Pixels) -> bool:
        """Returns whether a picture shows this edit; see `Family.check`.

        Args:
            made: source, target and mask, at any one size.
            edited: of that size.
        """
        return FAMILIES[self.family].check(made, edited, self.params)

    def shows(self, source: Pixels, edited: Pixels) -> bool:
        """Returns whether a picture shows this edit of all of another picture."""
        return self.check(self.make(Scene(pixels=source)), edited)


@dataclass(frozen=True)
class EditSampler:
    """Draws edits of photographs: a family, a photograph that it takes, parameters and words.

    Args:
        photographs: what is edited.
        families: names of the families to draw from, equally often, or the weight of each; none given = all
            that can edit one of these photographs, by their own weights.
        wording_split: "test" uses only instruction wordings, and objects, that "train" never uses.
        requests: real people's requests, used for a quarter of the instructions.
        vague_rate: share of the instructions that leave the edit open, where a family has such wordings.
        objects: what edits may put on the photographs; without it, families that need it are left out.
        invented_rate: share of the edits whose words give what they name an invented name, the same in
            instruction and expressive instruction. A language model that meets the same names again and
            again learns them by heart; from these it learns to say what the user says.
        misplaced_rate: share of the edits whose expressive instruction tells at random what the picture
            shows, such as where a thing is. A language model often errs there, and a UNet that has never met
            an error trusts the words more than the picture.

    Raises:
        DataError: if a family is unknown, none of the photographs is for it, or it needs objects.
    """

    photographs: Sequence[Photograph]
    families: Sequence[str] | Mapping[str, int] | None = None
    wording_split: Split = "train"
    requests: Requests | None = None
    vague_rate: float = 0.0
    objects: Objects | None = None
    invented_rate: float = 0.0
    misplaced_rate: float = 0.0
    taken: dict[str, list[Photograph]] = field(init=False, default_factory=dict)
    """By family: the photographs that it takes."""

    def __post_init__(self) -> None:
        """Sorts the photographs by family."""
        for name in dict.fromkeys(self.families or FAMILIES):
            family = family_of(name)
            has_objects = self.objects is not None or not family.needs_objects
            taken = [p for p in self.photographs if family.takes(p)] if has_objects else []
            if taken:
                self.taken[name] = taken
            elif self.families and not has_objects:
                raise DataError(f"{name} puts objects on photographs; give a folder of them or leave it out")
            elif self.families:
                raise DataError(
                    f"{name} can edit none of the {len(self.photographs)} photographs; leave it out"
                )

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the families, more often those that are drawn more often."""
        weights = self.families or {name: FAMILIES[name].weight for name in self.taken}
        if not isinstance(weights, Mapping):
            return tuple(weights)
        return tuple(name for name, weight in weights.items() for _ in range(weight))

    def draw(
        self,
        rng: np.random.Generator,
        open_scene: Callable[[Photograph], Scene],
        family: str | None = None,
    ) -> tuple[Photograph, Scene, MadeEdit]:
        """Returns a photograph, what was opened of it, and an edit of that.

        Args:
            rng: source of everything random.
            open_scene: what to take of a photograph.
            family: one of the families; None draws it.

        Raises:
            DataError: if the family finds nothing to edit on many photographs.
        """
        name = family or pick(rng, self.names)
        for _ in range(_MAX_TRIES):
            photograph = pick(rng, self.taken[name])
            scene = open_scene(photograph)
            edit = self.another(scene, rng, name)
            if edit is not None:
                return photograph, scene, edit
        raise DataError(f"{name} found nothing to edit on {_MAX_TRIES} photographs tried; leave it out")

    def another(self, scene: Scene, rng: np.random.Generator, family: str | None = None) -> MadeEdit | None:
        """Returns an edit of a scene by a family, None draws it; None where there is nothing for it."""
        return make_edit(
            FAMILIES[family or pick(rng, self.names)],
            scene,
            rng,
            wording_split=self.wording_split,
            requests=self.requests,
            vague_rate=self.vague_rate,
            invented_rate=self.invented_rate,
            misplaced_rate=self.misplaced_rate,
        )


def family_of(name: str) -> Family:
    """Returns a family by its name.

    Raises:
        DataError: if it is unknown.
    """
    if name not in FAMILIES:
        raise DataError(f"unknown family of edits {name!r}; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def make_edit(
    family: Family,
    scene: Scene,
    rng: np.random.Generator,
    *,
    wording_split: Split = "train",
    requests: Requests | None = None,
    vague_rate: float = 0.0,
    invented_rate: float = 0.0,
    misplaced_rate: float = 0.0,
) -> MadeEdit | None:
    """Returns an edit of a scene, drawn at random; None where there is nothing in it for the family.

    The arguments are those of `EditSampler`.
    """
    params = family.sample(scene, rng, wording_split)
    if params is None:
        return None
    words, instruction = family.wordings, None
    vague = words.always_vague or (bool(words.vague) and rng.random() < vague_rate)
    if vague:
        instruction = words.vague_instruction(rng, wording_split)
    elif requests is not None and rng.random() < _REAL_SHARE:
        instruction = requests.draw(family.name, params, wording_split, rng)
    said = params
    if invented_rate and not vague and rng.random() < invented_rate:
        said = params | {name: invented_name(rng) for name in family.named if name not in words.silent}
    imagined = said
    if misplaced_rate and rng.random() < misplaced_rate:
        seen = [name for name in words.silent if params.get(name) and name in family.choices]
        imagined = said | {name: pick(rng, [*filter(None, family.choices[name])]) for name in sorted(seen)}
    if not instruction:
        instruction = words.instruction(family.name, family.asked(scene, said, rng), rng, wording_split)
    return MadeEdit(
        family=family.name,
        params=params,
        instruction=instruction,
        expressive=words.describe(scene.names, imagined, rng),
        vague=vague,
    )

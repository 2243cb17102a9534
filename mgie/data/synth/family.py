"""What a family of made edits is: parameters, picture operation, wordings and property check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mgie.data.synth.wording import Params, Wordings, pick

Pixels = NDArray[np.floating]
"""A picture: (H, W, 3) float32 in [0, 1], sRGB values as they stand in a file."""

STRENGTHS = ("normal", "normal", "normal", "slight", "strong")
"""Values of the parameter `strength`, the usual one more often."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of edit with an exact target.

    `apply` is a pure function of the picture and the parameters, and gives the same edit at every resolution.
    `check` says whether a picture shows the edit: a copy of the source fails it, the exact target passes it
    wherever the edit can be seen at all (grey on a grey photograph cannot).
    """

    name: str
    apply: Callable[[Pixels, Params], Pixels]
    check: Callable[[Pixels, Pixels, Params], bool]
    wordings: Wordings
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Possible values of each parameter; a value that stands there more than once is drawn more often."""
    weight: int = 1
    """How often the family is drawn, beside the others, where it is drawn at random."""

    def sample(self, rng: np.random.Generator) -> Params:
        """Returns parameters drawn at random."""
        return {name: pick(rng, values) for name, values in self.choices.items()}

"""The made world: photographs become edit records with exact targets, wordings and expressive instructions.

`EditSampler` draws edits on the fly; `synthesise` writes a dataset. A family of edits is one `Family`: of
all of a picture in `tone`, `colour`, `weather` and `style`, of a region in `region` and `replacement`, of
objects in `object_edits`.
"""

from mgie.data.synth.dataset import synthesise
from mgie.data.synth.edit import FAMILIES, EditSampler, MadeEdit, make_edit
from mgie.data.synth.family import Family
from mgie.data.synth.objects import Objects
from mgie.data.synth.requests import Requests
from mgie.data.synth.scene import Arrival, Box, Made, Mask, Pixels, Scene, as_picture, as_pixels, open_scene

__all__ = [
    "FAMILIES",
    "Arrival",
    "Box",
    "EditSampler",
    "Family",
    "Made",
    "MadeEdit",
    "Mask",
    "Objects",
    "Pixels",
    "Requests",
    "Scene",
    "as_picture",
    "as_pixels",
    "make_edit",
    "open_scene",
    "synthesise",
]

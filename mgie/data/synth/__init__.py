"""The made world: photographs become edit records with exact targets, wordings and expressive instructions.

`make_edit` draws an edit on the fly; `synthesise` writes a dataset. A family of edits is one `Family` in
`tone`, `colour`, `weather` or `style`, entered into `FAMILIES`.
"""

from mgie.data.synth.dataset import synthesise
from mgie.data.synth.edit import FAMILIES, MadeEdit, make_edit
from mgie.data.synth.family import Family, Pixels
from mgie.data.synth.requests import Requests

__all__ = ["FAMILIES", "Family", "MadeEdit", "Pixels", "Requests", "make_edit", "synthesise"]

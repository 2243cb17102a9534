"""Edit requests by real people, sorted by the family of edits that they ask for."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgie.data.records import read_json_lines
from mgie.data.synth.wording import Params, Split, pick
from mgie.errors import DataError

REQUESTS_FILE = "requests.jsonl"


def _key(family: str, params: Params, split: str) -> tuple[str, ...]:
    return (family, split, *(f"{name}={params[name]}" for name in sorted(params)))


@dataclass(frozen=True)
class Requests:
    """Real wordings by family, parameters and split."""

    by_key: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> "Requests":
        """Returns the requests of a JSON Lines file, or of `requests.jsonl` in a folder.

        A row has `family`, `params`, `instruction` and `split` ("train" or "test").

        Raises:
            DataError: if the file cannot be read or a row is not as described.
        """
        file = Path(path)
        file = file / REQUESTS_FILE if file.is_dir() else file
        found: dict[tuple[str, ...], list[str]] = {}
        for number, row in read_json_lines(file):
            texts = [row.get(name) for name in ("family", "instruction", "split")]
            if not all(isinstance(text, str) for text in texts) or not isinstance(row.get("params"), dict):
                raise DataError(
                    f"{file}:{number}: expected texts family, instruction, split and an object params"
                )
            found.setdefault(_key(row["family"], row["params"], row["split"]), []).append(row["instruction"])
        return cls({key: tuple(instructions) for key, instructions in found.items()})

    def draw(self, family: str, params: Params, split: Split, rng: np.random.Generator) -> str | None:
        """Returns a real request for exactly this edit, or None where nobody made one."""
        fitting = self.by_key.get(_key(family, params, split), ())
        return pick(rng, fitting) if fitting else None

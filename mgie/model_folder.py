"""Where a model is found by its name, what its folder says about itself, and how it is written; no torch."""

import contextlib
import importlib.resources
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mgie.errors import CheckpointError, MGIEError

BUILT_IN_MODELS = ("mgie-tiny",)
"""Names of the models that come with the package."""
INDEX_FILE = "model_index.json"
PROVENANCE_FILE = "mgie.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]


def find_model_folder(name: str | Path) -> Path:
    """Returns the pipeline folder of a built-in name, a folder, or a hub id, in this order.

    A hub id is downloaded to the cache of huggingface_hub; without a network, or with `HF_HUB_OFFLINE=1`,
    what is in the cache already is used.

    Raises:
        CheckpointError: nothing is found under the name, or the folder is not a pipeline.
    """
    name = str(name)
    if name in BUILT_IN_MODELS:
        folder = _find_built_in(name)
    elif name and Path(name).is_dir():
        folder = Path(name)
    elif _HUB_ID.fullmatch(name) and not name.startswith((".", "~")):
        folder = _download(name)
    else:
        raise CheckpointError(
            f"there is no model '{name}'; expected a built-in name ({', '.join(BUILT_IN_MODELS)}), "
            "a pipeline folder, or a hub id 'owner/name'"
        )
    if not (folder / INDEX_FILE).is_file():
        raise CheckpointError(
            f"{folder} is not a pipeline: it has no {INDEX_FILE}; give the folder that save_pretrained wrote "
            "(of a training run: RUN/pipeline)"
        )
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file of a model folder.

    Raises:
        CheckpointError: the file is missing, not readable, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}; expected a JSON file: copy the model again"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds {type(values).__name__}; expected a JSON object")
    return values


@contextlib.contextmanager
def replaced_folder(folder: Path, *, main: bool = True) -> Iterator[Path]:
    """Gives a new folder beside `folder`, which takes its place when the block ends, whole or not at all.

    Args:
        folder: what to write; an older one stays until the new one stands.
        main: whether this process makes, moves and removes folders; the others of a group only write into
            the new one.

    Raises:
        CheckpointError: something could not be written, the disk being full for instance.
    """
    new = folder.with_name(f"{folder.name}.new")
    try:
        if main:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
        yield new
        if main:
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    except Exception as error:  # torch and safetensors raise their own kinds for a full disk
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, MGIEError):
            raise
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"cannot write {folder}: {reason}; choose a writable place that has room"
        ) from error


def _find_built_in(name: str) -> Path:
    """Returns the model's place in an installed wheel (inside the package) or in a clone (beside it)."""
    package = Path(str(importlib.resources.files("mgie")))
    places = [root / "_ckpt" / name for root in (package, package.parent)]
    for place in places:
        if place.is_dir():
            return place
    raise CheckpointError(
        f"the built-in model '{name}' is not in this installation (no {places[0]}); install the package again"
    )


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download  # 0.3 s that local models need not wait for

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, etag_timeout=3))
    except Exception as error:  # HTTP, cache, validation and connection errors share no base class
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"no folder '{hub_id}' here, and the hub does not give it: {reason}; "
            "check name and network, or give a folder"
        ) from error

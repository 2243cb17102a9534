"""Where a model is found by its name, what its folder says about itself, and how it is written; no torch."""

import contextlib
import hashlib
import importlib.resources
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mgie.errors import CheckpointError, MGIEError
from mgie.files import write_whole

BUILT_IN_MODELS = ("mgie-tiny",)
"""Names of the models that come with the package."""
INDEX_FILE = "model_index.json"
PROVENANCE_FILE = "mgie.json"
RATES = "success_rates"
"""What `mgie eval --record` notes there: edits and rate of success by family."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")


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
        folder = _download(name, _HUB_FILES)
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


def find_folder(name: str | Path, patterns: Sequence[str]) -> Path:
    """Returns the folder of a name: a folder here, or a hub id, of which the files that fit are downloaded.

    Raises:
        CheckpointError: nothing is found under the name.
    """
    if Path(name).is_dir():
        return Path(name)
    if not _HUB_ID.fullmatch(str(name)) or str(name).startswith((".", "~")):
        raise CheckpointError(f"there is no folder '{name}'; expected a folder or a hub id 'owner/name'")
    return _download(str(name), patterns)


def by_rate(rates: dict[str, dict[str, float]]) -> dict[float, list[str]]:
    """Returns the families that land at each rate, as words; the highest rate comes first."""
    found: dict[float, list[str]] = {}
    for family in sorted(rates, key=lambda family: -rates[family]["success"]):
        found.setdefault(rates[family]["success"], []).append(family.replace("_", " "))
    return found


def note_provenance(folder: Path, values: dict[str, Any]) -> None:
    """Adds to what a model's folder says about itself; the file is replaced whole.

    Raises:
        CheckpointError: the file cannot be read or written.
    """
    file = folder / PROVENANCE_FILE
    noted = (read_json(file) if file.is_file() else {}) | values
    try:
        write_whole(file, (json.dumps(noted, indent=2) + "\n").encode())
    except OSError as error:
        raise CheckpointError(
            f"cannot write {file} ({error.strerror}); copy the model to a folder that is writable"
        ) from error


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


def check_free(folder: Path, mark: str = INDEX_FILE) -> None:
    """Refuses a folder that is there and is not an older one of the same kind, which a file in it marks.

    Raises:
        CheckpointError: `folder` exists and has no file `mark`.
    """
    if folder.exists() and not (folder / mark).is_file():
        raise CheckpointError(
            f"{folder} exists and is not a model folder: it has no {mark}; choose another one"
        )


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Writes `mgie.json`: where the model comes from, and the SHA-256 of each of its files.

    The folders of one machine that parts were loaded from are taken out of its configurations first.
    """

    def without_origin(values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key != "_name_or_path"}

    for path in (folder / INDEX_FILE, *folder.glob("*/config.json")):
        values = json.loads(path.read_text("utf-8"), object_hook=without_origin)
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sha256 = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    text = json.dumps({**provenance, "sha256": sha256}, indent=2)
    (folder / PROVENANCE_FILE).write_text(text + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
            _let_others_read(new)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    except BaseException as error:  # torch and safetensors raise their own kinds for a full disk
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, MGIEError) or not isinstance(error, Exception):
            raise
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"cannot write {folder}: {reason}; choose a writable place that has room"
        ) from error


def _let_others_read(folder: Path) -> None:
    """Gives all files the rights that the umask gave the folder: safetensors writes for the owner alone."""
    rights = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(rights)


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


def _download(hub_id: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download  # 0.3 s that local models need not wait for

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns), etag_timeout=3))
    except Exception as error:  # HTTP, cache, validation and connection errors share no base class
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"no folder '{hub_id}' here, and the hub does not give it: {reason}; "
            "check name and network, or give a folder"
        ) from error

"""Files that are written whole or not at all."""

import contextlib
import os
import re
import uuid
from pathlib import Path

_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; an existing one is replaced.

    Raises:
        OSError: it cannot be written.
    """
    partial = partial_beside(path)
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def partial_beside(path: Path) -> Path:
    """Returns where to make what shall become `path`, or serve to make it: a new name in the same folder."""
    return path.with_name(f".{uuid.uuid4().hex}.partial")


def is_partial(path: Path) -> bool:
    """Returns whether a killed process may have left this file: see `write_whole`."""
    return _PARTIAL.fullmatch(path.name) is not None

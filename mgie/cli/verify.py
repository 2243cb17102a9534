"""`mgie verify`: whether a model is whole and of one piece, and if not, what is wrong and why."""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from mgie.cli.options import Debug, Device, DType, Json, load_pipeline
from mgie.errors import CheckpointError
from mgie.model_folder import find_model_folder

if TYPE_CHECKING:
    from mgie.checkpoint.verify import Check, Progress


def verify(
    model: Annotated[
        str, typer.Argument(help="Built-in name, pipeline folder, or hub id 'owner/name'.")
    ] = "mgie-tiny",
    edit: Annotated[bool, typer.Option("--edit", help="Also load it, and edit a made picture.")] = False,
    device: Device = None,
    dtype: DType = "float32",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a model's tensors, vocabulary and checksums, and name all that is wrong."""
    folder = find_model_folder(model)
    from mgie.checkpoint.verify import check_edit, verify_model  # what takes time here is torch

    with _bar() as progress:
        checks = verify_model(folder, progress)
    skipped = edit and any(check.findings for check in checks)
    if edit and not skipped:
        checks.append(check_edit(functools.partial(load_pipeline, str(folder), device, dtype)))
    num = sum(len(check.findings) for check in checks)
    if as_json:
        print(json.dumps({"model": model, "folder": str(folder), "ok": num == 0, "checks": _rows(checks)}))
    else:
        _print(checks)
    if num:
        untried = "; no edit was tried" if skipped else ""
        raise CheckpointError(f"{model} has {num} problem{'s' if num > 1 else ''}{untried}")


def _print(checks: "list[Check]") -> None:
    """Prints a line for each check where all is right, and one for each finding."""
    for check in checks:
        for finding in check.findings:
            print(f"WRONG  {check.name:<11} {finding}")
        if not check.findings:
            print(f"ok     {check.name:<11} {check.summary}")


def _rows(checks: "list[Check]") -> list[dict[str, object]]:
    """Returns the checks for JSON."""
    return [
        {
            "name": check.name,
            "ok": not check.findings,
            "summary": check.summary if not check.findings else None,
            "findings": [
                {"part": one.part, "names": one.names, "problem": one.problem, "cause": one.cause}
                for one in check.findings
            ],
        }
        for check in checks
    ]


@contextmanager
def _bar() -> "Iterator[Progress]":
    """Gives a function of the bytes read and of all that shows a bar on standard error."""
    with tqdm(desc="reading", unit="B", unit_scale=True, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress

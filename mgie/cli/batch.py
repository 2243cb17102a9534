"""`mgie batch`: many edits in one go, by one process or by those that torchrun starts."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from mgie.batch import RESULTS_FILE, SHEET_FILE, Batch, BatchSettings
from mgie.cli.options import (
    Debug,
    Device,
    DType,
    Json,
    KeepUnchanged,
    Model,
    Note,
    Size,
    StripMetadata,
    box,
    load_pipeline,
)
from mgie.model_folder import find_model_folder

_PATIENCE_DAYS = 30
"""How long a process waits for the others."""


def batch(
    source: Annotated[Path, typer.Argument(help="Folder of pictures, or .jsonl or .csv table of rows.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for results, table and sheet.")],
    instruction: Annotated[
        str | None, typer.Option(help="What to do, for rows without an instruction; needed for a folder.")
    ] = None,
    model: Model = "mgie-tiny",
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="A row without a seed takes this plus its number.")
    ] = 0,
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Rows edited together.")] = 4,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, max=1000, help="Weight of the words.")
    ] = None,
    image_guidance_scale: Annotated[
        float | None, typer.Option(min=0, max=1000, help="Weight of the picture.")
    ] = None,
    format: Annotated[  # noqa: A002  the option's name
        Literal["png", "jpg", "webp"], typer.Option(help="Of results whose rows do not name them.")
    ] = "png",
    keep_unchanged: KeepUnchanged = "auto",
    size: Size = None,
    strip_metadata: StripMetadata = False,
    note: Note = True,
    device: Device = None,
    dtype: DType = "float32",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Edit many photographs; stopped and started again, it goes on where it was.

    Columns of a table: image, instruction, id, seed, expressive, mask, strength, steps, guidance_scale,
    image_guidance_scale, output; paths are relative to the table. A row that fails is reported and the rest
    goes on; the exit code is then 1.
    """
    start = time.perf_counter()
    settings = BatchSettings(
        model=model,
        instruction=instruction,
        seed=seed,
        batch_size=batch_size,
        steps=steps,
        guidance_scale=guidance_scale,
        image_guidance_scale=image_guidance_scale,
        format=format,
        keep_unchanged=keep_unchanged,
        size=None if size is None else box(size),
        strip_metadata=strip_metadata,
        note=note,
        dtype=dtype,
    )
    count = int(os.environ.get("WORLD_SIZE", "1"))
    number = int(os.environ["RANK"]) if count > 1 else 0
    work = Batch(source, output, settings, process=number, num_processes=count)
    folder = find_model_folder(model)
    with _processes(count) as wait_for_all:
        if number == 0:
            work.start()
        wait_for_all()
        _run(work, str(folder), device, dtype)
        wait_for_all()
        if number == 0:
            _report(work, time.perf_counter() - start, as_json)


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Callable[[], object]]:
    """Gives a function that waits until all processes have called it; of one alone, nothing is asked."""
    if count == 1:
        yield lambda: None
        return
    from datetime import timedelta

    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=timedelta(days=_PATIENCE_DAYS))
    try:
        yield torch.distributed.barrier
    finally:
        torch.distributed.destroy_process_group()


def _run(work: Batch, model: str, device: str | None, dtype: str) -> None:
    """Edits what remains of this process's share; the model is loaded only where something does."""
    total, remaining = sum(map(len, work.chunks)), work.remaining()
    with tqdm(total=total, initial=total - len(remaining), unit="row", disable=work.process != 0) as bar:
        if not remaining:
            return
        bar.set_description_str("loading")
        pipeline = load_pipeline(model, device or _own_device(), dtype)
        bar.set_description_str("editing")
        failed = 0
        for result in work.run(pipeline):
            bar.update()
            if result.error is not None:
                failed += 1
                bar.set_postfix(failed=failed)
                bar.write(f"row {result.row} failed: {result.error}", file=sys.stderr)


def _own_device() -> str | None:
    """Returns the GPU of this process, of several on one machine; None where there is no choice."""
    import torch

    if "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return None
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"


def _report(work: Batch, seconds: float, as_json: bool) -> None:
    """Writes table and sheet, and says where they are and how many rows failed."""
    results = work.finish()
    failed = sum(result.status == "failed" for result in results)
    table, sheet = work.folder / RESULTS_FILE, work.folder / SHEET_FILE
    if as_json:
        report = {
            "output": str(work.folder),
            "results": str(table),
            "sheet": str(sheet),
            "rows": len(results),
            "ok": len(results) - failed,
            "failed": failed,
            "seconds": round(seconds, 3),
            "model": work.settings.model,
        }
        print(json.dumps(report))
    else:
        print(f"saved: {len(results) - failed} of {len(results)} in {work.folder}")
        print(f"sheet: {sheet}")
    if failed:
        print(f"mgie: {failed} of {len(results)} rows failed: see {table}", file=sys.stderr)
        raise typer.Exit(1)
